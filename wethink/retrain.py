"""A new source makes a challenger: only what is new is read and imported, the union is validated and learned from.

A source that arrives is a folder with `images/` and `rows.jsonl` (the released dataset's keys). A hash-chosen share
of its images is held out: their rows become items that nobody learns from, beside the old ones. The union of old and
new is a dataset of its own (`images/`, `rows/`, `items/`, `sources.json`), and the old part of the next retrain.

An image that is known already stays where it was: its new rows are dropped, so that no held-out image enters training.
"""

import hashlib
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from wethink.config import Evaluate, Grpo, Ingest, Launch, Retrain, Rewards, Source
from wethink.errors import UserError
from wethink.images import ImageSet
from wethink.importer import import_rows
from wethink.ingest import Shards, ingest
from wethink.records import Record, file_sha256, read_json, read_jsonl, write_json, write_jsonl

ITEM = ("id", "image", "scene", "source", "kind", "problem", "answer", "category", "abilities", "reward")


def bundle(
    *, images: Path, rows: Path, drawn: Path, out: Path, scratch: Path, config: Evaluate, launch: Launch, seed: int
) -> dict[str, Any]:
    """What the main job learned from and is asked, in the form of a union, for the first retrain."""
    _copy_shards(images, out / "images", 0)
    _copy(rows, out / "rows", ("rows.jsonl", "descriptions.jsonl"))
    _copy(drawn / "items", out / "items", (f"{config.split}.jsonl",))
    names = sorted({record.source for record in ImageSet(images).records})
    write_json(out / "sources.json", dict.fromkeys(names, "main job"))
    metrics = {"rows": _lines(out / "rows/rows.jsonl"), "items": _lines(out / "items" / f"{config.split}.jsonl")}
    write_json(out / "metrics.json", metrics)
    return metrics


def new_images(
    *, source: Path, out: Path, scratch: Path, config: Ingest, retrain: Retrain, seed: int
) -> dict[str, Any]:
    """Ingest the new source, and nothing else.

    Raises:
        UserError: it has no `images` folder, or no usable image in it.
    """
    if not (source / "images").is_dir():
        raise UserError(f"source '{retrain.source}' has no folder 'images'; put its images there, beside rows.jsonl.")
    only = Source(name=str(retrain.source), kind="folder", path=str(source / "images"))
    return ingest(
        drawn=source, out=out, scratch=scratch, config=config.model_copy(update={"sources": (only,)}), seed=seed
    )


def new_rows(*, source: Path, images: Path, out: Path, scratch: Path, config: Retrain, seed: int) -> dict[str, Any]:
    """Import the source's rows; those of held-out images become items.

    Raises:
        UserError: the file of rows is missing or unusable, or none of its rows is usable.
    """
    path = source / "rows.jsonl"
    if not path.is_file():
        raise UserError(f"source '{config.source}' has no rows.jsonl; it needs rows with the released dataset's keys.")
    candidates = import_rows(path, ImageSet(images).records, lambda image: False)
    kept = [{k: v for k, v in row.items() if k != "reason"} for row in candidates if row["reason"] is None]
    rejected = [row for row in candidates if row["reason"] is not None]
    if not kept:
        most, count = Counter(row["reason"] for row in rejected).most_common(1)[0]
        raise UserError(f"source '{config.source}': no row of rows.jsonl is usable; most often ({count}): {most}.")
    held = [row for row in kept if is_held_out(row["scene"], config.held_out)]
    learned = [row for row in kept if not is_held_out(row["scene"], config.held_out)]
    write_jsonl(out / "rows.jsonl", learned)
    write_jsonl(out / "items.jsonl", ({key: row[key] for key in ITEM} for row in held))
    write_jsonl(out / "rejected.jsonl", rejected)
    write_json(out / "source.json", {"name": config.source, "rows_sha256": file_sha256(path)})
    metrics = {"candidates": len(candidates), "rows": len(learned), "items": len(held), "rejected": len(rejected)}
    write_json(out / "metrics.json", metrics)
    return metrics


