"""False-positive rate of the promotion gate: 200 comparisons of a policy with itself.

    python -m benchmarks.promotion_gate.null_rate FOLDER [--model models/grpo] [--new digits]

FOLDER is a checkout with a finished main job. The policy answers every held-out item SAMPLINGS times at T = 1. Each
trial resamples scenes with replacement and draws two different responses per item, one for the champion and one for
the challenger. Both sides are the same policy, so every promotion is a false positive. Nothing is trained.
"""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.promotion_gate.arm import CONTROLS
from wethink.common.jsonl import Record, read_jsonl, write_json
from wethink.common.stage_run import StageRun
from wethink.config.params import Params, load_params
from wethink.config.retraining import Promotion
from wethink.data.schema import Item, read_items
from wethink.evaluation.evaluate import Job, run_jobs
from wethink.retraining.alpha_spending import level
from wethink.retraining.promotion_gate import Decision, decide

SAMPLINGS, TRIALS, RESAMPLES = 4, 200, 2000
Round = dict[str, Record]  # item id → its record in one evaluation


def rounds_of(model: Path, where: Path) -> list[Round]:
    """Evaluate the policy SAMPLINGS times at T = 1 with different seeds.

    Records are kept in `where`. The current folder must be a checkout with a finished main job.
    """
    params = load_params()
    items = list(read_items(Path("data/drawn/items") / f"{params.evaluate.split}.jsonl"))
    found = []
    for seed in range(SAMPLINGS):
        found.append(_asked(Job("champion", model, 1.0, "true"), where / f"sampled-{seed}.jsonl", seed, items, params))
    return found


def controls_of(model: Path, where: Path) -> list[Round]:
    """Evaluate the policy greedily with blank and with swapped images, as the gate has it done."""
    params = load_params()
    items = list(read_items(Path("data/drawn/items") / f"{params.evaluate.split}.jsonl"))
    jobs = [Job("champion", model, 0.0, pixels) for pixels in CONTROLS]
    return [_asked(job, where / f"{job.pixels}.jsonl", 0, items, params) for job in jobs]


def _asked(job: Job, kept: Path, seed: int, items: Sequence[Item], params: Params) -> Round:
    if not kept.is_file():
        where = kept.parent
        where.mkdir(parents=True, exist_ok=True)
        run = StageRun(params.evaluate, out=where, scratch=where, seed=1000 + seed)
        run_jobs([(job, items)], Path("data/images"), params.rewards, params.launch, 0, run)
        os.replace(where / f"{job.name}.jsonl", kept)
    return {record["id"]: record for record in read_jsonl(kept)}


def resampled(
    rounds: Sequence[Round], new: str, rng: np.random.Generator, controls: Sequence[Round] = ()
) -> tuple[list[Record], list[Record]]:
    """Resample two evaluations of one policy, by scene within old and new part; the second has its controls."""
    scenes: dict[bool, dict[str, list[str]]] = {False: defaultdict(list), True: defaultdict(list)}
    for item, record in sorted(rounds[0].items()):
        scenes[record["source"] == new][record["scene"]].append(item)
    sides: tuple[list[Record], list[Record]] = ([], [])
    for part in scenes.values():
        names = sorted(part)
        for number, place in enumerate(rng.integers(0, len(names), len(names))):
            for item in part[names[place]]:
                for side, chosen in zip(sides, rng.choice(len(rounds), 2, replace=False), strict=True):
                    given = rounds[chosen][item]
                    side.append(given | {"id": f"{number}-{item}", "scene": f"{number}-{given['scene']}"})
                for given in (control[item] for control in controls if item in control):
                    sides[1].append(given | {"id": f"{number}-{item}", "scene": f"{number}-{given['scene']}"})
    return sides


def equals(
    rounds: Sequence[Round], controls: Sequence[Round], new: str, rule: Promotion, trials: int = TRIALS
) -> dict[str, Any]:
    """Count promotions with alpha in one look, and at the declared look's level."""
    whole, rng = rule.model_copy(update={"looks": 1, "resamples": RESAMPLES}), np.random.default_rng(2026)
    found: list[Decision] = []
    for trial in range(trials):
        champion, challenger = resampled(rounds, new, rng, controls)
        found.append(decide(champion, challenger, [new], 1, whole, trial))
    safe = [all(group.passed is not False for group in decision.groups) for decision in found]
    shown = [1.0 if decision.p is None else decision.p for decision in found]
    declared = level(1, rule.looks, rule.alpha, rule.spending)
    return {
        "evaluations": trials,
        "promoted": sum(decision.promoted for decision in found),
        "promoted_at_the_declared_look": sum(s and p <= declared for s, p in zip(safe, shown, strict=True)),
        "gain_alone": sum(p <= rule.alpha for p in shown),  # ignoring the margins
        "within_all_margins": sum(safe),
        "level": rule.alpha,
        "declared_level": round(declared, 6),
        "items": len(rounds[0]),
        "scenes": len({record["scene"] for record in rounds[0].values()}),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promotion_gate.null_rate", description=__doc__)
    parser.add_argument("folder", type=Path, help="a checkout with a finished main job")
    parser.add_argument("--model", type=Path, default=Path("models/grpo"))
    parser.add_argument("--new", default="digits", help="the source that counts as new")
    parser.add_argument("--out", type=Path, default=Path("reports/gate_equals"))
    args = parser.parse_args()
    out = args.out.resolve()
    os.chdir(args.folder)
    found = equals(rounds_of(args.model, out), controls_of(args.model, out), args.new, load_params().promotion)
    write_json(out / "equals.json", found | {"model": str(args.model)})
    print(sentence(found))
    return 0


def sentence(same: Record) -> str:
    """Describe the counts in one sentence."""
    return (
        f"Equals ({same['evaluations']} resampled evaluations of one policy, {same['items']:,} items, "
        f"{same['scenes']:,} scenes): promoted {same['promoted']} times with all of alpha ({same['level']:.0%}) in one "
        f"look, {same['promoted_at_the_declared_look']} at the level of a declared look "
        f"({same['declared_level']:.2%}); the gain alone passed {same['gain_alone']} times, all margins "
        f"{same['within_all_margins']} times."
    )


if __name__ == "__main__":
    sys.exit(main())
