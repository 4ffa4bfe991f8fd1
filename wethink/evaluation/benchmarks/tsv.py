"""Benchmark tables in VLMEvalKit's TSV format, with images read on demand.

`index` and `question` are required. `image` holds a base64 file, a Python list of them, or (64 characters at most) the
index of the row whose image it shares; `image_path` names files instead. Option columns are single capital letters. One
pass stores where each row begins, so memory does not grow with the images.
"""

import ast
import base64
import binascii
import csv
import hashlib
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from wethink.common.errors import UserError

REFERENCE_CHARS = 64  # a shorter `image` cell is another row's index
MAX_CELL = 2**30  # characters; csv's own limit is 128 KiB, an image is larger
NOT_AVAILABLE = frozenset(  # cells that pandas' read_csv, and so VLMEvalKit, takes for empty
    [
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    ]
)


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

    VLMEvalKit leaves them out as well.
    """

    def __init__(self, path: Path) -> None:
        """Read the text of all rows.

        Raises:
            UserError: the file is missing, is no such table, or repeats an index.
        """
        self.path, self.name = path, path.stem
        self.skipped = 0
        bare: set[str] = set()  # rows without any image
        self._begins: dict[str, int] = {}
        self._header: list[str] = []
        refers: dict[str, str] = {}
        shown: dict[str, tuple[str, int]] = {}  # hash of the cell, number of images in it
        items: dict[str, dict[str, str]] = {}
        for begin, cells in _rows(path, 0):
            if not self._header:
                self._header = [name if name in string.ascii_uppercase else name.lower() for name in cells]
                if missing := {"index", "question"} - set(self._header):
                    raise UserError(f"{path}: no column '{min(missing)}'; this is not a benchmark table.")
                continue
            if len(cells) != len(self._header):
                raise UserError(
                    f"{path}, row {len(items) + 1}: {len(cells)} cells under {len(self._header)} column names."
                )
            row = {name: cell for name, cell in zip(self._header, cells, strict=True) if cell.strip()}
            index, image = row.get("index", "").strip(), row.pop("image", "").strip()
            if not index or index in items:
                raise UserError(f"{path}, row {len(items) + 1}: index '{index}' is empty or occurs twice.")
            if not image and "image_path" not in row:
                self.skipped += 1
                bare.add(index)
                continue
            if image and len(image) <= REFERENCE_CHARS and not image.startswith("["):
                refers[index] = image
            self._begins[index] = begin
            cell = image or row["image_path"]
            shown[index] = (hashlib.sha256(cell.encode()).hexdigest(), _count(cell))
            items[index] = row
        self._lost: dict[str, str] = {}  # items whose short cell leads to no image, and why
        for index, other in refers.items():
            if other in bare or other in refers:
                self._lost[index] = f"row '{other}', whose image it shares, has none of its own"
            elif other not in items:
                self._lost[index] = f"the cell '{other}' is too short for an image and the index of no row"
        self._refers = {index: other for index, other in refers.items() if index not in self._lost}
        self.items: dict[str, Item] = {
            index: Item(index, row, *shown[self._refers.get(index, index)]) for index, row in items.items()
        }
        if not self.items:
            raise UserError(f"{path} holds no item with an image.")

    def __len__(self) -> int:
        return len(self.items)

    def images(self, index: str) -> list[bytes]:
        """Read the image files of an item, in order.

        Raises:
            NoImage: the cell is no base64, or names no row that has an image, or a named file is missing or lies
                outside the table's folder.
        """
        if index in self._lost:
            raise NoImage(self._lost[index])
        index = self._refers.get(index, index)
        _, cells = next(iter(_rows(self.path, self._begins[index])))
        row = dict(zip(self._header, cells, strict=True))
        if cell := row.get("image", "").strip():
            return [_decode(text) for text in _as_list(cell)]
        return [self._file(name) for name in _as_list(row["image_path"])]

    def _file(self, name: str) -> bytes:
        for home in (self.path.parent / "images" / self.name, self.path.parent):
            path = (home / name).resolve()
            if path.is_relative_to(home.resolve()) and path.is_file():
                return path.read_bytes()
        raise NoImage(f"no file '{name}' below the table's folder")


def _rows(path: Path, begin: int) -> Iterator[tuple[int, list[str]]]:
    """Yield rows from a byte offset on, each with the offset at which it begins.

    Raises:
        UserError: the file is missing or is no UTF-8 table.
    """
    csv.field_size_limit(MAX_CELL)
    position = begin

    def lines() -> Iterator[str]:
        nonlocal position
        for line in handle:
            position += len(line)
            yield line.decode("utf-8-sig" if position == len(line) else "utf-8")

    try:
        with path.open("rb") as handle:
            handle.seek(begin)
            reader = csv.reader(lines(), delimiter="\t")
            while True:
                start = position
                try:
                    row = next(reader)
                except StopIteration:
                    return
                if row:
                    yield start, row
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; name a TSV file in VLMEvalKit's format.") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}, near byte {position}: not a UTF-8 table ({error}).") from None


def _as_list(cell: str) -> list[str]:
    if cell.startswith("[") and cell.endswith("]"):
        try:
            return [str(part) for part in ast.literal_eval(cell)]
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            raise NoImage("the image cell is no list of images") from None
    return [cell]


def _count(cell: str) -> int:
    try:
        return len(_as_list(cell))
    except NoImage:
        return 1  # `Table.images` raises for it


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NoImage("the image cell is no base64") from None
