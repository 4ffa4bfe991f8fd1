"""What a model may reply at each step: one JSON object of a declared form, asked for by schema and parsed strictly.

Two habits of models are forgiven because they carry no meaning: a code fence around the whole, and a block of
thinking before it. Anything else that is not exactly the form is malformed, and worth one repair.
"""

import re
from functools import cache
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Malformed(Exception):
    """A reply that is not the JSON that was asked for; the message says where it differs."""


class Reply(BaseModel):
    """Base of all replies: every field is there, of its type, and nothing else."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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

_FENCE = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
_THINK = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


@cache
def schema(form: type[Reply]) -> dict[str, Any]:
    """The JSON schema of a reply, as chat completions take it."""
    return form.model_json_schema()


def parse(text: str, form: type[R]) -> R:
    """A reply as its form.

    Raises:
        Malformed: it is not exactly one such JSON object, or a text in it that must not be empty is.

    >>> parse('{"answer": "3"}', Answered).answer
    '3'
    """
    text = _THINK.sub("", text, count=1)
    fenced = _FENCE.fullmatch(text)
    try:
        found = form.model_validate_json(fenced.group(1) if fenced else text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"{place}: {first['msg']}" if place else str(first["msg"])) from None
    for name in ("description", "answer", "path"):
        if not getattr(found, name, "-").strip():
            raise Malformed(f"{name}: must not be empty")
    return found
