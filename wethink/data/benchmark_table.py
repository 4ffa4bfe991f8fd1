"""Benchmark tables in VLMEvalKit's TSV format, with images read on demand.

`index` and `question` are required. `image` holds a base64 file, a list of them, or (64 characters at most) the index
of the row whose image it shares; `image_path` names files instead. Option columns are single capital letters. One pass
stores where each row begins, so memory does not grow with the images.
"""

import ast
import base64
import binascii
import csv
import hashlib
import json
import re
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from wethink.common.errors import UserError

REFERENCE_CHARS = 64  # a shorter `image` cell is another row's index
MAX_CELL = 2**30  # characters; csv's own limit is 128 KiB, an image is larger
BLOCK = 1 << 20  # bytes read at a time where rows end with a carriage return
_NOT_AVAILABLE = "#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null"
NOT_AVAILABLE = frozenset(_NOT_AVAILABLE.split("|"))  # cells that pandas' read_csv, and so VLMEvalKit, takes for empty
_DATA_URI = re.compile(r"data:[^,]{0,200},", re.IGNORECASE)
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]{1,20}://", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")


class NoImage(Exception):
    """An item's image is unavailable; the message is the reason."""


@dataclass(frozen=True)
class Item:
    """One row without its image: its non-empty cells by column name.

    Column names are in lower case, except A … Z.
    """

    index: str
    cells: Mapping[str, str]
    shown: str  # hash of the row's image cell: rows that share an image share it
    pictures: int = 1

    def get(self, column: str) -> str:
        return self.cells.get(column, "")

    def options(self, keep_not_available: bool = True) -> dict[str, str]:
        """Return option letter → text.

        VLMEvalKit loses options that read `None` or `N/A`; here they are kept by default.
        """
        found = {letter: self.cells[letter] for letter in string.ascii_uppercase if letter in self.cells}
        return {k: v for k, v in found.items() if keep_not_available or v not in NOT_AVAILABLE}


