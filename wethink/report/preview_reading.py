"""Reading of sources for their preview: rows, image headers, and thumbnails of the rows that are shown."""

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from PIL import Image

from wethink.common.jsonl import Record
from wethink.common.progress import track
from wethink.config.data import Source
from wethink.config.params import Params
from wethink.data.given_rows import GivenRows
from wethink.data.image_decoding import Unusable, accept, check_shape
from wethink.data.image_readers import Found, candidates
from wethink.data.image_store import ImageRecord
from wethink.data.schema import SPLITS
from wethink.synthesis.import_rows import Declared, import_rows

SHOWN = 10  # rows of a source
SEVERAL = 2  # rows about several images among them, and rows about none
THUMBNAIL = 160  # pixels of the longer side


@dataclass
class Read:
    """Source, as far as it was read."""

    name: str
    kind: str
    path: str
    columns: dict[str, str] = field(default_factory=dict)  # table → its columns by role
    images_dropped: Counter[str] = field(default_factory=Counter)
    records: list[ImageRecord] = field(default_factory=list)
    names: list[Record] = field(default_factory=list)
    given: GivenRows = field(default_factory=GivenRows)
    thumbnails: dict[str, str] = field(default_factory=dict)
    several: set[tuple[str, int]] = field(default_factory=set)  # rows about several images that are shown
    note: str = ""


def read_source(source: Source, key: str, params: Params) -> Read:
    """Read one source; a drawn one is counted by its configuration."""
    one = Read(source.name, source.kind, source.path or "")
    if source.path is None:
        one.note = "drawn by the `draw` stage; its rows are written by the annotator"
        return one
    reading = candidates(source, Path(), key, params.ingest.max_file_mb)
    one.columns = {table: roles.shown() for table, roles in reading.roles.items()}
    if source.rows and (lack := next((lack for roles in reading.roles.values() if (lack := roles.lack())), "")):
        one.note = lack
    if not reading.roles:
        one.note = "a folder of pictures; rows come from synthesize.rows or from an annotator"
    for found in track(reading.found, f"preview {source.name}", reading.steps):
        _look(found, source, params, one)
    return one


def _look(found: Found, source: Source, params: Params, one: Read) -> None:
    image, fault = None, ""
    if found.read is None:
        one.given.add(replace(found, split=found.split or "train"), source.name, None, fault)
        return
    try:
        data = found.read()
        image = hashlib.sha256(data).hexdigest()
        if (found.split or "train") not in SPLITS:
            raise Unusable(f"unknown split: '{found.split}' is none of {', '.join(SPLITS)}")
        if len(one.several) < SEVERAL:
            one.several |= {(row.table, row.number) for row in found.rows if len(row.given.images) > 1}
        is_shown = any((row.table, row.number) in one.several for row in found.rows)
        if image not in one.thumbnails and (is_shown or len(one.thumbnails) < SHOWN):
            data = accept(data, params.ingest.max_pixels, source.animated == "first").data
            one.thumbnails[image] = _thumbnail(data)
        width, height = _size(data, params.ingest.max_pixels, source.animated == "first")
        record = ImageRecord(image, source.name, found.split or "train", image, width, height, found.origin)
        one.records.append(record)
        names = (*found.names, *found.again)
        one.names += [{"image": image, "source": source.name, "name": name} for name in names]
    except Unusable as reason:
        image, fault = None, str(reason).split(":")[0]
        one.images_dropped[str(reason).split(":")[0]] += 1
    one.given.add(found, source.name, image, fault)


def _size(data: bytes, max_pixels: int, first_frame: bool) -> tuple[int, int]:
    """Read an image's header; one that cannot be read is decoded as `ingest` does, which may repair it.

    Raises:
        Unusable: `ingest` would refuse it.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            check_shape(opened, first_frame)
            return opened.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        found = accept(data, max_pixels, first_frame)
        return found.width, found.height


def _thumbnail(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as opened:
        small = opened.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def read_file(params: Params, read: Sequence[Read], own: Declared) -> list[Record]:
    records = [record for one in read for record in one.records]
    names = [name for one in read for name in one.names]
    return import_rows(Path(str(params.synthesize.rows)), records, names, params.synthesize.columns, own)
