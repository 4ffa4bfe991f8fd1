"""`make scale`: seconds, memory and bytes read of the data stages at 1,000, 10,000 and 100,000 images.

    python -m benchmarks.speed.scale [--images 1000,10000,100000] [--steps ingest,duplicates,landing,validate,export]

Writes reports/scale.json. Images are generated: 8 × 8 random colours, smooth at 64 × 64 pixels; every twentieth is an
earlier one as a JPEG file. Each image has one question. Each step is a process of its own:

* ingest: the stage over a folder of files, without the search for near-duplicates.
* duplicates: signatures, search and comparison of the stored images.
* landing: a source of 500 new images beside them, as `retrain` does it: `new_images`, and what `union` adds.
* validate: the stage over the rows.
* export: the Hugging Face dataset, with embedded images.

`read_mb` is what the process read through system calls, from the disk or from the system's cache of it.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wethink.common.jsonl import Record, read_json, write_json, write_jsonl
from wethink.common.paths import ROOT
from wethink.common.progress import track
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.config.params import load_params
from wethink.curation.validate import validate
from wethink.data.duplicates.signatures import SIGNATURES, save_signatures, signature
from wethink.data.image_shards import Spool
from wethink.data.image_store import ImageSet
from wethink.data.ingest import ingest
from wethink.data.photo_clusters import Photo, clusters
from wethink.export.dataset import export_dataset
from wethink.retraining.union import merge_datasets

OUT = Path("reports/scale.json")
COPY, NEW = 20, 500  # every twentieth image is a copy; images of the source that lands
SPLIT = "reporting"


def draw(folder: Path, first: int, images: int) -> None:
    """Write generated images, 1,000 to a folder."""
    for number in track(range(first, first + images), "images", images):
        home = folder / f"{number // 1000:05}"
        home.mkdir(parents=True, exist_ok=True)
        copy = number % COPY == COPY - 1
        cells = np.random.default_rng(number - 7 if copy else number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = Image.fromarray(cells).resize((64, 64), Image.Resampling.BICUBIC)
        if copy:
            image.save(home / f"{number:08}.jpg", quality=85)
        else:
            image.save(home / f"{number:08}.png", compress_level=1)


def stored(folder: Path, out: Path, near_duplicates: bool, scratch: Path) -> Record:
    """Ingest a folder of images."""
    source = Source(name="stubs", kind="folder", path=str(folder), reporting=0.0)
    config = Ingest(
        sources=(source,), max_pixels=10**6, max_file_mb=5, shard_images=5000, near_duplicates=near_duplicates
    )
    out.mkdir(exist_ok=True)
    return ingest(drawn=folder, run=StageRun(config, out=out, scratch=scratch, seed=0))


def rows(home: Path) -> None:
    """Write a row for each stored image, as `synthesize` does."""
    (home / "rows").mkdir(exist_ok=True)
    records = ImageSet(home / "images").records
    made = (
        {
            "id": f"{number:08}",
            "image": record.id,
            "source": record.source,
            "split": record.split,
            "scene": record.cluster,
            "kind": "count",
            "problem": f"How many things are in picture {number}?",
            "answer": str(number % 50),
            "category": "FIB",
            "abilities": ["counting"],
            "refined_cot": "",
            "image_path": record.origin,
            "reward": "rule",
            "provenance": {"annotator": "rows"},
            "decisions": {},
        }
        for number, record in enumerate(records)
    )
    write_jsonl(home / "rows/rows.jsonl", made)
    write_jsonl(home / "rows/descriptions.jsonl", [])
    write_json(home / "rows/metrics.json", {"candidates": len(records), "rejected": {}, "kept": len(records)})


def step_ingest(home: Path) -> Record:
    metrics = stored(home / "files", home / "images", False, home)
    return {"stored": metrics["images"]}


def step_duplicates(home: Path) -> Record:
    images = ImageSet(home / "images")
    table = bytearray()
    with Spool(home) as spool:
        for record in track(images.records, "signatures", len(images)):
            spool.add(record.id, images.bytes(record.id))
            table += signature(spool.open(record.id)).tobytes()
        signatures = np.frombuffer(table, np.uint8).reshape(len(images), -1)
        of = clusters([Photo(record, given=False) for record in images.records], signatures, spool.open)
    save_signatures(home / "images" / SIGNATURES, list(of), signatures)
    return {"clusters": len(set(of.values()))}


def step_landing(home: Path) -> Record:
    """Add a source to the collection; its signatures are kept beside it."""
    params = load_params(ROOT / "params.yaml")
    for name in ("items", "union", "new"):
        (home / name).mkdir(exist_ok=True)
    write_jsonl(home / "items" / f"{SPLIT}.jsonl", [])
    write_json(home / "sources.json", {"stubs": "main job"})
    stored(home / "landing", home / "new/images", True, home)
    rows(home / "new")
    write_jsonl(home / "new/rows/items.jsonl", [])
    write_json(home / "new/rows/source.json", {"name": "new", "content": "0"})
    metrics = merge_datasets(
        old=home,
        images=home / "new/images",
        rows=home / "new/rows",
        ingest=params.ingest,
        evaluate=params.evaluate.model_copy(update={"split": SPLIT}),
        run=StageRun(params.retrain.model_copy(update={"source": "new"}), out=home / "union", scratch=home, seed=0),
    )
    return {"new": metrics["images"], "known": metrics["known_images"]}


def step_validate(home: Path) -> Record:
    (home / "valid").mkdir(exist_ok=True)
    config = load_params(ROOT / "params.yaml").validate_
    run = StageRun(config, out=home / "valid", scratch=home, seed=0)
    return {"kept": validate(images=home / "images", rows=home / "rows", run=run)["kept"]}


def step_export(home: Path) -> Record:
    exported = export_dataset(home / "images", home / "rows", home / "valid", home / "exported", "scale", {})
    return {"rows": exported["rows"]}


STEPS: dict[str, Callable[[Path], Record]] = {
    "ingest": step_ingest,
    "duplicates": step_duplicates,
    "landing": step_landing,
    "validate": step_validate,
    "export": step_export,
}


def measure(step: str, home: Path) -> Record:
    """Run one step; the process must be a fresh one."""
    before, began = _read_mb(), (time.perf_counter(), time.process_time())
    result = STEPS[step](home)
    return {
        "wall": round(time.perf_counter() - began[0], 1),
        "cpu": round(time.process_time() - began[1], 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "read_mb": round(_read_mb() - before, 1),
        "result": result,
    }


def _read_mb() -> float:
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    return int(fields["rchar"]) / 2**20


def in_fresh_process(step: str, home: Path) -> Record:
    command = [sys.executable, "-m", __spec__.name, "--step", step, "--home", str(home)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(said.splitlines()[-1]))


def series(images: int, steps: list[str]) -> list[Record]:
    """Measure the steps on one collection, in a folder that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        home, measured = Path(folder), list[Record]()
        draw(home / "files", 0, images)
        draw(home / "landing", 10**7, NEW)
        for step in steps:
            measured.append({"step": step, "images": images, **in_fresh_process(step, home)})
            print(json.dumps(measured[-1]), flush=True)
            if step == "ingest":
                rows(home)
        return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="1000,10000,100000")
    parser.add_argument("--steps", default=",".join(STEPS), help="ingest first; export after validate")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        print(json.dumps(measure(given.step, given.home)))
        return
    steps = given.steps.split(",")
    if steps[0] != "ingest" or not set(steps) <= set(STEPS):
        parser.error(f"--steps: ingest first, then any of {', '.join(STEPS)}.")
    measured: list[Any] = read_json(OUT)["rows"] if OUT.is_file() else []
    for images in map(int, given.images.split(",")):
        new = series(images, steps)
        done = {(row["step"], row["images"]) for row in new}
        measured = [row for row in measured if (row["step"], row["images"]) not in done] + new
        write_json(OUT, {"rows": sorted(measured, key=lambda row: (list(STEPS).index(row["step"]), row["images"]))})
    print("| step | images | wall s | processor s | peak MB | MB read |\n|---|---|---|---|---|---|")
    for row in read_json(OUT)["rows"]:
        shown = [row["step"], f"{row['images']:,}", *(row[key] for key in ("wall", "cpu", "peak_mb", "read_mb"))]
        print("| " + " | ".join(map(str, shown)) + " |")


if __name__ == "__main__":
    main()