class Table:
    """Rows of one TSV file; rows without any image are only counted in `skipped`.

    VLMEvalKit leaves them out as well. `faults` has a sentence for every row that could not be read.
    """

    def __init__(self, path: Path, keep_going: bool = False) -> None:
        """Read the text of all rows.

        Args:
            keep_going: collect unreadable rows in `faults` instead of raising, and number repeated indices.

        Raises:
            UserError: the file is missing, is no such table or holds no image, or (unless `keep_going`) a row cannot
                be read.
        """
        self.path, self.name = path, path.stem
        self.skipped = 0
        self.faults: list[str] = []
        self.columns: tuple[str, ...] = ()
        bare: set[str] = set()  # rows without any image
        self._begins: dict[str, int] = {}
        refers: dict[str, str] = {}
        shown: dict[str, tuple[str, int]] = {}  # hash of the cell, number of images in it
        items: dict[str, dict[str, str]] = {}
        for number, (begin, cells) in enumerate(_rows(path, 0)):
            if not self.columns:
                self.columns = _header(path, cells)
                continue
            row = self._row(cells)
            if row == {}:  # a spreadsheet's empty row
                continue
            index = row.get("index", "").strip() if row else ""
            if row is None or not index or index in items or index in bare:
                self._fault(f"row {number}", index, None if row is not None else len(cells), keep_going)
                if row is None:
                    continue
                index = f"{index} (row {number})".strip()
            image = _given(row.pop("image", ""))
            cell = image or _given(row.get("image_path", ""))
            if not cell:
                self.skipped += 1
                bare.add(index)
                continue
            if image and _refers(image):
                refers[index] = image
            self._begins[index] = begin
            shown[index] = (hashlib.sha256(cell.encode()).hexdigest(), _count(cell))
            items[index] = row
        self._lost = _lost(refers, bare, items)
        self._refers = {index: other for index, other in refers.items() if index not in self._lost}
        self.items = {index: Item(index, row, *shown[self.owner(index)]) for index, row in items.items()}
        if not self.items:
            raise UserError(
                f"{path} holds no item with an image ({self.skipped} rows without, {len(self.faults)} unreadable); its "
                "images belong in the column 'image' (base64) or 'image_path' (files)."
            )

    def _fault(self, row: str, index: str, cells: int | None, keep_going: bool) -> None:
        """Raise for a row that cannot be read, or note it; a row without a usable index alone can be read.

        Raises:
            UserError: not `keep_going`.
        """
        fault = f"index '{index}' is empty or occurs twice"
        if cells is not None:
            fault = f"{cells} cells under {len(self.columns)} column names"
            self.faults.append(f"{row}: {fault}")
        if not keep_going:
            raise UserError(f"{self.path}, {row}: {fault}.")

    def __len__(self) -> int:
        return len(self.items)

    def owner(self, index: str) -> str:
        """Return the index of the row that holds an item's image."""
        return self._refers.get(index, index)

    def images(self, index: str) -> list[bytes]:
        """Read the image files of an item, in order.

        Raises:
            NoImage: the cell is no base64, or names no row that has an image, or a named file is missing or lies
                outside the table's folder.
        """
        found = self.pictures(index)
        for picture in found:
            if isinstance(picture, NoImage):
                raise picture
        return [picture for picture in found if not isinstance(picture, NoImage)]

    def pictures(self, index: str) -> list[bytes | NoImage]:
        """Read the image files of an item, in order, each or the reason why it cannot be read."""
        if index in self._lost:
            return [NoImage(self._lost[index])]
        _, cells = next(iter(_rows(self.path, self._begins[self.owner(index)])))
        row = self._row(cells) or {}
        image = _given(row.get("image", ""))
        try:
            names = _as_list(image or _given(row["image_path"]))
        except NoImage as error:
            return [error]
        found: list[bytes | NoImage] = []
        for name in names:
            try:
                found.append(decode_base64(name) if image else self._file(name))
            except NoImage as error:
                found.append(error)
        return found

    def _row(self, cells: list[str]) -> dict[str, str] | None:
        """Return the non-empty cells by column name; None if there are more cells than names.

        Spreadsheets leave out empty cells at the end of a row.
        """
        if len(cells) > len(self.columns) and any(cell.strip() for cell in cells[len(self.columns) :]):
            return None
        return {name: cell for name, cell in zip(self.columns, cells, strict=False) if name and cell.strip()}

    def _file(self, name: str) -> bytes:
        if _ADDRESS.match(name):
            raise NoImage("the cell is an address; images are read from the table and its folder only")
        for home in (self.path.parent / "images" / self.name, self.path.parent):
            for spelt in (name, name.replace("\\", "/")):  # as Windows writes paths
                try:
                    path = (home / spelt).resolve()
                    if path.is_relative_to(home.resolve()) and path.is_file():
                        return path.read_bytes()
                except (OSError, ValueError):  # too long for a file's name, or with a NUL
                    continue
        raise NoImage(f"no file '{name[:100]}' below the table's folder")


def decode_base64(text: str) -> bytes:
    r"""Decode base64 in any of the dialects that tools write.

    Accepted are data URIs, white space and line breaks (also written out as `\n`), the URL-safe alphabet, missing
    padding, and Python's `b'…'`.

    Raises:
        NoImage: it is an address, or no base64.
    """
    text = text.strip().strip("\ufeff")
    if head := _DATA_URI.match(text):
        if not re.search(r";\s*base64\s*,$", head.group(), re.IGNORECASE):
            raise NoImage("the image cell is a data URI without base64")
        text = text[head.end() :]
        text = unquote(text) if "%" in text else text
    elif _ADDRESS.match(text):
        raise NoImage("the image cell is an address; images are read from the table and its folder only")
    if len(text) > 3 and text[0] == "b" and text[1] in "'\"" and text[-1] == text[1]:
        text = text[2:-1]
    text = "".join(text.replace("\\n", "").replace("\\r", "").split()).rstrip("=").translate(_URL_SAFE)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise NoImage("the image cell is no base64") from None
    if not data:
        raise NoImage("the image cell is empty")
    return data


