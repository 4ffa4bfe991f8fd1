"""Writer of content-addressed Parquet image shards, and spool of images whose records are not final."""

import io
import threading
from dataclasses import asdict
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from wethink.data.image_store import SCHEMA, ImageRecord

GROUP_BYTES, GROUP_IMAGES = 4 * 2**20, 1000  # largest row group, the unit of one read
SPOOL_BYTES = 256 * 2**20  # of spooled images in memory; more go to a file


class Shards:
    """Writer of `shard-00000.parquet` and so on; it holds one row group in memory."""

    def __init__(self, out: Path, images: int) -> None:
        self._out, self._images = out, images
        self._rows: list[dict[str, Any]] = []
        self._bytes = self._in_shard = self._number = 0
        self._writer: pq.ParquetWriter | None = None

    def add(self, record: ImageRecord, data: bytes) -> None:
        """Append one image."""
        self._rows.append(asdict(record) | {"bytes": data})
        self._bytes += len(data)
        self._in_shard += 1
        if self._in_shard == self._images:
            self.close()
        elif self._bytes >= GROUP_BYTES or len(self._rows) == GROUP_IMAGES:
            self._flush()

    def close(self) -> None:
        """Finish the shard; the next image starts a new one."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._number += 1
        self._in_shard = 0

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            path = self._out / f"shard-{self._number:05d}.parquet"
            self._writer = pq.ParquetWriter(
                path, SCHEMA, compression="none", use_dictionary=["source", "split"], write_statistics=False
            )
        self._writer.write_table(pa.Table.from_pylist(self._rows, SCHEMA))
        self._rows, self._bytes = [], 0


class Spool:
    """Images that wait for their final records, in memory up to `SPOOL_BYTES`, then in an unnamed file; thread-safe."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = SpooledTemporaryFile(SPOOL_BYTES, dir=str(folder))  # noqa: SIM115 (closed by __exit__)
        self._places: dict[str, tuple[int, int]] = {}  # image → offset, length
        self._lock = threading.Lock()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def __contains__(self, image: object) -> bool:
        return image in self._places

    def add(self, image: str, data: bytes) -> None:
        """Append one image."""
        with self._lock:
            self._places[image] = (self._file.seek(0, io.SEEK_END), len(data))
            self._file.write(data)

    def bytes(self, image: str) -> bytes:
        """Return the image's file (PNG, JPEG or WebP)."""
        offset, length = self._places[image]
        with self._lock:
            self._file.seek(offset)
            return self._file.read(length)

    def open(self, image: str) -> Image.Image:
        """Return the image as RGB."""
        return Image.open(io.BytesIO(self.bytes(image))).convert("RGB")
