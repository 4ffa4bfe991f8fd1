"""Reader of `data/images` shards: records in memory, image bytes on demand."""

import io
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One stored image without its bytes.

    `cluster` is the unit of splits and of confidence intervals: near-duplicates, and the images of one row.
    """

    id: str  # sha256 of the stored bytes
    source: str
    split: str
    cluster: str
    width: int
    height: int
    origin: str  # its place in the source


SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "bytes": pa.binary(),
        "source": pa.string(),
        "split": pa.string(),
        "cluster": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "origin": pa.string(),
    }
)
GIVEN_ROWS = "given_rows.jsonl"  # rows that sources bring, each with its image's id
NAMES = "names.jsonl"  # further names of images, beside their origins
PICTURES = "pictures.jsonl"  # near-duplicate clusters of images whose `cluster` also holds other pictures
_FIELDS = [field.name for field in fields(ImageRecord)]
_CACHE_BYTES = 256 * 2**20  # holds a small collection whole; bounds memory for a large one
_Group = tuple[Path, int]  # shard, number of the row group in it


def _compact(row: dict[str, Any]) -> ImageRecord:
    """Build a record with shared (interned) strings, to save memory."""
    row["source"], row["split"] = sys.intern(row["source"]), sys.intern(row["split"])
    row["cluster"] = row["id"] if row["cluster"] == row["id"] else row["cluster"]
    return ImageRecord(**row)


class ImageSet:
    """The images of a `data/images` folder, in stored order; thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Read every record, without image bytes.

        Raises:
            UserError: the folder holds no shard, or a shard cannot be read.
        """
        self.folder = folder
        self._groups: dict[str, _Group] = {}
        self._cache: OrderedDict[_Group, dict[str, bytes]] = OrderedDict()
        self._cached = 0
        self._lock = threading.Lock()
        records: list[ImageRecord] = []
        shards = sorted(folder.glob("shard-*.parquet"))
        if not shards:
            raise UserError(f"{folder} holds no images (shard-*.parquet); run `python -m wethink ingest` first.")
        for shard in shards:
            try:
                with pq.ParquetFile(shard) as file:
                    for number in range(file.num_row_groups):
                        rows = file.read_row_group(number, columns=_FIELDS, use_threads=False).to_pylist()
                        found = [_compact(row) for row in rows]
                        self._groups |= dict.fromkeys([record.id for record in found], (shard, number))
                        records += found
            except (OSError, pa.ArrowException, TypeError) as error:
                raise UserError(f"{shard} cannot be read ({error}); run `python -m wethink ingest` again.") from None
        self.records: tuple[ImageRecord, ...] = tuple(records)

    def __len__(self) -> int:
        return len(self.records)

    def __contains__(self, image: object) -> bool:
        return image in self._groups

    def pictures(self) -> dict[str, str]:
        """Map each image to its near-duplicates' common name; unlike `cluster`, it joins no images of one row."""
        path = self.folder / PICTURES
        joined = {line["image"]: str(line["picture"]) for line in read_jsonl(path)} if path.is_file() else {}
        return {record.id: joined.get(record.id, record.cluster) for record in self.records}

    def bytes(self, image: str) -> bytes:
        """Return the stored file (PNG, JPEG or WebP).

        Raises:
            UserError: the folder has no image of that id.
        """
        if image not in self._groups:
            raise UserError(f"{self.folder} has no image '{image}'; run the stages after `ingest` again.")
        group = self._groups[image]
        with self._lock:
            if group not in self._cache:
                self._load(group)
            self._cache.move_to_end(group)
            return self._cache[group][image]

    def open(self, image: str) -> Image.Image:
        """Return the image as RGB.

        Raises:
            UserError: as `bytes`.
        """
        return Image.open(io.BytesIO(self.bytes(image))).convert("RGB")

    def _load(self, group: _Group) -> None:
        shard, number = group
        with pq.ParquetFile(shard) as file:
            rows = file.read_row_group(number, columns=["id", "bytes"], use_threads=False)
        loaded = dict(zip(rows["id"].to_pylist(), rows["bytes"].to_pylist(), strict=True))
        self._cache[group] = loaded
        self._cached += sum(map(len, loaded.values()))
        while self._cached > _CACHE_BYTES and len(self._cache) > 1:
            _, dropped = self._cache.popitem(last=False)
            self._cached -= sum(map(len, dropped.values()))
