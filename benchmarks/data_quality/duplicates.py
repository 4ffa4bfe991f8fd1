"""`make duplicates`: recall, false merges and seconds of the near-duplicate search.

    python -m benchmarks.data_quality.duplicates [--half tuning] [--pairs 500] [--images 1000,10000,100000] [FOLDER …]

Writes reports/duplicates.json.

* kinds: labelled pairs of four kinds (duplicate_pairs.py; further photos from the given folders). Recall is the share
  of same pairs that the search finds among all pictures of the half and pixels confirm; a false merge is a different
  pair that pixels alone would confirm. Thresholds were chosen on the tuning half; figures are of the reporting half.
* seconds: signatures, search and comparison of synthetic pictures from the image store, each number in a process of
  its own: a quarter each of photos' parts (two blended), bar charts, drawings and pages; every tenth is a disguised
  copy of an earlier one.
* easy_vqa: ingestion of the 5,000 images of PyPI's easy-vqa (64 × 64 drawings; downloaded once, into .cache/).
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from multiprocessing import Pool
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.data_quality.duplicate_pairs import (
    COLOURS,
    HALVES,
    KINDS,
    SHAPES,
    WORDS,
    disguised,
    drawing,
    pairs,
    photos,
)
from wethink.common.errors import UserError
from wethink.common.jsonl import Record, write_json
from wethink.common.processes import THREADS
from wethink.common.progress import track
from wethink.common.stage_run import StageRun
from wethink.common.statistics import wilson
from wethink.config.data import Ingest, Source
from wethink.data.duplicates.comparison import confirmed
from wethink.data.duplicates.neighbours import candidate_pairs
from wethink.data.duplicates.signatures import BYTES, signature, stacked
from wethink.data.image_shards import Shards, Spool
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.data.ingest import ingest
from wethink.data.photo_clusters import Photo, clusters

OUT, CACHE = Path("reports/duplicates.json"), Path(".cache/easy-vqa")
COPY = 10  # every tenth synthetic picture is a copy of the one 7 before


def estimate(hits: Sequence[bool]) -> Record:
    share = sum(hits) / len(hits)
    low, high = wilson(share, len(hits))
    return {"value": round(share, 5), "low": round(low, 5), "high": round(high, 5), "n": len(hits)}


def kinds(half: str, each: int, folders: Sequence[Path]) -> list[Record]:
    labelled = list(track(pairs(half, each, folders), f"{half} pairs", each * len(KINDS)))
    pictures = [picture for pair in labelled for picture in (pair.one, pair.other)]
    signatures = stacked([signature(picture) for picture in pictures])
    candidates = set(map(tuple, candidate_pairs(signatures, "neighbours").tolist()))
    side = (signatures, pictures.__getitem__)
    ours = np.arange(2 * len(labelled)).reshape(-1, 2)  # the labelled pairs
    alike = confirmed(ours, side, side, "pairs").tolist()
    found, missed = [], list[Record]()
    for kind in KINDS:
        recall, merged = [], []
        for place, pair in enumerate(labelled):
            if pair.kind != kind:
                continue
            if pair.same:
                recall.append(alike[place] and (2 * place, 2 * place + 1) in candidates)
            else:
                merged.append(alike[place])
            if pair.same != (recall if pair.same else merged)[-1]:
                missed.append({"kind": kind, "same": pair.same, "what": pair.what})
        shares = {"recall": estimate(recall), "false_merges": estimate(merged)}
        found.append({"kind": kind, **shares, "n": len(recall) + len(merged)})
    print(json.dumps(missed))
    return found


# --- many pictures -----------------------------------------------------------------------------


@lru_cache(1)
def _photos() -> list[Image.Image]:
    return [image for _, image in photos()]


@lru_cache(1)
def _lines() -> list[Image.Image]:
    import matplotlib

    fonts, rng, lines = Path(matplotlib.get_data_path(), "fonts", "ttf"), Random("lines"), []
    for _ in range(3000):
        font = ImageFont.truetype(fonts / f"DejaVu{rng.choice(('Sans', 'Serif', 'SansMono'))}.ttf", 12)
        lines.append(Image.new("RGB", (300, 18), "white"))
        ImageDraw.Draw(lines[-1]).text((2, 2), " ".join(rng.choices(WORDS, k=rng.randint(5, 10))), "black", font)
    return lines


def _part(rng: Random) -> Image.Image:
    image = rng.choice(_photos())
    width, height = rng.randint(image.width // 4, image.width), rng.randint(image.height // 4, image.height)
    x, y = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    part = image.resize((160, 120), Image.Resampling.BILINEAR, box=(x, y, x + width, y + height), reducing_gap=2.0)
    return part.transpose(rng.choice(list(Image.Transpose)[:4:3])) if rng.random() < 0.5 else part


def synthetic(number: int) -> Image.Image:
    """Return a picture; its number decides the kind and all else."""
    rng = Random(f"synthetic {number}")
    if number % COPY == COPY - 1:
        return disguised(synthetic(number - 7), rng)[1]
    if number % 4 == 0:
        return Image.blend(_part(rng), _part(rng), rng.uniform(0.3, 0.7))
    if number % 4 == 1:
        image, bars = Image.new("RGB", (240, 160), "white"), rng.randint(3, 9)
        pen, step = ImageDraw.Draw(image), 210 / bars
        pen.line((20, 10, 20, 140, 230, 140), fill="black")
        for bar in range(bars):
            left = 22 + bar * step
            box = (left + step * 0.15, 140 - rng.uniform(10, 120), left + step * 0.85, 140)
            pen.rectangle(box, fill=rng.choice(COLOURS))
        return image
    if number % 4 == 2:
        parts = [
            {"shape": rng.choice(SHAPES), "colour": rng.choice(COLOURS), "size": rng.uniform(0.12, 0.27)}
            | {"x": rng.uniform(0.25, 0.75), "y": rng.uniform(0.25, 0.75)}
            for _ in range(rng.randint(1, 3))
        ]
        return drawing(64, rng.choice(("white", "#e8e8f0", "#fff8dc", "#d0e8d0")), parts)
    image = Image.new("RGB", (320, 400), "white")
    for line in range(rng.randint(8, 20)):
        image.paste(rng.choice(_lines()), (10, 14 + line * 18))
    return image


def _encoded(number: int) -> tuple[tuple[int, int], bytes]:
    image, buffer, photo = synthetic(number), io.BytesIO(), number % 4 == 0
    image.save(buffer, "JPEG" if photo else "PNG", **({"quality": 85} if photo else {"compress_level": 1}))
    return image.size, buffer.getvalue()


def store(folder: Path, images: int) -> None:
    """Write a collection of synthetic pictures; the folder is made.

    Raises:
        UserError: there is a collection already, whose shards would be counted with the new ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob("shard-*.parquet")):
        raise UserError(f"{folder} has shards already; name another folder, or remove it.")
    shards = Shards(folder, 5000)
    with Pool(2) as pool:
        for number, (size, data) in enumerate(
            track(pool.imap(_encoded, range(images), chunksize=64), "pictures", images)
        ):
            name = f"{number:08}"
            shards.add(ImageRecord(name, "synthetic", "train", name, *size, name), data)
    shards.close()


