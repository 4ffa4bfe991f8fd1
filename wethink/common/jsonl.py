"""Rows and items on disk: JSON lines, keyed by id, one record a line, written atomically.

A row has exactly the released dataset's keys (`problem, answer, category, abilities, refined_cot,
image_path, reward`) and ours beside them. Records stay plain dicts where they are only carried;
functions that need fields take them by name.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError

Record = dict[str, Any]
WRITE_FIRST = "run the stage that writes it first"  # of files that no stage writes, a caller says what is wanted


def content_id(*parts: object) -> str:
    """Stable 16-hex-digit id of JSON-serialisable parts."""
    blob = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(blob.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def dumps(value: object) -> str:
    """JSON with sorted keys: the same record is always the same bytes."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def write_jsonl(path: Path, records: Iterable[Record]) -> int:
    """Write records as JSON lines through a temporary file; return how many."""
    temporary = path.with_name(path.name + ".tmp")
    count = 0
    with temporary.open("w", encoding="utf-8") as handle:
        for record in records:
            handle.write(dumps(record) + "\n")
            count += 1
    os.replace(temporary, path)
    return count


def read_jsonl(path: Path, remedy: str = WRITE_FIRST) -> Iterator[Record]:
    """Yield the records of a JSON-lines file; `remedy` says what to do where it is missing.

    Raises:
        UserError: the file is missing, or a line is no JSON object (the line number is named).
    """
    try:
        handle = path.open(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {remedy}.") from None
    with handle:
        for number, line in enumerate(handle, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}, line {number}: not JSON ({error.msg}); mend or remove the line.") from None
            if not isinstance(record, dict):
                raise UserError(f"{path}, line {number}: expected an object, found {type(record).__name__}.")
            yield record


def write_json(path: Path, value: object) -> None:
    """Write one JSON document (sorted keys, indented) through a temporary file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def read_json(path: Path, remedy: str = WRITE_FIRST) -> Any:
    """Read one JSON document; `remedy` says what to do where it is missing.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {remedy}.") from None
    except json.JSONDecodeError as error:
        again = "remove it and run the stage again" if remedy == WRITE_FIRST else remedy
        raise UserError(f"{path}: not JSON ({error}); {again}.") from None
