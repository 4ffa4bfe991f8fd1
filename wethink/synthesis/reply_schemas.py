"""Reply schemas of the synthesis steps: one JSON object per reply, parsed strictly.

Thoughts before the object and a code fence around it are stripped (wethink/clients/thoughts.py). Any other deviation
makes the reply malformed; the caller may repair it once.
"""

from functools import cache
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from wethink.clients.thoughts import split, unwrapped


class Malformed(Exception):
    """A reply does not match its schema; the message names the place."""


class Reply(BaseModel):
    """Base of all replies: all fields are required, strictly typed, no others."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Kinds(Reply):
    kinds: list[str]


class Described(Reply):
    description: str


class Missing(Reply):
    questions: list[str]


class Details(Reply):
    answers: list[str]


class Need(Reply):
    ability: str
    need: str


class Written(Reply):
    question: str
    category: Literal["MC", "FIB", "DES"]
    options: list[str]
    needs: list[Need]
    steps: list[str]


class Questions(Reply):
    questions: list[Written]


class Checked(Reply):
    reason: str
    answerable: bool
    unambiguous: bool


class Reasoned(Reply):
    reasoning: str
    answer: str


class Answered(Reply):
    answer: str


class Path(Reply):
    path: str


R = TypeVar("R", bound=Reply)


@cache
def schema(form: type[Reply]) -> dict[str, Any]:
    """Return the JSON schema of a reply, as for chat completions."""
    return form.model_json_schema()


def parse(text: str, form: type[R]) -> R:
    """Parse a reply by its schema.

    Raises:
        Malformed: it is not exactly one such JSON object, or a required text is empty.

    >>> parse('{"answer": "3"}', Answered).answer
    '3'
    """
    try:
        found = form.model_validate_json(unwrapped(split(text)[1]))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{place}: {first['msg']}" if place else str(first["msg"])) from None
    for name in ("description", "answer", "path"):
        if not getattr(found, name, "-").strip():
            raise Malformed(f"{name}: must not be empty")
    return found
