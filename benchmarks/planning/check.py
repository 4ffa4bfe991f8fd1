"""`make plan-check`: plans beside measured runs on this CPU and beside published tables → reports/plan_check.json.

    .venv/bin/python -m benchmarks.planning.check [N …]

Every run is the product's own training code on a model with random weights, in one process a rank with one thread.
Memory is the peak of a rank (anonymous pages and its share of files); time is processor seconds of a step, so that a
busy machine counts less. The numbers choose runs (see cases.py); by default all run; `--replan` plans kept runs again.
Goals: memory within 15 %, time within 30 %.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ |= {"DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1"}

import sys
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.planning import rank
from benchmarks.planning.cases import CASES, Case
from benchmarks.planning.measure import Measured, measure
from benchmarks.planning.published import Published, compare
from wethink.common.jsonl import read_json, write_json
from wethink.training.planning.devices import GLOO, Device, calibrate
from wethink.training.planning.memory import total
from wethink.training.planning.plan import Model, StagePlan, plan_stage
from wethink.training.planning.work import Lengths, patches_of

OUT = Path("reports/plan_check.json")
MEMORY, TIME = 0.15, 0.30  # goals: largest distance of plan and measurement
PHASES = {"load": ("load",), "learn": ("learn", "update", "sync"), "sample": ("sample",)}
STEP = {"sampling": ("sample", "sync"), "learning": ("learn",), "update": ("update",)}
PLANNED = {"sampling": ("sampling", "sync"), "learning": ("learning", "reference", "images"), "update": ("update",)}


def predict(case: Case, prompt: int, config: dict[str, Any], core: Device) -> StagePlan:
    """Plan a case from its settings, its model's config and its prompt's length."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    model = Model(CONFIG_MAPPING[config["model_type"]].from_dict(config), case.name)
    tokens = patches_of(case.image**2, model.shape) // model.shape.merge**2
    lengths = Lengths(text=prompt - tokens, completion=case.completion, pixels=case.image**2)
    return plan_stage(case.params(), model, core, "sft" if case.stage == "sft" else "grpo", lengths)


def row(case: Case, measured: Measured, core: Device) -> dict[str, Any]:
    """Compare one run with its plan."""
    plan = predict(case, measured.prompt, measured.config, core)
    peak = max(measured.memory.values())
    step = sum(measured.seconds.values())
    return {
        "name": case.name,
        "parameters": plan.setup.counts.total,
        "ranks": case.ranks,
        "pass_tokens": plan.setup.work.pass_tokens,
        "memory": {"planned": round(plan.peak), "measured": peak, "distance": round(plan.peak / peak - 1, 3)},
        "phases": {
            phase: {
                "planned": round(total(plan.memory[phase])),
                "measured": max((measured.memory.get(name, 0) for name in names), default=0),
            }
            for phase, names in PHASES.items()
            if phase in plan.memory
        },
        "seconds": {
            "planned": round(sum(plan.seconds.values()), 4),
            "measured": round(step, 4),
            "distance": round(sum(plan.seconds.values()) / step - 1, 3),
        },
        "parts": {
            part: {
                "planned": round(sum(plan.seconds[name] for name in PLANNED[part]), 4),
                "measured": round(sum(measured.seconds.get(name, 0.0) for name in names), 4),
            }
            for part, names in STEP.items()
        },
        "phases_measured": measured.memory,
        "parts_measured": {part: round(value, 4) for part, value in measured.seconds.items()},
        "core": {"fp32": round(core.fp32), "bandwidth": round(core.bandwidth)},
        "as_measured": {"prompt": measured.prompt, "config": measured.config},
    }


def line(found: dict[str, Any]) -> str:
    memory, seconds = found["memory"], found["seconds"]
    return (
        f"| {found['name']} | {found['parameters'] / 1e6:,.1f} | {found['ranks']} | {found['pass_tokens']:,} "
        f"| {memory['planned'] / 1e6:,.0f} | {memory['measured'] / 1e6:,.0f} | {_against(memory, MEMORY)} "
        f"| {seconds['planned']:.3g} | {seconds['measured']:.3g} | {_against(seconds, TIME)} |"
    )


def _against(found: dict[str, Any], goal: float) -> str:
    missed = "" if abs(found["distance"]) <= goal else " **missed**"
    return f"{found['distance']:+.0%}{missed}"


@cache
def published() -> list[Published]:
    return compare()


def keep(found: dict[str, Any]) -> None:
    """Add a run to the file, in the place of an earlier one of its name."""
    kept = {run["name"]: run for run in (read_json(OUT)["runs"] if OUT.exists() else [])} | {found["name"]: found}
    write(list(kept.values()), with_published=False)


def write(runs: list[dict[str, Any]], with_published: bool = True) -> None:
    order = {case.name: place for place, case in enumerate(CASES)}
    others = [vars(other) | {"distance": round(other.distance, 3)} for other in (published() if with_published else [])]
    runs = sorted((run for run in runs if run["name"] in order), key=lambda run: order[run["name"]])
    write_json(OUT, {"goals": {"memory": MEMORY, "seconds": TIME}, "runs": runs, "published": others})


def replan() -> None:
    """Plan the measured runs again, as after a change of a formula, and print the tables."""
    for found in read_json(OUT)["runs"]:
        case = next(case for case in CASES if case.name == found["name"])
        measured = Measured(found["phases_measured"], found["parts_measured"], **found["as_measured"])
        core = Device(
            "cpu",
            2.5e10,
            1e9,
            bandwidth=found["core"]["bandwidth"],
            fp32=found["core"]["fp32"],
            link=GLOO,
            source="",
            is_cpu=True,
        )
        again = row(case, measured, core)
        keep(again)
        print(line(again))
    tables()


def main() -> None:
    """Measure the chosen cases, print the tables, and write them; `--replan` measures none."""
    if sys.argv[1:] == ["--replan"]:
        replan()
        return
    chosen = [CASES[int(number)] for number in sys.argv[1:]] or list(CASES)
    rank.import_everything()
    print("| run | M parameters | ranks | tokens a pass | MB planned | MB measured | | s planned | s measured | |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for case in chosen:
        core = calibrate()
        found = row(case, measure(case, Path(".wethink/planning") / str(os.getpid())), core)
        keep(found)
        print(line(found), flush=True)
    tables()


def tables() -> None:
    """Print the published figures beside their plans, and write them."""
    print("\n| published | source | theirs | planned | distance | |\n|---|---|---|---|---|---|")
    for other in published():
        print(
            f"| {other.what} | {other.source} | {other.theirs:g} {other.unit} | {other.planned:.3g} {other.unit} "
            f"| {other.distance:+.0%} | {other.note} |"
        )
    write(read_json(OUT)["runs"])
    print(f"written: {OUT}")


if __name__ == "__main__":
    main()
