"""Dialogues as rows: ShareGPT (`from`, `value`) and Messages (`role`, `content`) turns.

The first question and its answer are the row; turns of the system are left out, and further turns are counted.
"""

from dataclasses import dataclass
from typing import Any

from wethink.common.jsonl import NotJson, parse_json
from wethink.data.schema import IMAGE

ASKS, ANSWERS = ("human", "user"), ("gpt", "assistant", "model", "chatbot", "bot")


@dataclass(frozen=True)
class Dialogue:
    """First question and answer; `images` are those that its parts hold, and `fault` tells why there is no row."""

    question: str = ""
    answer: str = ""
    images: tuple[Any, ...] = ()
    further: int = 0  # turns after them
    fault: str | None = None


def dialogue(value: Any) -> Dialogue:
    """Read a list of turns, or the same as JSON text."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except NotJson:
            return Dialogue(fault="dialogue is no list of turns")
    if not isinstance(value, list) or not all(isinstance(turn, dict) for turn in value):
        return Dialogue(fault="dialogue is no list of turns")
    turns, images = [], list[Any]()
    for turn in value:
        speaker = str(turn.get("role", turn.get("from", ""))).casefold()
        text, shown = _content(turn.get("content", turn.get("value")))
        images += shown
        if speaker != "system":
            turns.append((speaker, text))
    if len(turns) < 2 or turns[0][0] not in ASKS or turns[1][0] not in ANSWERS:
        return Dialogue(fault="dialogue does not begin with a question and its answer")
    return Dialogue(turns[0][1], turns[1][1], tuple(images), len(turns) - 2)


def _content(content: Any) -> tuple[str, list[Any]]:
    """Return the text of a turn, with IMAGE where it shows an image, and the images that it holds."""
    if not isinstance(content, list):
        return "" if content is None else str(content), []
    texts, images = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and part.get("text") is not None:
            texts.append(str(part["text"]))
        elif isinstance(part, dict) and "image" in str(part.get("type", "")):
            texts.append(IMAGE)
            shown = part.get("image_url", part.get("image", part.get("path", part.get("url"))))
            shown = shown.get("url") if isinstance(shown, dict) and "url" in shown else shown
            images += [] if shown is None else [shown]
    return "\n".join(texts), images
