"""Prompt templates of the synthesis steps: wethink/synthesis/prompts/<step>.txt, versioned by hash.

A file has a system part and a user part. Values are inserted as JSON with chat markers escaped, so that a description
or a question cannot inject instructions.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, TemplateError, Undefined

from wethink.common.errors import UserError
from wethink.common.jsonl import dumps
from wethink.synthesis.import_rows import neutral

ASSETS = (
    "prompts/classify.txt",
    "prompts/describe.txt",
    "prompts/mine.txt",
    "prompts/detail.txt",
    "prompts/merge.txt",
    "prompts/write.txt",
    "prompts/filter.txt",
    "prompts/reason.txt",
    "prompts/look.txt",
    "prompts/adjudicate.txt",
    "prompts/blind.txt",
    "prompts/refine.txt",
    "prompts/rationalize.txt",
    "prompts/conclude.txt",
    "prompts/repair.txt",
)
FOLDER = Path(__file__).resolve().parent
DIVIDER = "\n--- user ---\n"


class Verbatim(str):
    """Trusted text (not from a model or a user), inserted without escaping."""


@dataclass(frozen=True)
class Prompt:
    """One prompt file; `hash` is of its bytes."""

    name: str
    text: str
    hash: str

    def render(self, **values: object) -> tuple[str, str]:
        """Render the system text and the user text.

        Raises:
            UserError: the file has no divider, or uses a value that this step does not have.
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
    """Load the prompt of a step.

    Raises:
        UserError: there is no such file.
    """
    name = f"prompts/{step}.txt"
    try:
        data = (FOLDER / name).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{FOLDER / name} is missing; restore it.") from None
    return Prompt(name, data.decode("utf-8"), hashlib.sha256(data).hexdigest()[:12])


def as_data(value: object) -> object:
    """Return integers and `Verbatim` text unchanged, everything else as JSON."""
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
