"""The DAG as a table: stage → function, its section of params.yaml, its inputs and its output.

Names are lazy, so that `--help` imports no torch, and so that this table is no stage's dependency.
The same table serves the library, `python -m wethink <stage>`, dvc.yaml and the Prefect tasks.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wethink.config import Params
from wethink.errors import UserError
from wethink.records import read_json
from wethink.runs import (
    WORK,
    discard_scratch,
    fingerprint,
    measured,
    publish,
    scratch_folder,
    stage_lock,
)


@dataclass(frozen=True)
class Stage:
    """One step. Functions take `<input>=Path…, out, scratch, config, seed` and return small metrics."""

    summary: str
    function: str  # "module:function", imported only when it runs
    section: str  # passed as `config`
    inputs: dict[str, str]  # argument name → path
    out: str
    also: tuple[str, ...] = ()  # further sections, passed by their names
    ranks: bool = False  # runs on launch.processes ranks

    @property
    def module(self) -> str:
        return self.function.split(":")[0]


STAGES: dict[str, Stage] = {
    "draw": Stage(
        "make the default image sources and the split", "wethink.sources.draw:draw", "draw", {}, "data/drawn"
    ),
    "ingest": Stage(
        "image sources → content-addressed shards",
        "wethink.ingest:ingest",
        "ingest",
        {"drawn": "data/drawn"},
        "data/images",
    ),
    "synthesize": Stage(
        "images → questions, answers and reasoning paths",
        "wethink.synthesis:synthesize",
        "synthesize",
        {"images": "data/images", "drawn": "data/drawn"},
        "data/rows",
        also=("rewards",),
    ),
    "validate": Stage(
        "rows → rows that passed Great Expectations",
        "wethink.validation:validate",
        "validate",
        {"images": "data/images", "rows": "data/rows"},
        "data/valid",
    ),
    "base": Stage(
        "resolve, or build and pre-train, the starting policy",
        "wethink.base:base",
        "base",
        {"images": "data/images", "rows": "data/valid"},
        "models/base",
        ranks=True,
    ),
    "sft": Stage(
        "warm start on reasoning paths",
        "wethink.sft:sft",
        "sft",
        {"images": "data/images", "rows": "data/valid", "base": "models/base"},
        "models/sft",
        ranks=True,
    ),
    "grpo": Stage(
        "GRPO with the hybrid reward",
        "wethink.rl.trainer:grpo",
        "grpo",
        {"images": "data/images", "rows": "data/valid", "base": "models/base", "sft": "models/sft"},
        "models/grpo",
        also=("rewards",),
        ranks=True,
    ),
    "evaluate": Stage(
        "base, SFT and GRPO on held-out items, against truth",
        "wethink.evaluate:evaluate",
        "evaluate",
        {
            "images": "data/images",
            "drawn": "data/drawn",
            "base": "models/base",
            "sft": "models/sft",
            "grpo": "models/grpo",
        },
        "reports/evaluation",
        also=("rewards",),
    ),
    "report": Stage(
        "one page a person wants to look at",
        "wethink.report.page:report",
        "report",
        {
            "images": "data/images",
            "rows": "data/rows",
            "valid": "data/valid",
            "sft": "models/sft",
            "grpo": "models/grpo",
            "evaluation": "reports/evaluation",
        },
        "reports/index.html",
    ),
}


CONTROLS: dict[str, Stage] = {  # beside the main job, not part of it (wethink/controls.py)
    "more_sft": Stage(
        "control: more SFT for GRPO's compute",
        "wethink.controls:more_sft",
        "sft",
        {"images": "data/images", "rows": "data/valid", "sft": "models/sft", "logs": ".wethink/runs"},
        "models/arms/more_sft",
        ranks=True,
    ),
    "rejection_sft": Stage(
        "control: SFT on the policy's own right samples for GRPO's compute",
        "wethink.controls:rejection_sft",
        "sft",
        {"images": "data/images", "rows": "data/valid", "sft": "models/sft", "logs": ".wethink/runs"},
        "models/arms/rejection_sft",
        also=("grpo", "rewards"),
        ranks=True,
    ),
    "grpo_from_base": Stage(
        "control: GRPO without a warm start",
        "wethink.controls:grpo_from_base",
        "grpo",
        STAGES["grpo"].inputs,
        "models/arms/grpo_from_base",
        also=("rewards",),
        ranks=True,
    ),
    "shuffled_gold": Stage(
        "control: GRPO on shuffled golds, which must not gain",
        "wethink.controls:shuffled_gold",
        "grpo",
        STAGES["grpo"].inputs,
        "models/arms/shuffled_gold",
        also=("rewards",),
        ranks=True,
    ),
    "evaluate_arms": Stage(
        "control: all arms on the main job's held-out items",
        "wethink.controls:evaluate_arms",
        "evaluate",
        {
            "images": "data/images",
            "drawn": "data/drawn",
            **{arm: f"models/arms/{arm}" for arm in ("more_sft", "rejection_sft", "grpo_from_base", "shuffled_gold")},
        },
        "reports/arms",
        also=("rewards",),
    ),
}


RETRAIN: dict[str, Stage] = {  # a new source, in a worktree of its own (flows/retrain.py); in topological order
    "new_images": Stage(
        "retrain: the images of the new source",
        "wethink.retrain:new_images",
        "ingest",
        {"source": "retrain/source"},
        "retrain/images",
        also=("retrain",),
    ),
    "new_rows": Stage(
        "retrain: the rows of the new source",
        "wethink.retrain:new_rows",
        "retrain",
        {"source": "retrain/source", "images": "retrain/images"},
        "retrain/rows",
    ),
    "union": Stage(
        "retrain: old and new images, rows and held-out items",
        "wethink.retrain:union",
        "retrain",
        {"old": "retrain/old", "images": "retrain/images", "rows": "retrain/rows"},
        "retrain/union",
        also=("ingest", "evaluate"),
    ),
    "union_valid": Stage(
        "retrain: rows of the union that passed Great Expectations",
        "wethink.validation:validate",
        "validate",
        {"images": "retrain/union/images", "rows": "retrain/union/rows"},
        "retrain/valid",
    ),
    "challenger": Stage(
        "retrain: GRPO on the union, from where the configured checkpoint stopped",
        "wethink.retrain:challenger",
        "grpo",
        {"images": "retrain/union/images", "rows": "retrain/valid", "start": "retrain/start"},
        "retrain/challenger",
        also=("rewards", "retrain"),
        ranks=True,
    ),
    "versus": Stage(
        "retrain: champion and challenger on the same old and new items",
        "wethink.retrain:versus",
        "evaluate",
        {"union": "retrain/union", "champion": "retrain/champion", "challenger": "retrain/challenger"},
        "retrain/evaluation",
        also=("rewards",),
    ),
}

BUNDLE = Stage(  # what the first champion learned from, in the form of a union
    "the main job's images, rows and held-out items as the old part of a first retrain",
    "wethink.retrain:bundle",
    "evaluate",
    {"images": "data/images", "rows": "data/valid", "drawn": "data/drawn"},
    ".wethink/bundle",
)
OTHERS: dict[str, Stage] = CONTROLS | RETRAIN | {"bundle": BUNDLE}  # that DVC does not know


def settings(stage: Stage, params: Params) -> dict[str, Any]:
    """The parameters that a stage depends on, as plain JSON values."""
    whole = params.model_dump(mode="json", by_alias=True)
    return {name: whole[name] for name in ("seed", stage.section, *stage.also)}


def arguments(stage: Stage, params: Params) -> dict[str, Any]:
    """The keyword arguments of a stage's function, without `out` and `scratch`."""
    sections = {(field.alias or name): getattr(params, name) for name, field in Params.model_fields.items()}
    given: dict[str, Any] = {name: Path(path) for name, path in stage.inputs.items()}
    given |= {"config": sections[stage.section], "seed": params.seed} | {name: sections[name] for name in stage.also}
    return given | ({"launch": params.launch} if stage.ranks or stage.section == "evaluate" else {})


