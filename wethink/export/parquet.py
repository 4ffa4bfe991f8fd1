"""Parquet files with embedded images, written row group by row group.

Memory holds one row group, never the whole set.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wethink.common.jsonl import Record
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.data.schema import Row, row_images

GROUP_BYTES, GROUP_ROWS = 16 * 2**20, 500  # of a row group
SHARD_BYTES = 400 * 2**20
PICTURE = {"bytes": b"", "path": ""}  # the stored form of Hugging Face's `Image`


def write_table(path: Path, rows: Iterable[Record], features: Any) -> int:
    """Write rows to one Parquet file typed by `datasets.Features`; return how many."""
    return sum(write_shards(path.parent, path.stem, rows, features, only=True))


def write_shards(folder: Path, name: str, rows: Iterable[Record], features: Any, only: bool = False) -> list[int]:
    """Write rows to Parquet shards; return the number of rows in each.

    The files are `<name>-00000.parquet` and so on or, if there must be only one, `<name>.parquet`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    schema: pa.Schema = features.arrow_schema  # carries the types, so that load_dataset decodes pictures
    counts: list[int] = []
    writer: pq.ParquetWriter | None = None
    group: list[Record] = []
    in_group = in_shard = 0

    def flush() -> None:
        nonlocal writer, group, in_group, in_shard
        if writer is None:
            file = f"{name}.parquet" if only else f"{name}-{len(counts):05d}.parquet"
            writer = pq.ParquetWriter(folder / file, schema, compression="snappy", write_statistics=False)
            counts.append(0)
        writer.write_table(pa.Table.from_pylist(group, schema))
        counts[-1] += len(group)
        in_shard += in_group
        group, in_group = [], 0
        if in_shard >= SHARD_BYTES and not only:
            writer.close()
            writer, in_shard = None, 0

    for row in rows:
        group.append(row)
        in_group += _size(row)
        if in_group >= GROUP_BYTES or len(group) >= GROUP_ROWS:
            flush()
    if group or not counts:
        flush()
    if writer is not None:
        writer.close()
    return counts


def _size(row: Record) -> int:
    pictures = row.get("images") or [row.get("image")]
    return sum(len(picture["bytes"]) for picture in pictures if isinstance(picture, dict))


def suffix(data: bytes) -> str:
    """Return the extension of stored image bytes: PNG, JPEG or WebP.

    No other format is stored (wethink/data/image_decoding.py).
    """
    return "png" if data[:4] == b"\x89PNG" else "jpg" if data[:2] == b"\xff\xd8" else "webp"


def picture(images: ImageSet, image: str) -> Record:
    """Return an image in Hugging Face's stored form: bytes and a file name."""
    data = images.bytes(image)
    return {"bytes": data, "path": f"{image}.{suffix(data)}"}


def as_text(value: object) -> str:
    """Encode a nested value as JSON text.

    So one schema fits the values of every annotator team.
    """
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def splits(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Group rows by split."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["split"], []).append(row)
    return dict(sorted(found.items()))


def shown(records: Iterable[ImageRecord], rows: Iterable[Row]) -> list[ImageRecord]:
    """Return the records of the images that rows refer to."""
    wanted = {image for row in rows for image in row_images(row)}
    return [record for record in records if record.id in wanted]
