"""Readers of image sources: drawn, folders, and datasets on disk or of the Hugging Face hub, with their rows."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.config.data import Columns, Source
from wethink.data.image_decoding import Unusable
from wethink.data.image_files import check_size, read_named, read_own, walk
from wethink.data.tables.base64_images import decoded
from wethink.data.tables.columns import PLACE, Roles, resolve
from wethink.data.tables.files import Broken, Table, metadata_files, metadata_tables, tables
from wethink.data.tables.given import Given, given
from wethink.data.tables.hub import snapshot

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
DRAWN_COLUMNS = Columns(image="image")


@dataclass(frozen=True)
class GivenRow:
    """A row of a source, and its place there (`table`, `number`)."""

    table: str
    number: int
    given: Given
    place: int = 0  # of the image that it is read with, among the row's images


@dataclass(frozen=True)
class Found:
    """A candidate image: its place in the source; `read` may raise Unusable. A row about no image has no `read`."""

    origin: str
    read: Callable[[], bytes] | None
    split: str | None = None  # None: not given; training, or the held-out share
    cluster: str | None = None  # None: not given; by near-duplicates
    names: tuple[str, ...] = ()  # other names of the image in its source
    again: tuple[str, ...] = ()  # further rows of a table that name the same file
    rows: tuple[GivenRow, ...] = ()  # rows about the image


@dataclass(frozen=True)
class Reading:
    """How a source is read: its number of candidates, an iterator in a fixed order, and its tables' columns."""

    total: int
    found: Iterator[Found]
    roles: dict[str, Roles]  # table → its columns; {}: a folder of pictures alone
    are_files_named: bool = False  # rows may name one file several times, so that there are fewer candidates

    @property
    def steps(self) -> int | None:
        """The number of candidates, for a progress bar, or None if it is not known before they are read."""
        return None if self.are_files_named else self.total


def candidates(source: Source, drawn: Path, key: str, max_mb: int) -> Reading:
    """Open a source.

    Args:
        source: the source.
        drawn: the folder of the drawn sources.
        key: the source's key in params.yaml, for errors.
        max_mb: the limit of an image file.

    Raises:
        UserError: the source is missing, empty or unreadable, or lacks a named column.
    """
    if source.path is None:
        file = drawn / "images" / f"{source.name}.parquet"
        if not file.is_file():
            known = ", ".join(path.stem for path in sorted((drawn / "images").glob("*.parquet"))) or "none"
            raise UserError(
                f"{key}.name: no drawn source '{source.name}' (drawn are: {known}); add it to draw.sources."
            )
        return _dataset(tables(file, None, key), source.model_copy(update={"columns": DRAWN_COLUMNS}), key, max_mb)
    path = snapshot(source, key) if source.kind == "hub" else Path(source.path)
    if not path.exists():
        raise UserError(f"{key}.path: {path} does not exist; put the images there or mend the path.")
    if source.kind == "folder" and not path.is_dir():
        raise UserError(f"{key}.path: {path} is a file; name a folder, or use kind: dataset for a table of images.")
    if source.kind == "folder" or (path.is_dir() and source.files is None and metadata_files(path)):
        reading = _folder(path, source, key, max_mb)
    else:
        reading = _dataset(tables(path, source.files, key), source, key, max_mb)
    if not reading.total:
        raise UserError(f"{key}.path: {path} is empty; put images there or remove the source.")
    return reading


def _folder(root: Path, source: Source, key: str, max_mb: int) -> Reading:
    """List every file below a folder, sorted, with the rows of its metadata files (imagefolder)."""
    found_tables = metadata_tables(root)
    metadata = set(metadata_files(root))
    paths = [path for path in walk(root) if path not in metadata]
    about: dict[str, list[GivenRow]] = {}
    roles = {}
    for table in found_tables:
        roles[table.name] = _roles(table, source, key)
        for row in _given_rows(table, roles[table.name], source):
            for number, name in enumerate(row.given.images or ("",)):
                is_name = isinstance(name, str) and name and "\0" not in name
                place = os.path.normpath(table.root / name) if is_name else f"\0{len(about)}"  # no file
                about.setdefault(place, []).append(replace(row, place=number))

    def found() -> Iterator[Found]:
        for path in paths:
            origin = os.fsencode(path.relative_to(root)).decode("utf-8", "backslashreplace")
            rows = tuple(about.pop(os.path.normpath(path), ()))
            yield Found(origin, lambda path=path: read_own(path, max_mb), rows=rows)  # type: ignore[misc]
        for row in (row for rows in about.values() for row in rows):
            yield Found(f"{row.table}#{row.number}", _nothing(row.given), rows=(row,))

    return Reading(len(paths), found(), roles)