def is_held_out(cluster: str, share: float) -> bool:
    """Whether images of this cluster only answer; a function of the cluster alone, so of no run and no order."""
    return int.from_bytes(hashlib.sha256(f"held out {cluster}".encode()).digest()[:8]) / 2**64 < share


def union(
    *,
    old: Path,
    images: Path,
    rows: Path,
    out: Path,
    scratch: Path,
    config: Retrain,
    ingest: Ingest,
    evaluate: Evaluate,
    seed: int,
) -> dict[str, Any]:
    """Old and new side by side in `out`.

    Raises:
        UserError: nothing of the source is new.
    """
    known = {record.id for record in ImageSet(old / "images").records}
    arrived = ImageSet(images)
    fresh = [record for record in arrived.records if record.id not in known]
    new = {record.id for record in fresh}
    if not new:
        raise UserError(f"source '{config.source}' brings no image that is not there already; nothing to learn from.")
    shards = _copy_shards(old / "images", out / "images", 0)
    (scratch / "new").mkdir(exist_ok=True)
    writer = Shards(scratch / "new", ingest.shard_images)
    for record in fresh:
        split = evaluate.split if is_held_out(record.cluster, config.held_out) else "train"
        writer.add(replace(record, split=split), arrived.bytes(record.id))
    writer.close()
    _copy_shards(scratch / "new", out / "images", shards)

    _copy(old / "rows", out / "rows", ("rows.jsonl", "descriptions.jsonl"))
    _copy(old / "items", out / "items", (f"{evaluate.split}.jsonl",))
    counts: dict[str, Any] = {"images": len(fresh), "known_images": len(arrived) - len(fresh)}
    for name, path in (("rows", out / "rows/rows.jsonl"), ("items", out / "items" / f"{evaluate.split}.jsonl")):
        before = list(read_jsonl(path))
        found = list(read_jsonl(rows / f"{name}.jsonl"))
        added = [record for record in found if record["image"] in new]
        write_jsonl(path, [*before, *added])
        counts[name] = {"old": len(before), "new": len(added), "dropped_with_known_image": len(found) - len(added)}
    arrival = read_json(rows / "source.json")
    write_json(out / "sources.json", read_json(old / "sources.json") | {arrival["name"]: arrival["rows_sha256"]})
    write_json(out / "metrics.json", counts)
    return counts


def challenger(
    *,
    images: Path,
    rows: Path,
    start: Path,
    out: Path,
    scratch: Path,
    config: Grpo,
    rewards: Rewards,
    retrain: Retrain,
    launch: Launch,
    seed: int,
) -> dict[str, Any]:
    """GRPO on the union's answers, from `start`."""
    from wethink.rl.trainer import grpo

    optim = config.optim.model_copy(update={"steps": retrain.steps})
    return grpo(
        images=images,
        rows=rows,
        base=start,
        sft=start,
        out=out,
        scratch=scratch,
        config=config.model_copy(update={"optim": optim}),
        rewards=rewards,
        launch=launch,
        seed=seed,
    )


def versus(
    *,
    union: Path,
    champion: Path,
    challenger: Path,
    out: Path,
    scratch: Path,
    config: Evaluate,
    rewards: Rewards,
    launch: Launch,
    seed: int,
) -> dict[str, Any]:
    """Both on all held-out items of the union, greedily; the controls (blank and swapped images) beside them."""
    from wethink.evaluate import evaluate_checkpoints

    greedy = config.model_copy(update={"temperatures": (0.0,)})
    both = {"champion": champion, "challenger": challenger}
    return evaluate_checkpoints(both, union / "images", union, out, scratch, greedy, rewards, launch, seed)


def answers(evaluation: Path, model: str) -> list[Record]:
    """One model's records that the gate decides on."""
    every = read_jsonl(evaluation / "items.jsonl")
    return [r for r in every if r["checkpoint"] == model and r["temperature"] == 0 and r["pixels"] == "true"]


def _copy(source: Path, target: Path, names: tuple[str, ...]) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copyfile(source / name, target / name)


def _copy_shards(source: Path, target: Path, first: int) -> int:
    """Shards under new numbers, from `first`; the number after the last. Links where the disk allows it."""
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
    return number


def _lines(path: Path) -> int:
    return sum(1 for _ in read_jsonl(path))