def run_stage(name: str, params: Params, adopt: bool = False, once: bool = False) -> dict[str, Any]:
    """Run one stage from its inputs to its published output and return its metrics.

    `once` is for the controls, which DVC does not know: a published arm with the same fingerprint is left alone.

    Raises:
        UserError: an input is missing (the stage that makes it is named), or the stage refuses its input.
    """
    from wethink.closure import closure

    stage = (STAGES | OTHERS)[name]
    for path in stage.inputs.values():
        if not Path(path).exists():
            maker = next((other for other, entry in (STAGES | OTHERS).items() if entry.out == path), "draw")
            raise UserError(f"{path} is missing: run `dvc repro {maker}` (or `python -m wethink {maker}`) first.")
    inputs = [Path(path) for path in stage.inputs.values() if path != str(WORK / "runs")]  # logs hold timings
    key = fingerprint(closure(stage.module), settings(stage, params), inputs)
    run_record = WORK / "runs" / f"{name}.run.json"
    if once and Path(stage.out).exists() and run_record.exists() and read_json(run_record).get("fingerprint") == key:
        return dict(read_json(run_record)["metrics"])
    with stage_lock(name), measured(run_record) as record:
        scratch = scratch_folder(name, key, adopt)
        log = WORK / "runs" / f"{name}.metrics.jsonl"  # where trackers look; the log itself is part of scratch
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        log.symlink_to((scratch / "metrics.jsonl").resolve())
        record |= {"stage": name, "fingerprint": key}
        if stage.ranks and params.launch.processes > 1:
            from wethink.distributed import launch_ranks

            launch_ranks(name, scratch, params.launch)
        else:
            run_rank(name, scratch, params)
        metrics = _metrics(scratch)
        log.unlink()
        if (scratch / "metrics.jsonl").exists():
            shutil.copyfile(scratch / "metrics.jsonl", log)
        publish(scratch / "out", Path(stage.out))
        discard_scratch(name)
        record |= {"metrics": metrics}
    return metrics


def _metrics(scratch: Path) -> dict[str, Any]:
    path = scratch / "out" / "metrics.json"
    metrics: dict[str, Any] = read_json(path) if path.is_file() else {}
    return metrics


def run_rank(name: str, scratch: Path, params: Params) -> None:
    """One rank of a stage: the library function, with this process's share of the work."""
    import importlib

    stage = (STAGES | OTHERS)[name]
    module, function = stage.function.split(":")
    (scratch / "out").mkdir(exist_ok=True)
    (scratch / "failure.txt").unlink(missing_ok=True)
    try:
        getattr(importlib.import_module(module), function)(
            **arguments(stage, params), out=scratch / "out", scratch=scratch
        )
    except UserError as error:
        (scratch / "failure.txt").write_text(str(error), encoding="utf-8")  # the launcher has only exit codes
        raise
