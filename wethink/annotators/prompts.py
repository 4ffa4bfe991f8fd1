"""Prompts as files that a researcher can read and edit: wethink/prompts/synthesis/<step>.txt, versioned by hash.

A file has a system part and a user part. Whatever is filled in is written as JSON: a description or a question can
end no sentence of ours and open no sentence of its own, and chat markers in it are brackets.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, TemplateError, Undefined

from wethink.common.paths import ROOT
from wethink.errors import UserError
from wethink.importer import neutral
from wethink.records import dumps

PROMPTS = (
    "synthesis/describe.txt",
    "synthesis/mine.txt",
    "synthesis/detail.txt",
    "synthesis/merge.txt",
    "synthesis/write.txt",
    "synthesis/filter.txt",
    "synthesis/reason.txt",
    "synthesis/look.txt",
    "synthesis/adjudicate.txt",
    "synthesis/blind.txt",
    "synthesis/refine.txt",
    "synthesis/conclude.txt",
    "synthesis/repair.txt",
)
FOLDER = ROOT / "wethink" / "prompts"
DIVIDER = "\n--- user ---\n"


class Verbatim(str):
    """Text of ours (not of a model or a user) that a prompt may contain as it is."""


@dataclass(frozen=True)
class Prompt:
    """One prompt file, and the hash of its bytes."""

    name: str
    text: str
    hash: str

    def render(self, **values: object) -> tuple[str, str]:
        """The system text and the user text.

        Raises:
            UserError: the file has no divider, or names a value that this step does not have.
        """
        try:
            system, user = (part.render(values).strip() for part in _compiled(self))
        except TemplateError as error:
            known = ", ".join(sorted(values)) or "none"
            raise UserError(f"{FOLDER / self.name}: {error}; the values of this step: {known}.") from None
        return system, user


@cache
def _compiled(prompt: Prompt) -> tuple[Template, Template]:
    system, divider, user = prompt.text.partition(DIVIDER)
    if not divider:
        raise UserError(f"{FOLDER / prompt.name} needs a line '{DIVIDER.strip()}' between its two parts.")
    return _environment().from_string(system), _environment().from_string(user)


@cache
def load(step: str) -> Prompt:
    """The prompt of a step.

    Raises:
        UserError: there is no such file.
    """
    name = f"synthesis/{step}.txt"
    try:
        data = (FOLDER / name).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{FOLDER / name} is missing; restore it.") from None
    return Prompt(name, data.decode("utf-8"), hashlib.sha256(data).hexdigest()[:12])


def as_data(value: object) -> object:
    """How a value is written into a prompt: numbers and words of ours as they are, everything else as JSON."""
    if isinstance(value, (Verbatim, int, Undefined)):
        return value
    return dumps(_neutral(value))


def _neutral(value: Any) -> Any:
    if isinstance(value, str):
        return neutral(value)
    if isinstance(value, dict):
        return {key: _neutral(item) for key, item in value.items()}
    return [_neutral(item) for item in value] if isinstance(value, (list, tuple)) else value


@cache
def _environment() -> Environment:
    return Environment(undefined=StrictUndefined, finalize=as_data, autoescape=False, keep_trailing_newline=False)
