"""One arm of the promotion gate study (`make gate`): retraining on a source with planted faults.

It runs in its own process and takes the steps of flows/retrain.py (import, union, validation, training) in a folder
with a worktree's layout. Champion and challenger then answer the union's held-out items. The gate decides by the
source's golds, wrong ones included, because a real run has no others. The true answers are read afterwards, for the
report only.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from benchmarks.promotion_gate.noisy_source import Dose, dosed, write_source, written, wrong
from tasks.versioning.worktrees import set_params
from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json, read_jsonl, write_json, write_jsonl
from wethink.common.processes import die_with_owners
from wethink.common.stage_run import StageRun
from wethink.config.params import Params, load_params
from wethink.dag.publishing import publish
from wethink.dag.runner import run_stage
from wethink.data.image_shards import Shards
from wethink.data.image_store import ImageSet
from wethink.data.schema import Item
from wethink.evaluation.evaluate import Job, Pixels, judge_items, run_jobs
from wethink.evaluation.summary import accuracy_difference
from wethink.retraining.promotion_gate import decide
from wethink.retraining.union import snapshot_main_run
from wethink.rewards.hybrid import open_scorer

SOURCE = "digits"  # the source that arrives later, as in the ablations (wethink/experiments/arms.py, `new_source`)
DOSES: dict[str, Dose] = {
    "useful": Dose(),
    "wrong_05": Dose(wrong=0.05),
    "wrong_15": Dose(wrong=0.15),
    "wrong_30": Dose(wrong=0.30),
    "wrong_60": Dose(wrong=0.60),
    "letter_60": Dose(letter=0.60),
    "letter_100": Dose(letter=1.0),
    "blind": Dose(blind=True),
    "shuffled": Dose(shuffled=True),
}
NEVER = ("wrong_60", "blind", "shuffled")  # arms that must not be promoted, as page.py names them
FIRST = "useful"  # the arm whose images and champion responses the others reuse
CHAMPION = "models/arms/two_sources"  # of the main job's folder: SFT and GRPO without SOURCE
LOOK = 1
CONTROLS: tuple[Pixels, ...] = ("blank", "shuffled")  # images that the challenger is shown beside the true ones
STOPS = {"new_images": "ingest", "new_rows": "the label check", "union": "the union", "union_valid": "validation"}


def prepare(main: Path, home: Path) -> None:
    """Write a seed's shared inputs.

    They are the champion's data without SOURCE, the new images, and rows with their true answers.
    """
    params = load_params(main / "params.yaml")
    if not (home / "old" / "manifest.json").is_file():
        kept = home / "without"
        _without(main / "data", kept, params)
        scratch = home / "scratch"
        scratch.mkdir(exist_ok=True)
        (home / "bundle").mkdir(exist_ok=True)
        run = StageRun(params.evaluate, out=home / "bundle", scratch=scratch, seed=params.seed)
        # The items lie beside the rows: read from both folders, each item would be there twice.
        snapshot_main_run(images=kept, rows=kept, drawn=kept / "drawn", launch=params.launch, run=run)
        publish(home / "bundle", home / "old")
    if not (home / "source.jsonl").is_file():
        stored = ImageSet(main / "data/images")
        (home / "images").mkdir(exist_ok=True)
        for record in stored.records:
            if record.source == SOURCE and record.split == "train":
                (home / "images" / f"{record.id}.png").write_bytes(stored.bytes(record.id))
        write_jsonl(home / "source.jsonl", written(main / "data/drawn", main / "data/images", SOURCE, params))


def _without(data: Path, out: Path, params: Params) -> None:
    """Copy the main job's images, valid rows and items of all sources but SOURCE.

    Pretraining data is left out: no later training reads it, and each arm would validate it again.
    """

    def kept(record: Record) -> bool:
        return record["source"] != SOURCE and record.get("split") != "pretrain"

    shutil.rmtree(out, ignore_errors=True)
    (out / "items").mkdir(parents=True)
    stored = ImageSet(data / "images")
    shards = Shards(out, params.ingest.shard_images)
    for record in stored.records:
        if kept(asdict(record)):
            shards.add(record, stored.bytes(record.id))
    shards.close()
    items = Path("items") / f"{params.evaluate.split}.jsonl"
    for origin, target in ((data / "valid/rows.jsonl", out / "rows.jsonl"), (data / "drawn" / items, out / items)):
        write_jsonl(target, filter(kept, read_jsonl(origin)))
    write_jsonl(out / "descriptions.jsonl", [])


def run_arm(arm: str, main: Path, home: Path) -> dict[str, Any]:
    """Run an arm from the source to the decision; write and return its `result.json`."""
    began = _spent()
    rows = dosed(list(read_jsonl(home / "source.jsonl")), DOSES[arm], load_params(main / "params.yaml").seed)
    folder = _laid_out(arm, rows, main, home)
    os.chdir(folder)
    params = load_params()
    said: dict[str, Any] = {"arm": arm, "seed": params.seed, "stopped": None, "decision": None, "truth": None}
    try:
        for step in (*(["new_images"] if arm == FIRST else []), "new_rows", "union", "union_valid"):
            run_stage(step, params, once=True)
    except UserError as refusal:
        said["stopped"] = {"by": STOPS[step], "reason": str(refusal)}
    said["source"] = _caught(rows, said["stopped"] is not None)
    metrics = Path("retrain/rows/metrics.json")
    said["label_check"] = read_json(metrics)["label_check"] if metrics.is_file() else None
    if said["stopped"] is None:
        for step in ("warm_start", "challenger"):
            run_stage(step, params, once=True)
        said |= _decided(rows, params, main, home)
    said["cpu_seconds"] = round(_spent() - began, 1)
    write_json(Path("result.json"), said)
    return said


def _laid_out(arm: str, rows: Sequence[Record], main: Path, home: Path) -> Path:
    """Create the arm's folder with the layout of a worktree of flows/retrain.py."""
    folder = home / arm
    (folder / "retrain").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(main / "params.yaml", folder / "params.yaml")
    # The embedded reader knows only the questions that it would ask about an image. It cannot read the shuffled rows,
    # so the label check would stop them before the gate, which is what this study measures.
    unread = {"retrain.label_check.rows": 0} if DOSES[arm].shuffled else {}
    set_params(folder / "params.yaml", {"retrain.source": SOURCE} | unread)
    write_source(folder / "source", rows)
    champion = main / CHAMPION
    links = {"source/images": home / "images", "source/truth": main / "data/drawn/truth", "infra": main / "infra"}
    links |= {f"retrain/{name}": target for name, target in (("old", home / "old"), ("champion", champion))}
    links |= {"retrain/start": champion, "retrain/source": folder / "source"}
    if arm != FIRST:  # every arm has the same images
        links |= {"retrain/images": home / FIRST / "retrain/images"}
    for name, target in links.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target.resolve())
    return folder