def _roles(table: Table, source: Source, key: str) -> Roles:
    """Find a table's columns.

    Raises:
        UserError: a configured one is missing, or the image column holds no images.
    """
    roles = resolve(source.columns, table.columns, table.pictures, f"{key}.columns", table.name)
    column = roles.columns.get("image")
    if column is not None and table.texts is not None and column not in table.texts:
        raise UserError(f"{key}.columns.image: '{column}' of {table.name} holds no images; expected bytes or paths.")
    if column is None and "messages" not in roles.columns:
        raise UserError(
            f"{key}.columns.image: {table.name} has no column that looks like images; it has: "
            f"{', '.join(table.columns)}. Name one."
        )
    if source.rows:
        return roles
    return replace(roles, columns={role: name for role, name in roles.columns.items() if role == "image"}, letters=())


def _given_rows(table: Table, roles: Roles, source: Source) -> Iterator[GivenRow]:
    if source.rows and roles.has_rows:
        for number, row in table.read(_wanted(table, roles)):
            yield GivenRow(table.name, number, given(row, roles))


def _wanted(table: Table, roles: Roles) -> list[str]:
    """Return the columns to read: all of a table of rows but further pictures; else those of the images alone."""
    image = roles.columns.get("image")
    if roles.has_rows:
        return [column for column in table.columns if column == image or column not in table.pictures]
    return [column for column in table.columns if column == image or column in PLACE]


def _dataset(found_tables: list[Table], source: Source, key: str, max_mb: int) -> Reading:
    """Read tables whose rows hold images, or name files below the table's folder."""
    roles = {table.name: _roles(table, source, key) for table in found_tables if table.rows}

    def found() -> Iterator[Found]:
        for table in (table for table in found_tables if table.rows):
            yield from _of_table(table, roles[table.name], max_mb)

    named = any(
        roles[table.name].columns.get("image") not in table.pictures for table in found_tables if table.name in roles
    )
    return Reading(sum(table.rows for table in found_tables), found(), roles, named)


def _of_table(table: Table, roles: Roles, max_mb: int) -> Iterator[Found]:
    """Yield the images of a table; rows that name one file are one candidate."""
    named: dict[tuple[str, str | None, str | None], Found] = {}
    for number, row in table.read(_wanted(table, roles)):
        origin = f"{table.name}#{number}"
        one = given(row, roles)
        rows = (GivenRow(table.name, number, one),) if roles.has_rows else ()
        split, scene = (None, None) if isinstance(row, Broken) else (row.get("split"), row.get("scene"))
        place = (None if split is None else str(split), None if scene is None else str(scene))
        if isinstance(row, Broken) or not one.images:
            yield Found(origin, _nothing(one), *place, rows=rows)
            continue
        for number, cell in enumerate(one.images):
            about = tuple(replace(row, place=number) for row in rows)
            at = origin if len(one.images) == 1 else f"{origin}.{number + 1}"
            path = cell.get("path") if isinstance(cell, dict) else None
            names = (path,) if isinstance(path, str) else ()
            if isinstance(cell, dict):
                cell = cell["bytes"] if cell.get("bytes") is not None else cell.get("path")
            if isinstance(cell, str) and decoded(cell) is None:
                first = named.setdefault((cell, *place), Found(at, _reader(cell, table.root, max_mb), *place))
                again = (*first.again, *((at,) if first.origin != at else ()))
                named[(cell, *place)] = replace(first, names=(cell,), again=again, rows=(*first.rows, *about))
                continue
            yield Found(at, _reader(cell, table.root, max_mb), *place, names=names, rows=about)
    yield from named.values()


def _nothing(row: Given) -> Callable[[], bytes] | None:
    """Return a reader of a row without a readable image, which raises the reason; None if the row is about none."""
    reason = "missing: the row has no image"
    if row.fault is not None and row.detail:
        reason = f"{row.fault}: {row.detail}"
    elif not row.images and row.question:
        return None
    elif row.images:
        reason = "missing: the path leads to no file"

    def read() -> bytes:
        raise Unusable(reason)

    return read


def _reader(cell: Any, root: Path, max_mb: int) -> Callable[[], bytes]:
    """Return a reader of a cell: bytes, a path in the root, or base64."""

    def read() -> bytes:
        value = cell
        if isinstance(value, str):
            data = decoded(value)
            if data is None and _ADDRESS.match(value):
                raise Unusable("an address: images are not downloaded; fetch it and write its path")
            if data is None:
                return read_named(value, root, max_mb)
            value = data
        if value is None:
            raise Unusable("missing: the row has no image")
        if not isinstance(value, bytes):
            raise Unusable(f"not an image: the cell holds {type(value).__name__}, neither bytes nor a path")
        check_size(len(value), max_mb)
        return value

    return read
