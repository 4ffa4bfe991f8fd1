"""Parquet with embedded pictures, written a row group at a time: memory holds some rows, never the set."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wethink.common.jsonl import Record
from wethink.data.image_store import ImageRecord, ImageSet

GROUP_BYTES, GROUP_ROWS = 16 * 2**20, 500  # of a row group
SHARD_BYTES = 400 * 2**20
PICTURE = {"bytes": b"", "path": ""}  # Hugging Face's image, as it is stored


def write_table(path: Path, rows: Iterable[Record], features: Any) -> int:
    """Write rows to one Parquet file with the types of `datasets.Features`; return how many."""
    return sum(write_shards(path.parent, path.stem, rows, features, only=True))


def write_shards(folder: Path, name: str, rows: Iterable[Record], features: Any, only: bool = False) -> list[int]:
    """Write `<name>-00000.parquet` and so on (or `<name>.parquet`, if it must be one file); return the rows of each."""
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
    """The file ending of stored bytes, which are PNG, JPEG or WebP (wethink/data/image_decoding.py)."""
    return "png" if data[:4] == b"\x89PNG" else "jpg" if data[:2] == b"\xff\xd8" else "webp"


def picture(images: ImageSet, image: str) -> Record:
    """An image as Hugging Face stores it: bytes, and a file name that says its format."""
    data = images.bytes(image)
    return {"bytes": data, "path": f"{image}.{suffix(data)}"}


def as_text(value: object) -> str:
    """Nested things as JSON text, so that one schema fits whatever a team of annotators writes there."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def splits(rows: Iterable[Record]) -> dict[str, list[Record]]:
    """Rows by their split."""
    found: dict[str, list[Record]] = {}
    for row in rows:
        found.setdefault(row["split"], []).append(row)
    return dict(sorted(found.items()))


def shown(records: Iterable[ImageRecord], rows: Iterable[Record]) -> list[ImageRecord]:
    """The images that rows are about."""
    wanted = {row["image"] for row in rows}
    return [record for record in records if record.id in wanted]