def seconds(folder: Path) -> Record:
    """Measure signatures, search and comparison of a stored collection; the process must be a fresh one.

    As in `ingest`, pictures that are compared come from a spool.
    """
    began, stored = (time.perf_counter(), time.process_time()), ImageSet(folder)
    ours, table = [record.id for record in stored.records], bytearray()
    with Spool(folder) as spool, ThreadPoolExecutor(THREADS) as pool:
        signed = pool.map(lambda image: _signed(image, stored, spool), ours)
        for one in track(signed, "signatures", len(ours)):
            table += one
        signatures = np.frombuffer(table, np.uint8).reshape(-1, BYTES)
        of = clusters([Photo(record, given=False) for record in stored.records], signatures, spool.open)
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    copies = [number for number in range(COPY - 1, len(ours), COPY)]
    known = [of[ours[number]] == of[ours[number - 7]] for number in copies]
    return {
        "images": len(ours),
        "wall": round(wall, 1),
        "cpu": round(cpu, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "clusters": len(set(of.values())),
        "copies_found": estimate(known),
    }


def _signed(image: str, stored: ImageSet, spool: Spool) -> bytes:
    spool.add(image, stored.bytes(image))
    return signature(spool.open(image)).tobytes()


def in_fresh_process(images: int) -> Record:
    with tempfile.TemporaryDirectory() as folder:
        for step in ("--store", "--measure"):
            command = [sys.executable, "-m", __spec__.name, step, folder, "--images", str(images)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return dict(json.loads(said))


# --- a real set --------------------------------------------------------------------------------


def easy_vqa(limit: int | None = None) -> Record:
    """Ingest the images of easy-vqa; count clusters and pictures with exactly equal pixels."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not list(CACHE.glob("easy_vqa-*.whl")):
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "easy-vqa==1.0",
            "--dest",
            str(CACHE),
        ]
        subprocess.run(command, check=True)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(next(CACHE.glob("easy_vqa-*.whl"))) as wheel:
        names = sorted(name for name in wheel.namelist() if name.endswith(".png"))[:limit]
        photos_folder, out = Path(folder, "photos"), Path(folder, "out")
        out.mkdir()
        for name in names:
            target = photos_folder / name.replace("/", "-")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(wheel.read(name))
        source = Source(name="easy", kind="folder", path=str(photos_folder))
        config = Ingest(sources=(source,), max_pixels=10**6, max_file_mb=5, shard_images=5000)
        began = time.perf_counter(), time.process_time()
        metrics: dict[str, Any] = ingest(drawn=out, run=StageRun(config, out=out, scratch=Path(folder), seed=0))
        wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
        stored = ImageSet(out)
        pixels = {np.asarray(stored.open(record.id)).tobytes() for record in stored.records}
    counts = {key: metrics[key] for key in ("images", "clusters")}
    return counts | {"different_pixels": len(pixels), "wall": round(wall, 1), "cpu": round(cpu, 1)}


def table(result: Record) -> Iterator[str]:
    def cell(share: Record) -> str:
        return f"{share['value']:.1%} [{100 * share['low']:.1f}, {100 * share['high']:.1f}], n = {share['n']}"

    yield "| kind | same, found | different, merged |\n|---|---|---|"
    for kind in result["kinds"]:
        yield f"| {kind['kind']} | {cell(kind['recall'])} | {cell(kind['false_merges'])} |"
    yield "\n| pictures | wall s | CPU s | peak MB | copies found |\n|---|---|---|---|---|"
    for row in result["seconds"]:
        shown = (f"{row['images']:,}", row["wall"], row["cpu"], row["peak_mb"], cell(row["copies_found"]))
        yield "| " + " | ".join(map(str, shown)) + " |"
    yield f"\neasy-vqa: {result['easy_vqa']}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--half", choices=HALVES, default="reporting")
    parser.add_argument("--pairs", type=int, default=500, help="of each kind")
    parser.add_argument("--images", default="1000,10000,100000")
    parser.add_argument("--store", type=Path, help="only write this many synthetic pictures (--images N) to a folder")
    parser.add_argument("--measure", type=Path, help="only measure the pictures of such a folder")
    given = parser.parse_args()
    counts = [int(count) for count in given.images.split(",") if count]
    if given.store:
        if len(counts) != 1:
            parser.error("--store writes one collection; give --images one number")
        try:
            store(given.store, *counts)
        except UserError as error:
            parser.error(str(error))
    elif given.measure:
        print(json.dumps(seconds(given.measure)))
    else:
        steps: dict[str, Callable[[], Any]] = {
            "kinds": lambda: kinds(given.half, given.pairs, given.folders),
            "seconds": lambda: [in_fresh_process(count) for count in counts],
            "easy_vqa": easy_vqa,
        }
        result = {name: step() for name, step in steps.items()} | {"half": given.half}
        write_json(OUT, result)
        print("\n".join(table(result)) + f"\n\n{OUT}")


if __name__ == "__main__":
    main()
