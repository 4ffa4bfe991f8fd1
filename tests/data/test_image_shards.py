"""Photos wait for their clusters in a spool: each image is written to the shards once, in its source's order."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.data import image_shards
from wethink.data.duplicates import signatures
from wethink.data.duplicates.signatures import BYTES, SIGNATURES, load_signatures, save_signatures, signature
from wethink.data.image_shards import Shards, Spool
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.data.ingest import ingest


def picture(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((160, 120), Image.Resampling.BICUBIC)


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Source, ...]:
    """A dataset with scenes, then a folder of photos with a near-duplicate, then scenes again."""
    (tmp_path / "photos").mkdir()
    for number in range(6):
        picture(number).save(tmp_path / "photos" / f"{number}.png")
    picture(3).save(tmp_path / "photos" / "again.jpg", quality=85)
    for name, first in (("before", 10), ("after", 20)):
        for number in range(first, first + 3):
            picture(number).save(tmp_path / f"{number}.png")
        cells = [(tmp_path / f"{number}.png").read_bytes() for number in range(first, first + 3)]
        pq.write_table(pa.table({"image": cells, "scene": ["a", "a", "b"]}), tmp_path / f"{name}.parquet")
    return (
        Source(name="before", kind="dataset", path=str(tmp_path / "before.parquet")),
        Source(name="photos", kind="folder", path=str(tmp_path / "photos"), tuning=0.3, reporting=0.3),
        Source(name="after", kind="dataset", path=str(tmp_path / "after.parquet")),
    )


def shards_of(out: Path, sources: tuple[Source, ...]) -> dict[str, bytes]:
    out.mkdir()
    config = Ingest(sources=sources, max_pixels=10**6, max_file_mb=5, shard_images=4)
    ingest(drawn=out, run=StageRun(config, out=out, scratch=out, seed=0))
    return {path.name: path.read_bytes() for path in out.glob("shard-*.parquet")}


def test_a_photo_is_decoded_once_and_its_signature_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(9):
        picture(number).save(tmp_path / "photos" / f"{number}.png")
    opened: list[int] = []
    as_it_is = Image.open
    monkeypatch.setattr(Image, "open", lambda *given, **options: opened.append(1) or as_it_is(*given, **options))
    shards_of(tmp_path / "out", (Source(name="photos", kind="folder", path=str(tmp_path / "photos")),))
    assert len(opened) == 9, "none is like another, so the search opens none again"
    monkeypatch.undo()
    stored, kept = ImageSet(tmp_path / "out"), load_signatures(tmp_path / "out" / SIGNATURES)
    assert list(kept) == [record.id for record in stored.records]
    assert all((kept[image] == signature(stored.open(image))).all() for image in kept)


def test_signatures_are_written_and_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "GROUP", 4)
    table, names = np.random.default_rng(0).integers(0, 256, (11, BYTES), dtype=np.uint8), [f"p{n}" for n in range(11)]
    save_signatures(tmp_path / SIGNATURES, names, table)
    found = load_signatures(tmp_path / SIGNATURES)
    assert list(found) == names and (np.stack(list(found.values())) == table).all()
    pq.write_table(pa.table({"id": ["a"], "signature": pa.array([b"12"], pa.binary(2))}), tmp_path / "other size")
    assert load_signatures(tmp_path / "other size") == load_signatures(tmp_path / "no file") == {}


def test_each_image_is_written_to_the_shards_once(
    tmp_path: Path, sources: tuple[Source, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    add = Shards.add

    def noted(shards: Shards, record: ImageRecord, data: bytes) -> None:
        written.append(record.id)
        add(shards, record, data)

    monkeypatch.setattr(Shards, "add", noted)
    shards_of(tmp_path / "out", sources)
    records = ImageSet(tmp_path / "out").records
    assert written == [record.id for record in records] and len(written) == len(set(written)) == 13
    assert [record.source for record in records] == ["before"] * 3 + ["photos"] * 7 + ["after"] * 3
    assert len({record.cluster for record in records if record.source == "photos"}) == 6
    assert {record.split for record in records if record.source == "photos"} > {"train"}


def test_a_spool_on_disk_gives_the_same_bytes_and_leaves_no_file(
    tmp_path: Path, sources: tuple[Source, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = shards_of(tmp_path / "memory", sources)
    monkeypatch.setattr(image_shards, "SPOOL_BYTES", 1)
    assert shards_of(tmp_path / "disk", sources) == in_memory and len(in_memory) == 4
    assert {path.name for path in (tmp_path / "disk").iterdir()} == {
        *in_memory,
        "metrics.json",
        "quarantine.jsonl",
        "repaired.jsonl",
        "signatures.parquet",
    }


def test_a_spool_returns_every_image_by_its_id(tmp_path: Path) -> None:
    with Spool(tmp_path) as spool:
        for name, data in (("a", b"first"), ("b", b""), ("c", b"third")):
            spool.add(name, data)
            assert spool.bytes("a") == b"first"
        assert [spool.bytes(name) for name in "cba"] == [b"third", b"", b"first"]
        assert "b" in spool and "d" not in spool
