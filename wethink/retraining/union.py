"""Union of the known dataset and a new source, to train and evaluate a challenger on.

A new source (wethink/retraining/new_source.py) is added to the rows that the champion learned from and to its held-out
items. The union is a dataset of its own (`images/`, `rows/`, `items/`, `sources.json`, `signatures.parquet`), and the
old part of the next retrain.

A known image, or a near-duplicate of one, keeps its role: its new rows are dropped, so that no held-out image enters
training and no training image is evaluated. The union's validation removes benchmark images, as from the first rows
(validate.curation.benchmarks).
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl, write_json, write_jsonl
from wethink.common.progress import say
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest
from wethink.config.evaluation import Evaluate
from wethink.config.launch import Launch
from wethink.config.retraining import Retrain
from wethink.data.duplicates.signatures import SIGNATURES, Signatures, load_signatures, save_signatures, stacked
from wethink.data.image_shards import Shards
from wethink.data.image_store import PICTURES, ImageSet
from wethink.data.schema import held_out_items, row_images
from wethink.retraining.known_images import is_held_out, shown_already, signed


def snapshot_main_run(
    *, images: Path, rows: Path, drawn: Path, launch: Launch, run: StageRun[Evaluate]
) -> dict[str, Any]:
    """Copy the main job's rows and held-out items as a union, for the first retrain."""
    config, out = run.config, run.out
    _copy_shards(images, out / "images", 0)
    _copy(rows, out / "rows", ("rows.jsonl", "descriptions.jsonl"))
    (out / "items").mkdir(parents=True, exist_ok=True)
    names = sorted({record.source for record in ImageSet(images).records})
    write_jsonl(out / "items" / f"{config.split}.jsonl", held_out_items((drawn, rows), config.split, names))
    write_json(out / "sources.json", dict.fromkeys(names, "main job"))
    _save(out, signed(ImageSet(images)))
    metrics = {"rows": _lines(out / "rows/rows.jsonl"), "items": _lines(out / "items" / f"{config.split}.jsonl")}
    write_json(out / "metrics.json", metrics)
    return metrics


def merge_datasets(
    *, old: Path, images: Path, rows: Path, ingest: Ingest, evaluate: Evaluate, run: StageRun[Retrain]
) -> dict[str, Any]:
    """Merge the old dataset and the new source into `out`.

    Raises:
        UserError: the source has no new image.
    """
    config, out, scratch = run.config, run.out, run.scratch
    before, arrived = ImageSet(old / "images"), ImageSet(images)
    there, signatures = signed(before, load_signatures(old / SIGNATURES)), signed(arrived)
    unknown = [record for record in arrived.records if record.id not in before]
    shown = shown_already(unknown, signatures, arrived.open, there, before.open) if ingest.near_duplicates else {}
    fresh = [record for record in unknown if record.id not in shown]
    new = {record.id for record in fresh}
    if not new:
        raise UserError(f"source '{config.source}' brings no image that is not there already; nothing to learn from.")
    shards = _copy_shards(old / "images", out / "images", 0)
    (scratch / "new").mkdir(exist_ok=True)
    writer = Shards(scratch / "new", ingest.shard_images)
    found = {name: list(read_jsonl(rows / f"{name}.jsonl")) for name in ("rows", "items")}
    role = {image: name for name, records in found.items() for record in records for image in row_images(record)}
    for record in fresh:  # a row about several images has one role for all of them
        of = role.get(record.id) or ("items" if is_held_out(record.cluster, config.held_out) else "rows")
        split = evaluate.split if of == "items" else "train"
        writer.add(replace(record, split=split), arrived.bytes(record.id))
    writer.close()
    _copy_shards(scratch / "new", out / "images", shards)

    _copy(old / "rows", out / "rows", ("rows.jsonl", "descriptions.jsonl"))
    _copy(old / "items", out / "items", (f"{evaluate.split}.jsonl",))
    counts: dict[str, Any] = {"images": len(fresh), "known_images": len(arrived) - len(fresh), "near": len(shown)}
    paths = {"rows": out / "rows/rows.jsonl", "items": out / "items" / f"{evaluate.split}.jsonl"}
    earlier = {name: list(read_jsonl(path)) for name, path in paths.items()}
    texts = {record["scene"] for records in earlier.values() for record in records if not row_images(record)}
    for name, path in paths.items():
        added = [
            record
            for record in found[name]
            if new.issuperset(row_images(record)) and (row_images(record) or record["scene"] not in texts)
        ]
        write_jsonl(path, [*earlier[name], *added])
        dropped = len(found[name]) - len(added)  # a question about no image is known by its words
        counts[name] = {"old": len(earlier[name]), "new": len(added), "dropped_with_known_image": dropped}
    arrival = read_json(rows / "source.json")
    write_json(out / "sources.json", read_json(old / "sources.json") | {arrival["name"]: arrival["content"]})
    write_jsonl(out / "near.jsonl", ({"image": image, "shows": known} for image, known in sorted(shown.items())))
    _save(out, there | {record.id: signatures[record.id] for record in fresh})
    if shown:
        say(
            f"union: {len(shown):,} of {len(arrived):,} images of '{config.source}' are near-duplicates of known ones, "
            "and their rows are left out; near.jsonl names each (ingest.near_duplicates: false compares nothing)."
        )
    write_json(out / "metrics.json", counts)
    return counts


def _save(out: Path, signatures: Mapping[str, Signatures]) -> None:
    save_signatures(out / SIGNATURES, list(signatures), stacked(list(signatures.values())))


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, target / name)


def _copy_shards(source: Path, target: Path, first: int) -> int:
    """Copy shards under new numbers from `first`, and what stands beside them; return the next free number.

    Shards are hard links where the file system allows it.
    """
    target.mkdir(parents=True, exist_ok=True)
    number = first
    for path in sorted(source.glob("shard-*.parquet")):
        place = target / f"shard-{number:05d}.parquet"
        place.unlink(missing_ok=True)
        try:
            os.link(path.resolve(), place)
        except OSError:
            shutil.copyfile(path, place)
        number += 1
    if (source / PICTURES).is_file():
        write_jsonl(target / PICTURES, read_jsonl(source / PICTURES))
    return number


def _lines(path: Path) -> int:
    return sum(1 for _ in read_jsonl(path))
