"""JSON and JSON-lines files: atomic writes, deterministic bytes, content ids.

A row has exactly the released dataset's keys (`problem, answer, category, abilities, refined_cot,
image_path, reward`) and this project's keys beside them. Records are plain dicts, keyed by id.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError

Record = dict[str, Any]
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


def read_jsonl(path: Path, remedy: str = WRITE_FIRST) -> Iterator[Record]:
    """Yield the records of a JSON-lines file.

    Args:
        remedy: the advice in the error for a missing file.

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
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {remedy}.") from None
    except json.JSONDecodeError as error:
        again = "remove it and run the stage again" if remedy == WRITE_FIRST else remedy
        raise UserError(f"{path}: not JSON ({error}); {again}.") from None
