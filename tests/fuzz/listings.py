"""Sources' listings under test: folders and datasets of any names, links and cells; every candidate has an outcome."""

import os
import shutil
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from tests.data.test_ingest import encoded, photo
from tests.fuzz.readers import Lost, expect, one_sentence
from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.data.ingest import ingest

PARTS = (
    "a",
    "é",
    "e\u0301",
    "한",
    ".hidden",
    "sp ace",
    "new\nline",
    "\t",
    "b\\c",
    "-x",
    "~",
    "%41",
    "x" * 200,
    "\udcff",
)
TARGETS = ("nowhere", "../..", ".", "/etc/hostname", "../blobs/" + "a" * 40)
NAMES = ("a.png", "é.png", "e\u0301.png", "../x", "/etc/hostname", "b\\c", "a\0b", ".", "", "x" * 300)
CONTENT = [encoded(photo()), encoded(photo(1), "JPEG"), b"", b"words", encoded(photo(2))[:-12], b"/annex/objects/x"]


def _path(folder: Path, rng: Random) -> Path:
    parts = [rng.choice(PARTS) + rng.choice(("", ".png")) for _ in range(rng.choice((1, 1, 2, 3)))]
    return folder.joinpath(*parts)


def _plant(root: Path, rng: Random) -> None:
    """Put some files, links, pipes and empty folders below the root."""
    for _ in range(rng.randrange(1, 8)):
        path = _path(root, rng)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path):  # a pipe would wait for a reader
                continue
            match rng.randrange(8):
                case 0:
                    path.symlink_to(rng.choice((*TARGETS, path.name)))
                case 1:
                    os.mkfifo(path)
                case 2:
                    path.mkdir()
                case _:
                    path.write_bytes(rng.choice(CONTENT))
        except OSError:  # the name is taken
            continue


def _entries(root: Path) -> int:
    """Count what is no folder, by another walk than the product's."""
    total = 0
    for entry in os.scandir(root):
        total += _entries(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else 1
    return total


def _dataset(root: Path, rng: Random) -> None:
    """Write Parquet files whose cells are bytes, paths or both."""
    for number in range(rng.randrange(1, 3)):
        kind = rng.choice(("bytes", "text", "both"))
        cells: list[object] = []
        for _ in range(rng.randrange(0, 6)):
            name = rng.choice(NAMES)
            data = rng.choice(CONTENT)
            whole = {"bytes": rng.choice((data, None)), "path": rng.choice((name, None))}
            cells.append(rng.choice((None, {"bytes": data, "text": name, "both": whole}[kind])))
        types = {
            "bytes": pa.binary(), "text": pa.string(), "both": pa.struct({"bytes": pa.binary(), "path": pa.string()})
        }  # fmt: skip
        columns = {"image": pa.array(cells, types[kind])}
        if rng.random() < 0.3:
            columns["split"] = pa.array([rng.choice(("train", "tuning", "test", None, "")) for _ in cells], pa.string())
        if rng.random() < 0.3:
            columns["scene"] = pa.array([rng.choice(("s", None)) for _ in cells], pa.string())
        path = root / f"{number}.parquet"
        pq.write_table(pa.table(columns), path)
        if rng.random() < 0.1:
            data = bytearray(path.read_bytes())
            data[rng.randrange(len(data))] ^= 255
            path.write_bytes(data)


def listing(seed: int, folder: Path) -> None:
    """Make a source from a seed, ingest it beside a good one, and account for every candidate."""
    rng = Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    root, good, out = folder / "source", folder / "good", folder / "out"
    for made in (root, good, out):
        made.mkdir(parents=True)
    (good / "good.png").write_bytes(encoded(photo(7)))
    dataset = rng.random() < 0.5
    _plant(root, rng)
    if dataset:
        _dataset(root, rng)
    sources = (
        Source(name="good", kind="folder", path=str(good)),
        Source(
            name="fuzz", kind="dataset" if dataset else "folder", path=str(root),
            animated=rng.choice(("reject", "first")),
        ),
    )  # fmt: skip
    config = Ingest(sources=sources, max_pixels=2000, max_file_mb=1, shard_images=3)
    try:
        metrics = ingest(drawn=folder, run=StageRun(config, out=out, scratch=folder / "scratch", seed=0))
    except UserError as error:
        return one_sentence(error)
    tally = metrics["sources"]["fuzz"]
    count = tally["found"]
    expect(count == tally["stored"] + tally["duplicates"] + tally["quarantined"], f"{tally} does not add up")
    there = sum(pq.read_metadata(path).num_rows for path in root.rglob("*.parquet")) if dataset else _entries(root)
    expect(count == there, f"{count} of {there} candidates")
    listed = [entry for entry in read_jsonl(out / "quarantine.jsonl") if entry["source"] == "fuzz"]
    if len(listed) != tally["quarantined"]:
        raise Lost(f"{len(listed)} of {tally['quarantined']} rejections are listed")
    return None