def _header(path: Path, cells: list[str]) -> tuple[str, ...]:
    """Normalise column names: lower case, `_` for blanks, option letters in upper case.

    Raises:
        UserError: a required column is missing, or a name occurs twice.
    """
    names = [re.sub(r"\s+", "_", cell.strip()) for cell in cells]
    lower = {"a", "b"} <= set(names) and not {"A", "B"} & set(names)  # a tool wrote all names in lower case
    names = [n.upper() if lower and n in string.ascii_lowercase else n for n in names]
    names = [n if n in string.ascii_uppercase else n.lower() for n in names]
    if missing := {"index", "question"} - set(names):
        raise UserError(f"{path}: no column '{min(missing)}'; this is not a benchmark table in VLMEvalKit's format.")
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise UserError(f"{path}: the column '{twice[0]}' occurs twice; remove or rename one.")
    return tuple(names)


def _rows(path: Path, begin: int) -> Iterator[tuple[int, list[str]]]:
    """Yield rows from a byte offset on, each with the offset at which it begins.

    Raises:
        UserError: the file is missing or is no UTF-8 table.
    """
    csv.field_size_limit(MAX_CELL)
    position = begin

    def lines() -> Iterator[str]:
        nonlocal position
        for line in _lines(path, begin):
            position += len(line)
            if b"\r" in line[:-2]:  # a stray carriage return inside a row is a blank
                line = re.sub(rb"\r(?=.)(?!\n)", b" ", line, flags=re.DOTALL)
            yield line.decode("utf-8-sig" if position == len(line) else "utf-8")

    try:
        reader = csv.reader(lines(), delimiter="\t")
        while True:
            start = position
            try:
                row = next(reader)
            except StopIteration:
                return
            if row:
                yield start, row
    except (FileNotFoundError, IsADirectoryError):
        raise UserError(f"{path} does not exist; name a TSV file in VLMEvalKit's format.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}, near byte {position}: not a UTF-8 table ({error}); save it as UTF-8.") from None


def _lines(path: Path, begin: int) -> Iterator[bytes]:
    r"""Yield lines with their ends, which are `\n` or `\r\n`, or `\r` if the first one is."""
    with path.open("rb") as handle:
        head = handle.read(BLOCK)
        end = re.search(rb"\r*\n|\r", head)
        handle.seek(begin)
        if end is None or end.group() != b"\r":
            yield from handle
            return
        rest = b""
        while block := handle.read(BLOCK):
            *whole, rest = (rest + block).split(b"\r")
            yield from (line + b"\r" for line in whole)
        if rest:
            yield rest


def _lost(refers: Mapping[str, str], bare: set[str], items: Mapping[str, object]) -> dict[str, str]:
    """Return the items whose short cell leads to no image, and why."""
    lost: dict[str, str] = {}
    for index, other in refers.items():
        if other in bare or other in refers:
            lost[index] = f"row '{other}', whose image it shares, has none of its own"
        elif other not in items:
            lost[index] = f"the cell '{other}' is too short for an image and the index of no row"
    return lost


def _given(cell: str) -> str:
    """Return a stripped image cell, '' if it stands for nothing."""
    cell = cell.strip()
    return "" if cell in NOT_AVAILABLE or re.fullmatch(r"\[\s*\]", cell) else cell


def _refers(cell: str) -> bool:
    return len(cell) <= REFERENCE_CHARS and not cell.startswith("[") and not _DATA_URI.match(cell)


def _as_list(cell: str) -> list[str]:
    """Split a cell that is a list, in JSON's or Python's notation.

    Raises:
        NoImage: it begins and ends as a list and is none.
    """
    if not (cell.startswith("[") and cell.endswith("]")):
        return [cell]
    for read in (json.loads, ast.literal_eval):
        try:
            return [part if isinstance(part, str) else str(part) for part in read(cell)]
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    raise NoImage("the image cell is no list of images")


def _count(cell: str) -> int:
    try:
        return len(_as_list(cell))
    except NoImage:
        return 1  # `Table.images` raises for it
