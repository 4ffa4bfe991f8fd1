"""Table files: Parquet, Arrow as 🤗 Datasets saves it, CSV, JSON lines, JSON arrays and WebDataset tars."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, json_lines, read_json
from wethink.common.text_files import UNDECODED, open_text
from wethink.data.image_files import is_within

BATCH = 64  # rows of a dataset in memory at once
MAX_CELL = 2**30  # characters; csv's own limit is 128 KiB, an image in base64 is larger
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")  # Hugging Face's imagefolder
TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
NO_UTF8 = "the row has a text that is no UTF-8"
REMEDY = "name an existing file of rows"


@dataclass(frozen=True)
class Broken:
    """A row that cannot be read: the kind of fault, and details."""

    fault: str
    detail: str = ""


@dataclass(frozen=True)
class Table:
    """A file of rows, read in order."""

    name: str  # inside the source
    root: Path  # paths in its cells start here
    columns: tuple[str, ...]
    rows: int
    read: Callable[[Sequence[str]], Iterator[tuple[int, Record | Broken]]]  # number and cells of each row
    pictures: tuple[str, ...] = ()  # columns that hold pictures, where the format tells
    texts: tuple[str, ...] | None = None  # columns that may hold text or bytes; None: unknown


def tables(path: Path, files: str | None, key: str) -> list[Table]:
    """List the tables of a file or a folder.

    Args:
        files: a pattern that names a part of a folder's files, or None.
        key: the source's key in params.yaml, for errors.

    Raises:
        UserError: a table cannot be read, or the folder holds several splits and `files` names none.
    """
    try:
        return [_table(file, path) for file in _files(path, files, key)]
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{key}.path: {path} cannot be read as a dataset ({error}); write it again.") from None


def _files(path: Path, files: str | None, key: str) -> list[Path]:
    if path.is_file():
        return [path]
    if (path / "dataset_dict.json").is_file():
        splits = ", ".join(sorted(child.name for child in path.iterdir() if child.is_dir()))
        raise UserError(f"{key}.path: {path} holds several splits ({splits}); name one of these folders.")
    if (path / "state.json").is_file():
        listed = read_json(path / "state.json", "save the dataset again")["_data_files"]
        found = [path / str(entry["filename"]) for entry in listed]
        if not all(is_within(file, path) for file in found):
            raise UserError(
                f"{key}.path: {path / 'state.json'} names files outside its folder; save the dataset again."
            )
        return found
    every = sorted(file for file in path.rglob("*") if file.is_file())
    if files is not None:
        chosen = [file for file in every if fnmatch(file.relative_to(path).as_posix(), files)]
        if not chosen:
            raise UserError(f"{key}.files: no file of {path} matches '{files}'.")
        return chosen
    for suffixes in ((".parquet",), (".tar", ".tar.gz", ".tgz"), TEXT_SUFFIXES):
        if found := [file for file in every if file.name.casefold().endswith(suffixes)]:
            _refuse_splits(found, path, key)
            return found
    return []


def _refuse_splits(files: list[Path], path: Path, key: str) -> None:
    """Check that files in the hub's naming (train-00000-of-00004) are of one split.

    Raises:
        UserError: they are not.
    """
    names = {"train", "training", "validation", "valid", "val", "dev", "test", "testing"}
    splits = {part for file in files for part in [file.stem.partition("-")[0].casefold()] if part in names}
    if len(splits) > 1:
        shown = ", ".join(sorted(splits))
        example = next(file for file in files if file.stem.casefold().startswith(min(splits)))
        pattern = (example.relative_to(path).parent / f"{min(splits)}*").as_posix()
        raise UserError(f"{key}.path: {path} holds several splits ({shown}); name one, for instance files: {pattern}.")


def _table(file: Path, home: Path) -> Table:
    name = file.name if file == home else file.relative_to(home).as_posix()
    kind = file.name.casefold()
    if kind.endswith(".parquet"):
        return _parquet(file, name, home if home.is_dir() else home.parent)
    if kind.endswith(".arrow"):
        return _arrow(file, name, home if home.is_dir() else home.parent)
    if kind.endswith((".tar", ".tar.gz", ".tgz")):
        from wethink.data.tables.webdataset import webdataset

        return webdataset(file, name)
    if kind.endswith((".csv", ".tsv")):
        return _csv(file, name)
    if kind.endswith(".json"):
        return _json(file, name)
    if kind.endswith((".jsonl", ".ndjson")):
        return json_table(file, name)
    if file == home:
        return _parquet(file, name, home.parent)
    raise UserError(f"{file} is no table; known are .parquet, .arrow, .csv, .tsv, .jsonl, .json and .tar.")


def _parquet(file: Path, name: str, root: Path) -> Table:
    def batches(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(file) as open_file:
            yield from open_file.iter_batches(BATCH, columns=list(columns), use_threads=False)

    with pq.ParquetFile(file) as opened:
        return _arrow_table(file, name, root, opened.schema_arrow, opened.metadata.num_rows, batches)


def _arrow(file: Path, name: str, root: Path) -> Table:
    def batches(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        with pa.memory_map(str(file)) as source:
            for batch in pa.ipc.open_stream(source):
                yield from (batch.slice(start, BATCH) for start in range(0, batch.num_rows, BATCH))

    with pa.memory_map(str(file)) as source:
        reader = pa.ipc.open_stream(source)
        return _arrow_table(file, name, root, reader.schema, sum(batch.num_rows for batch in reader), batches)


def _arrow_table(
    file: Path,
    name: str,
    root: Path,
    schema: pa.Schema,
    rows: int,
    batches: Callable[[Sequence[str]], Iterator[pa.RecordBatch]],
) -> Table:
    def read(columns: Sequence[str]) -> Iterator[tuple[int, Record | Broken]]:
        try:
            yield from enumerate(_rows(batches(columns), list(columns)))
        except (OSError, pa.ArrowException) as error:  # a damaged page, found only on reading it
            raise UserError(f"{file} is damaged ({error}); write it again.") from None

    kinds = {column.name: column.type for column in schema}
    pictures = tuple(column for column, kind in kinds.items() if _is_picture(kind))
    texts = tuple(column for column, kind in kinds.items() if _is_picture(kind) or _is_text(kind))
    return Table(name, root, tuple(schema.names), rows, read, pictures, texts)


def _rows(batches: Iterator[pa.RecordBatch], columns: list[str]) -> Iterator[Record | Broken]:
    for batch in batches:
        chosen = batch.select(columns)
        try:
            yield from chosen.to_pylist()
        except UnicodeDecodeError:  # pyarrow checks texts when they are read, and refuses the batch for one
            yield from (_row(chosen.slice(place, 1)) for place in range(chosen.num_rows))


def _row(batch: pa.RecordBatch) -> Record | Broken:
    try:
        row: Record = batch.to_pylist()[0]
    except UnicodeDecodeError:
        return Broken("unreadable", NO_UTF8)
    return row


def _is_picture(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_picture(kind.value_type)
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_text(kind.value_type)
    if pa.types.is_struct(kind):
        return any(kind.field(i).name == "path" for i in range(kind.num_fields))
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def json_table(file: Path, name: str) -> Table:
    """Read JSON lines; rows are numbered by their lines."""
    lines = list(json_lines(file, REMEDY))
    columns = tuple(dict.fromkeys(key for line in lines for key in line.record))

    def read(wanted: Sequence[str]) -> Iterator[tuple[int, Record | Broken]]:
        for line in lines:
            yield line.number, Broken(line.fault, line.detail) if line.fault else line.record

    return Table(name, file.parent, columns, len(lines), read)


def _json(file: Path, name: str) -> Table:
    """Read a JSON array of objects; rows are numbered from 1."""
    found = read_json(file, "mend it, or write each row on a line of its own (.jsonl)")
    if not isinstance(found, list):
        raise UserError(f"{file}: expected an array of rows, found {type(found).__name__}; write one object a row.")
    columns = tuple(dict.fromkeys(key for row in found if isinstance(row, dict) for key in row))

    def read(wanted: Sequence[str]) -> Iterator[tuple[int, Record | Broken]]:
        for number, row in enumerate(found, start=1):
            bad = Broken("no JSON object", f"expected an object, found {type(row).__name__}")
            yield number, row if isinstance(row, dict) else bad

    return Table(name, file.parent, columns, len(found), read)


def _csv(file: Path, name: str) -> Table:
    """Read a table of comma, semicolon or tab separated values; rows are numbered from 1, below the header."""
    csv.field_size_limit(MAX_CELL)
    with open_text(file, REMEDY) as opened:
        handle = io.StringIO(opened.read().lstrip("\ufeff"))
    head = handle.readline()
    sign = "\t" if file.suffix.casefold() == ".tsv" else max(",;\t", key=head.count)
    handle.seek(0)
    try:
        lines = [line for line in csv.reader(handle, delimiter=sign) if line]
    except csv.Error as error:
        raise UserError(f"{file} is no table ({error}); write it again as CSV.") from None
    columns = tuple(column.strip() for column in lines[0]) if lines else ()

    def read(wanted: Sequence[str]) -> Iterator[tuple[int, Record | Broken]]:
        for number, cells in enumerate(lines[1:], start=1):
            if len(cells) > len(columns) and any(cells[len(columns) :]):
                fault = f"{len(cells)} cells under {len(columns)} column names; put texts with '{sign}' in quotes"
                yield number, Broken("more cells than columns", fault)
            elif UNDECODED in "".join(cells):
                yield number, Broken("unreadable", NO_UTF8)
            else:
                yield number, {column: cell or None for column, cell in zip(columns, cells, strict=False)}

    return Table(name, file.parent, columns, max(0, len(lines) - 1), read)


def metadata_files(root: Path) -> list[Path]:
    """List the metadata files of an imagefolder, in its root or its subfolders."""
    return sorted(path for path in root.rglob("metadata.*") if path.name in METADATA and path.is_file())


def metadata_tables(root: Path) -> list[Table]:
    """Read the metadata files of an imagefolder; paths start at the file's own folder."""
    found = []
    for path in metadata_files(root):
        table = _table(path, path)
        found.append(Table(PurePosixPath(path.relative_to(root)).as_posix(), path.parent, *_rest(table)))
    return found


def _rest(table: Table) -> tuple[Any, ...]:
    return table.columns, table.rows, table.read, table.pictures, table.texts