def _caught(rows: Sequence[Record], stopped: bool) -> dict[str, Any]:
    """Count the source's rows and wrong rows, in all and per filter that dropped them.

    If validation stopped the run, every remaining row counts as caught: none is trained on.
    """
    bad, ids = wrong(rows), {row["id"] for row in rows}
    dropped: dict[str, set[str]] = {}
    for name, path in (
        ("import", "retrain/rows/rejected.jsonl"),
        ("expectations", "retrain/valid/quarantine.jsonl"),
        ("curation", "retrain/valid/curated.jsonl"),
    ):
        found = {record["id"] for record in read_jsonl(Path(path))} if Path(path).is_file() else set()
        dropped[name] = found & ids
    taken = {name: {"rows": len(found), "wrong": len(found & bad)} for name, found in dropped.items()}
    kept = ids - set().union(*dropped.values())
    taken["stopped"] = {"rows": len(kept), "wrong": len(kept & bad)} if stopped else {"rows": 0, "wrong": 0}
    return {"rows": len(rows), "wrong": len(bad), "filters": taken}


def _decided(rows: Sequence[Record], params: Params, main: Path, home: Path) -> dict[str, Any]:
    """Decide by the source's golds; measure accuracies against the true answers."""
    items = list(read_jsonl(Path("retrain/union/items") / f"{params.evaluate.split}.jsonl"))
    truth = {row["id"]: row["truth"] for row in rows}
    at = (items, 0.0, params.seed, params)
    champion = answered(home / "champion", "champion", main / CHAMPION, *at)
    challenger = answered(Path("answers"), "challenger", Path("retrain/challenger"), *at)
    seen = [judged(items, who, params) for who in (champion, challenger)]
    for pixels in CONTROLS:
        blind = answered(Path("answers"), "challenger", Path("retrain/challenger"), *at, pixels)
        seen[1] += judged([item for item in items if item["id"] in blind], blind, params)
    decision = decide(seen[0], seen[1], [SOURCE], LOOK, params.promotion, params.seed).as_record()
    right = [item | {"answer": truth.get(item["id"], item["answer"])} for item in items]
    before, after = (judged(right, who, params) for who in (champion, challenger))
    told: dict[str, Any] = {}
    for part, is_new in (("old", False), ("new", True)):
        pair = [[r for r in side if (r["source"] == SOURCE) == is_new] for side in (before, after)]
        told[part] = {
            "champion": _accuracy(pair[0]),
            "challenger": _accuracy(pair[1]),
            "change": accuracy_difference(pair[1], pair[0], params.evaluate.bootstrap, params.seed),
        }
    return {"decision": decision, "truth": told}


