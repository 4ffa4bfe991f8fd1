"""Given rows in one form: question, answer, options, path and images of a table's row, or the fault by name.

Stated outcomes (docs/data.md): a list of one answer is that answer; of several, the one given most often is the gold
and all are `alternatives` (wethink/rewards/alternatives.py scores them); a number or truth value is text; null is a
fault. A row has one image, several (a list) or none. `<image>` in a question is the place of its next image: once for
each, or not at all. Places before the text, and that of a single image after it, are removed, as images stand before a
question without places.
"""

import json
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from wethink.common.jsonl import NotJson, Record, encodable, parse_json
from wethink.data.schema import IMAGE, placement_fault
from wethink.data.tables.columns import PLACE, Roles
from wethink.data.tables.dialogues import dialogue
from wethink.data.tables.files import Broken
from wethink.data.tables.listed_texts import listed

ASKS_ABOUT_NONE = "asks about an image, and has none"
_NOUNS = r"(?:images?|pictures?|photos?|photographs?|figures?|diagrams?|screenshots?|illustrations?|drawings?)"
_PLOTS = r"(?:chart|graph|plot|table|map)s?"
_ASKS = re.compile(  # English and Chinese
    rf"\b(?:this|the|these|following|above|below|shown|given|each)\s+(?:\w+\s+)?{_NOUNS}\b(?!\s+of\s+\S+\s+under\b)"
    rf"|\b{_PLOTS}\s+(?:shown|above|below)\b|\b{_NOUNS}\s+(?:shown|above|below|\d+)\b"
    rf"|\b(?:according to|based on|does|do)\s+(?:the|this|these)\s+{_PLOTS}\b"
    r"|\b(?:is|are)\s+(?:shown|depicted|pictured)(?:\s+here)?\s*[?.]|\bwhat (?:do |can )?you (?:can )?see\b"
    r"|图中|图片|如图|[上下]图|照片",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Given:
    """A row as it was given; `fault` is None, or tells why it is none."""

    question: str = ""
    answer: Any = ""  # text, or the number of an option
    alternatives: tuple[str, ...] = ()  # all answers, where they differ
    options: tuple[str, ...] = ()
    path: str = ""
    category: str | None = None
    is_strict: bool = False  # an unknown category is a fault
    abilities: Any = None
    reward: str | None = None
    images: tuple[Any, ...] = ()  # cells: bytes, paths, or structs of both
    columns: Record = field(default_factory=dict)  # the user's other columns
    fault: str | None = None
    detail: str = ""

    def record(self) -> Record:
        """Return it as JSON, without its images."""
        own = {name: getattr(self, name) for name in ("question", "answer", "path", "columns")}
        others = {name: getattr(self, name) for name in ("category", "is_strict", "abilities", "reward", "fault")}
        others |= {"options": list(self.options), "alternatives": list(self.alternatives), "detail": self.detail}
        return own | {name: value for name, value in others.items() if value}


def given(row: Record | Broken, roles: Roles) -> Given:
    """Read one row of a table."""
    if isinstance(row, Broken):
        return Given(fault=row.fault, detail=row.detail)
    cells = {role: row.get(column) for role, column in roles.columns.items()}
    used = {*roles.columns.values(), *roles.letters, *PLACE}
    columns = {str(name): plain(value) for name, value in row.items() if name not in used and not _is_picture(value)}
    fault, images = None, _images(cells.get("image"))
    question, answer = cells.get("question"), cells.get("answer")
    if question is None and answer is None and cells.get("messages") is not None:
        talk = dialogue(cells["messages"])
        question, answer, fault = talk.question, talk.answer, talk.fault
        images = images or list(talk.images)
        columns |= {"further_turns": talk.further} if talk.further else {}
    if cells.get("id") is not None:
        columns["id"] = plain(cells["id"])
    asked = _placed(_text(question), len(images))
    listed = _options(row, cells.get("options"), roles)
    answer, alternatives = _answer(answer)
    if fault is None:
        fault = _fault(question, asked, listed, answer, images)
    return Given(
        question=asked,
        answer=answer,
        alternatives=tuple(alternatives),
        options=listed,
        path=_text(cells.get("path")),
        category=_text(cells.get("category")).strip() or None,
        is_strict=roles.is_strict,
        abilities=plain(cells.get("abilities")),
        reward=_named(cells.get("reward")),
        images=tuple(images),
        columns=columns,
        fault=fault,
    )


def _fault(question: Any, asked: str, listed: tuple[str, ...], answer: Any, images: list[Any]) -> str | None:
    if question is None:
        return "no question"
    if fault := placement_fault(asked + "".join(listed), len(images)):
        return fault
    if not images and _ASKS.search(asked):
        return ASKS_ABOUT_NONE
    if answer is None:
        return "no answer"
    return None


def _placed(question: str, images: int) -> str:
    """Remove the places of all images before a question, and that of a single image after it.

    >>> _placed("<image>\\nHow many?", 1), _placed("In <image>, how many?", 1), _placed("<image> <image> Same?", 2)
    ('How many?', 'In <image>, how many?', 'Same?')
    """
    text = question.strip()
    if text.count(IMAGE) != images:
        return text
    rest = re.sub(rf"^(?:\s*{IMAGE})+", "", text)
    if images == 1:
        rest = rest.removesuffix(IMAGE)
    return text if IMAGE in rest else rest.strip()


def _answer(value: Any) -> tuple[Any, list[str]]:
    """Return the answer (text, an integer, or None), and its alternatives if they are several."""
    value = _said(value)
    found = listed(value) if isinstance(value, str) else None
    if found is not None and all(isinstance(_said(part), str) for part in found):
        value = found  # a list as CSV holds it; a list of numbers, such as an interval, is one answer
    if isinstance(value, list):
        texts = [_text(_said(part)) for part in value]
        texts = [text for text in texts if text.strip()]
        if not texts:
            return None, []
        ((most, _),) = Counter(texts).most_common(1)
        return (value[0] if len(value) == 1 and _is_int(value[0]) else most), texts if len(set(texts)) > 1 else []
    if value is None or _is_int(value):
        return value, []
    if isinstance(value, float) and not math.isfinite(value):
        return None, []
    return _text(value), []


def _said(value: Any) -> Any:
    """Return the answer inside an object such as VQA's and SQuAD's, or the value itself."""
    return next((value[key] for key in ("answer", "text") if key in value), value) if isinstance(value, dict) else value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _options(row: Record, value: Any, roles: Roles) -> tuple[str, ...]:
    """Return the options of a row: a list, a dict of letters, a list as JSON text, or the columns A, B, …."""
    if roles.letters:
        found = [_text(row.get(letter)) for letter in roles.letters]
        return tuple(text for text in found if text)
    if isinstance(value, str) and value.lstrip().startswith(("[", "{")):
        try:
            value = parse_json(value)
        except NotJson:
            try:
                value = listed(value) or parse_json(value.replace("'", '"'))  # an object as Python writes it
            except NotJson:
                return ()
    if isinstance(value, dict):  # letters and texts, or the two lists of ARC's form
        value = value["text"] if isinstance(value.get("text"), list) else [value[letter] for letter in sorted(value)]
    if isinstance(value, str):
        value = value.split("\n") if "\n" in value else value.split("|")
    texts = [_text(part).strip() for part in value] if isinstance(value, list) else []
    return tuple(text for text in texts if text)


def _images(cell: Any) -> list[Any]:
    """Return the images of a cell: one, a list, a list of names as text, or none; a gap in a list stays."""
    found = listed(cell) if isinstance(cell, str) else cell
    cells = list(found) if isinstance(found, list | tuple) else [cell]
    return cells if any(one is not None and one != "" for one in cells) else []


def _is_picture(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_is_picture, value))
    return isinstance(value, bytes) or (isinstance(value, dict) and isinstance(value.get("bytes"), bytes))


def _named(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _text(value: Any) -> str:
    """Return a cell as text: whole floats without their point, other values as JSON.

    >>> [_text(value) for value in (3.0, 2.5, True, None, ["a"])]
    ['3', '2.5', 'true', '', '["a"]']
    """
    if isinstance(value, str) or value is None:
        return encodable(value or "")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return encodable(json.dumps(plain(value), ensure_ascii=False) if not isinstance(value, str) else value)


def plain(value: Any) -> Any:
    """Copy a cell as JSON: numbers that JSON has not become null, other values their text."""
    if isinstance(value, dict):
        return {encodable(str(key)): plain(part) for key, part in value.items() if not isinstance(part, bytes)}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value if not isinstance(part, bytes)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int):
        return value
    return encodable(value if isinstance(value, str) else str(value))
