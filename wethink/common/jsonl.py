"""JSON and JSON-lines files: atomic writes, deterministic bytes, content ids.

A row has exactly the released dataset's keys (`problem, answer, category, abilities, refined_cot,
image_path, reward`) and this project's keys beside them. Records are plain dicts, keyed by id.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.text_files import UNDECODED, open_text, read_text

Record = dict[str, Any]
NOT_JSON, NO_OBJECT = "not JSON", "no JSON object"
MAX_DEPTH = 100  # levels of lists and objects; Python's own writer fails some hundreds further down
_STRING, _BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"'), re.compile(r"[\[\]{}]")
_MAY_OVERFLOW = re.compile(r"[0-9](?:[eE]\+?[0-9]{3}|[0-9]{300})")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
WRITE_FIRST = "run the stage that writes it first"  # callers pass another remedy for files that no stage writes


def content_id(*parts: object) -> str:
    """Return a stable id (16 hex digits of a sha256) of JSON-serialisable parts."""
    blob = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(blob.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Return the hex sha256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def dumps(value: object) -> str:
    """Serialise to JSON with sorted keys: equal records give equal bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def encodable(text: str) -> str:
    r"""Replace lone surrogates, which JSON can escape and UTF-8 cannot encode.

    >>> encodable("caf\u00e9 \ud83d")
    'café ?'
    """
    return text.encode("utf-8", "replace").decode()


def write_jsonl(path: Path, records: Iterable[Mapping[str, object]]) -> int:
    """Write records as JSON lines atomically and return their number."""
    temporary = path.with_name(path.name + ".tmp")
    count = 0
    with temporary.open("w", encoding="utf-8") as handle:
        for record in records:
            handle.write(dumps(record) + "\n")
            count += 1
    os.replace(temporary, path)
    return count


@dataclass(frozen=True)
class Line:
    """A line of a JSON-lines file: its object, or `fault` and `detail`."""

    number: int
    record: Record
    fault: str | None = None
    detail: str = ""


class NotJson(Exception):
    """A text is not JSON that can be kept; `fault` is the kind, the message the detail."""

    def __init__(self, detail: str, fault: str = NOT_JSON) -> None:
        super().__init__(detail)
        self.fault = fault


def parse_json(text: str) -> Any:
    """Parse JSON strictly; halves of characters (lone surrogates), which UTF-8 cannot encode, become `?`.

    Raises:
        NotJson: `json.loads` refuses it, or it has NaN, a number out of range, over MAX_DEPTH levels, a key that occurs
            twice in one object with different values, or undecoded bytes.
    """
    if UNDECODED in text:
        raise NotJson("it has bytes of another encoding; save it as UTF-8")
    text = text.lstrip("\ufeff")
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
        raise NotJson(f"nested over {MAX_DEPTH} levels deep")
    try:
        value = (_CAREFUL if _MAY_OVERFLOW.search(text) else _DECODER).decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(f"{error.msg} at character {error.pos + 1}") from None
    except (ValueError, RecursionError):  # more digits than Python reads
        raise NotJson("a number of too many digits") from None
    return _whole_characters(value) if "\\u" in text and _SURROGATE.search(text) else value


def _depth(text: str) -> int:
    depth = deepest = 0
    for sign in _BRACKETS.findall(_STRING.sub("", text)):
        depth += 1 if sign in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next((key for key, value in pairs if found[key] != value), None)
        if twice is not None:
            raise NotJson(f"key {twice[:40]!r} occurs twice with different values", "a key occurs twice")
    return found


def _no_constant(name: str) -> None:
    raise NotJson(f"{name} is no JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise NotJson(f"the number {digits[:20]} is out of range")
    return value


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, list):
        return [_whole_characters(part) for part in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(part) for key, part in value.items()}
    return value


# Made once: `json.loads` would make one for each line.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
_CAREFUL = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def json_lines(path: Path, remedy: str = WRITE_FIRST) -> Iterator[Line]:
    """Yield every line that is not blank; a faulty one has no record and a fault.

    Raises:
        UserError: the file is missing, unreadable or no text.
    """
    with open_text(path, remedy) as handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip().strip("\ufeff"):
                continue
            try:
                value = parse_json(line)
            except NotJson as error:
                whole = line.endswith("\n") or error.fault != NOT_JSON
                detail = str(error) if whole else f"{error}; the file ends in this line, perhaps cut off"
                yield Line(number, {}, error.fault, detail)
                continue
            if isinstance(value, dict):
                yield Line(number, value)
            else:
                array = " (write each element on a line of its own)" if isinstance(value, list) else ""
                yield Line(number, {}, NO_OBJECT, f"expected an object, found {type(value).__name__}{array}")


def read_jsonl(path: Path, remedy: str = WRITE_FIRST) -> Iterator[Record]:
    """Yield the records of a JSON-lines file.

    Args:
        remedy: the advice in the error for a missing file.

    Raises:
        UserError: the file is missing, or a line is no JSON object (the line number is named).
    """
    for _, record in numbered_jsonl(path, remedy):
        yield record


def numbered_jsonl(path: Path, remedy: str = WRITE_FIRST) -> Iterator[tuple[int, Record]]:
    """Yield line numbers and records, as `read_jsonl`, for errors that name the line.

    Raises:
        UserError: as `read_jsonl`.
    """
    for line in json_lines(path, remedy):
        if line.fault == NO_OBJECT:
            raise UserError(f"{path}, line {line.number}: {line.detail}.")
        if line.fault:
            raise UserError(f"{path}, line {line.number}: not JSON ({line.detail}); mend or remove the line.")
        yield line.number, line.record


def write_json(path: Path, value: object) -> None:
    """Write one JSON document (sorted keys, indented) atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path, remedy: str = WRITE_FIRST) -> Any:
    """Read one JSON document.

    Args:
        remedy: the advice in the error for a missing file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    text = read_text(path, remedy)
    try:
        return parse_json(text)
    except NotJson as error:
        again = "remove it and run the stage again" if remedy == WRITE_FIRST else remedy
        raise UserError(f"{path}: not JSON ({error}); {again}.") from None
