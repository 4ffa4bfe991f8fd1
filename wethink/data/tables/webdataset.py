"""WebDataset tars: files of one key, such as 0001.jpg and 0001.json, are one row."""

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from wethink.common.errors import UserError
from wethink.common.jsonl import NotJson, Record, parse_json
from wethink.data.tables.files import NO_UTF8, Broken, Table

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "avif", "heic", "heif")
KEY = "__key__"


def webdataset(file: Path, name: str) -> Table:
    """Read a tar: pictures are in the column `image`, JSON members give their keys, others their extension."""
    columns: dict[str, None] = {}
    rows = 0
    for _, row in _samples(file, with_bytes=False):
        rows += 1
        columns |= dict.fromkeys(row if isinstance(row, dict) else ())

    def read(wanted: Sequence[str]) -> Iterator[tuple[int, Record | Broken]]:
        yield from _samples(file, with_bytes=True)

    return Table(name, file.parent, tuple(columns), rows, read, ("image",) if "image" in columns else ())


def _samples(file: Path, with_bytes: bool) -> Iterator[tuple[int, Record | Broken]]:
    """Yield the rows in the tar's order; files of one key stand next to each other."""
    number, key, members = 0, "", dict[str, bytes]()
    try:
        with tarfile.open(file, "r:*") as tar:
            for member in tar:
                folder, _, base = member.name.rpartition("/")
                stem, dot, ending = base.partition(".")
                if not member.isfile() or not dot or not stem:  # folders, links, hidden files
                    continue
                here = f"{folder}/{stem}" if folder else stem
                if members and here != key:
                    yield number, _row(key, members)
                    number, members = number + 1, {}
                key = here
                skipped = not with_bytes and ending.casefold() in IMAGES
                handle = None if skipped else tar.extractfile(member)
                members[ending.casefold()] = handle.read() if handle else b""
            if members:
                yield number, _row(key, members)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(f"{file} cannot be read as a tar ({error}); write it again.") from None


def _row(key: str, members: dict[str, bytes]) -> Record | Broken:
    pictures = [data for ending, data in members.items() if ending.rpartition(".")[2] in IMAGES]
    row: Record = {KEY: key}
    if pictures:
        row["image"] = pictures[0] if len(pictures) == 1 else pictures
    for ending, data in members.items():
        if ending.rpartition(".")[2] in IMAGES:
            continue
        try:
            text = data.decode("utf-8-sig")
            if ending.rpartition(".")[2] == "json":
                found = parse_json(text)
                found = found if isinstance(found, dict) else {ending: json.dumps(found)}
                row |= {name: value for name, value in found.items() if name != "image" or not pictures}
            else:
                row[ending] = text.strip()
        except UnicodeDecodeError:
            return Broken("unreadable", NO_UTF8)
        except NotJson as error:
            return Broken("not JSON", f"{key}.{ending}: {error}")
    return row
