"""Writer of content-addressed Parquet image shards."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wethink.data.image_store import SCHEMA, ImageRecord

GROUP_BYTES, GROUP_IMAGES = 4 * 2**20, 1000  # largest row group, the unit of one read


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
