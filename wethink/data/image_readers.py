"""Readers of image sources: drawn, folders, Parquet and Hugging Face datasets on disk."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json
from wethink.config.data import Source
from wethink.data.image_decoding import Unusable
from wethink.data.image_files import check_size, is_within, read_named, read_own, walk

BATCH = 64  # rows of a dataset in memory at once
NOT_TEXT = object()  # stands for the cells of a row that has a text in another encoding


@dataclass(frozen=True)
class Found:
    """A candidate image: its place in the source; `read` may raise Unusable."""

    origin: str
    read: Callable[[], bytes]
    split: str | None = None  # None: not given; training, or the held-out share
    cluster: str | None = None  # None: not given; by near-duplicates


def _candidates(source: Source, drawn: Path, key: str, max_mb: int) -> tuple[int, Iterator[Found]]:
    """Return a source's number of candidate images and an iterator in a fixed order.

    Args:
        key: the source's key in params.yaml, for errors.

    Raises:
        UserError: the source is missing, empty or unreadable, or lacks the named column.
    """
    if source.path is None:
        file = drawn / "images" / f"{source.name}.parquet"
        if not file.is_file():
            known = ", ".join(path.stem for path in sorted((drawn / "images").glob("*.parquet"))) or "none"
            raise UserError(
                f"{key}.name: no drawn source '{source.name}' (drawn are: {known}); add it to draw.sources."
            )
        return _dataset(file, "image", key, max_mb)
    path = Path(source.path)
    if not path.exists():
        raise UserError(f"{key}.path: {path} does not exist; put the images there or mend the path.")
    if source.kind == "folder" and not path.is_dir():
        raise UserError(f"{key}.path: {path} is a file; name a folder, or use kind: dataset for a Parquet file.")
    total, candidates = _folder(path, max_mb) if source.kind == "folder" else _dataset(path, source.column, key, max_mb)
    if not total:
        raise UserError(f"{key}.path: {path} is empty; put images there or remove the source.")
    return total, candidates


def _folder(root: Path, max_mb: int) -> tuple[int, Iterator[Found]]:
    """List every file below a folder, sorted."""
    paths = walk(root)

    def found() -> Iterator[Found]:
        for path in paths:
            origin = os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")
            yield Found(origin, lambda path=path: read_own(path, max_mb))  # type: ignore[misc]

    return len(paths), found()


def _dataset(path: Path, column: str, key: str, max_mb: int) -> tuple[int, Iterator[Found]]:
    """Read Parquet files, or a folder written by `datasets.save_to_disk`."""
    root = path if path.is_dir() else path.parent
    try:
        tables = _tables(path, key)
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{key}.path: {path} cannot be read as a dataset ({error}); write it again.") from None
    for name, schema, _, _ in tables:
        if column not in schema.names:
            raise UserError(f"{key}.column: {name} has no column '{column}'; it has: {', '.join(schema.names)}.")
        for name_of in (column, "split", "scene"):
            if (count := schema.names.count(name_of)) > 1:
                raise UserError(f"{key}.column: {name} has the column '{name_of}' {count} times; rename the others.")
        if not _holds_images(schema.field(column).type):
            kind = schema.field(column).type
            raise UserError(f"{key}.column: '{column}' of {name} holds {kind}; expected bytes, a path, or both.")

    def found() -> Iterator[Found]:
        for name, schema, _, batches in tables:
            columns = [wanted for wanted in (column, "split", "scene") if wanted in schema.names]
            for number, row in enumerate(_rows(batches(columns), columns, f"{key}.path: {root / name}")):
                value, split, scene = row[column], row.get("split"), row.get("scene")
                if value is NOT_TEXT:
                    split = scene = None
                yield Found(
                    f"{name}#{number}",
                    lambda value=value: _value_bytes(value, root, max_mb),  # type: ignore[misc]
                    None if split is None else str(split),
                    None if scene is None else str(scene),
                )

    return sum(rows for _, _, rows, _ in tables), found()


def _rows(batches: Iterator[pa.RecordBatch], columns: list[str], where: str) -> Iterator[dict[str, Any]]:
    try:
        for batch in batches:
            chosen = batch.select(columns)
            try:
                yield from chosen.to_pylist()
            except UnicodeDecodeError:  # pyarrow checks texts when they are read, and refuses the batch for one
                yield from (_row(chosen.slice(place, 1)) for place in range(chosen.num_rows))
    except (OSError, pa.ArrowException) as error:  # a damaged page, found only on reading it
        raise UserError(f"{where} is damaged ({error}); write it again.") from None


def _row(batch: pa.RecordBatch) -> dict[str, Any]:
    """Return a row; all of its cells are NOT_TEXT if one is a text in another encoding than UTF-8."""
    try:
        row: dict[str, Any] = batch.to_pylist()[0]
    except UnicodeDecodeError:
        return dict.fromkeys(batch.schema.names, NOT_TEXT)
    return row


_Table = tuple[str, pa.Schema, int, Callable[[list[str]], Iterator[pa.RecordBatch]]]  # name, schema, rows, batches


def _tables(path: Path, key: str) -> list[_Table]:
    if (path / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(child.name for child in path.iterdir() if child.is_dir()))
        raise UserError(f"{key}.path: {path} holds several splits ({splits}); name one of these folders.")
    if (path / "state.json").is_file():
        listed = read_json(path / "state.json", "save the dataset again")["_data_files"]
        files = [path / str(entry["filename"]) for entry in listed]
        if not all(is_within(file, path) for file in files):
            raise UserError(
                f"{key}.path: {path / 'state.json'} names files outside its folder; save the dataset again."
            )
        return [_arrow(file) for file in files]
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    return [_parquet(file, str(file.relative_to(path)) if path.is_dir() else file.name) for file in files]


def _parquet(file: Path, name: str) -> _Table:
    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(file) as open_file:
            yield from open_file.iter_batches(BATCH, columns=columns, use_threads=False)

    with pq.ParquetFile(file) as opened:
        return name, opened.schema_arrow, opened.metadata.num_rows, batches


def _arrow(file: Path) -> _Table:
    def batches(columns: list[str]) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(file)) as source:
            for batch in pa.ipc.open_stream(source):
                yield from (batch.slice(start, BATCH) for start in range(0, batch.num_rows, BATCH))

    with pa.memory_map(str(file)) as source:
        reader = pa.ipc.open_stream(source)
        return file.name, reader.schema, sum(batch.num_rows for batch in reader), batches


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(name in ("bytes", "path") for name in (kind.field(i).name for i in range(kind.num_fields)))
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string, pa.types.is_large_string)
    return any(test(kind) for test in tests)


def _value_bytes(value: Any, root: Path, max_mb: int) -> bytes:
    """Return the image bytes of a cell (bytes, {bytes, path} or a path in the root).

    Raises:
        Unusable: the cell is empty, or as `read_named`.
    """
    if value is NOT_TEXT:
        raise Unusable("unreadable: the row has a text that is no UTF-8")
    if isinstance(value, dict):
        value = value.get("bytes") if value.get("bytes") is not None else value.get("path")
    if value is None:
        raise Unusable("missing: the row has no image")
    if isinstance(value, str):
        return read_named(value, root, max_mb)
    if not isinstance(value, bytes):
        raise Unusable(f"not an image: the cell holds {type(value).__name__}, neither bytes nor a path")
    check_size(len(value), max_mb)
    return value