def answered(
    where: Path,
    name: str,
    model: Path,
    items: Sequence[Record],
    temperature: float,
    seed: int,
    params: Params,
    pixels: Pixels = "true",
) -> dict[str, Record]:
    """Return a model's responses by item id; generated once and kept in `where`.

    Items that the kept responses lack (those of a source with other questions) are asked and added. A control has no
    response to an item that cannot be swapped, so nothing is added to it.
    """
    job = Job(name, model, temperature, pixels)
    kept = where / f"{seed}-{job.name}.jsonl"
    found = {record["id"]: record for record in read_jsonl(kept)} if kept.is_file() else {}
    asked = [cast(Item, item) for item in items if item["id"] not in found]
    if asked and (not found or pixels == "true"):
        asking = Path("answers/asking")  # the arm's own: arms run side by side
        asking.mkdir(parents=True, exist_ok=True)
        where.mkdir(parents=True, exist_ok=True)
        run = StageRun(params.evaluate, out=where, scratch=asking, seed=seed)
        run_jobs([(job, asked)], Path("retrain/union/images"), params.rewards, params.launch, 0, run)
        found |= {record["id"]: record for record in read_jsonl(asking / f"{job.name}.jsonl")}
        write_jsonl(asking / f"{job.name}.jsonl", found.values())
        os.replace(asking / f"{job.name}.jsonl", kept)
    return found


def judged(items: Sequence[Record], answers: Mapping[str, Record], params: Params) -> list[Record]:
    """Judge responses against the items' golds; return evaluation records."""
    found = []
    with open_scorer(params.rewards, params.launch) as scorer:
        for item in items:
            given = answers[item["id"]]
            job = Job(given["checkpoint"], Path(), given["temperature"], given["pixels"])
            found += judge_items([(cast(Item, item), given["response"], given["tokens"])], job, scorer)
    return found


def _accuracy(records: Sequence[Record]) -> float:
    known = [r for r in records if r["verdict"] != "unknown"]
    return round(sum(r["verdict"] == "correct" for r in known) / len(known), 6)


def _spent() -> float:
    cpu = os.times()
    return cpu.user + cpu.system + cpu.children_user + cpu.children_system


def main() -> int:
    """Run `python -m benchmarks.promotion_gate.arm HOME ARM`.

    HOME has the main job in `main`; ARM is an arm's name or `prepare`.
    """
    die_with_owners()
    home, arm = Path(sys.argv[1]).resolve(), sys.argv[2]
    if arm == "prepare":
        prepare(home / "main", home)
    else:
        run_arm(arm, home / "main", home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
