"""`make seeds`: the main job and its controls for several seeds, each in a git worktree of its own.

    python -m flows.seeds [--seeds 0 1 2] [--error-rates 0.1 0.0 0.3]

The seed is a line in params.yaml, so every worktree is an ordinary checkout. A restart resumes: finished DVC stages
and finished arms are skipped. reports/seeds.json and reports/seeds.html are rewritten after every seed, so a stopped
run keeps the results so far.
"""

import argparse
import sys
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.versioning.worktrees import MAIN_JOB, checkout, run_in
from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json, read_jsonl, write_json
from wethink.common.paths import WORK
from wethink.config.params import load_params
from wethink.dag.experiment_stages import CONTROLS
from wethink.dag.main_stages import STAGES
from wethink.evaluation.summary import summarise
from wethink.experiments.control_results import compare, pool
from wethink.report.controls import seeds_page

HOME = WORK / "seeds"
REPORT, PAGE = Path("reports/seeds.json"), Path("reports/seeds.html")


@dataclass(frozen=True)
class Variant:
    """One worktree: a seed and an annotator error rate (None: the one in params.yaml)."""

    seed: int
    error_rate: float | None = None

    @property
    def name(self) -> str:
        return f"seed-{self.seed}" if self.error_rate is None else f"seed-{self.seed}-error-{self.error_rate:g}"

    @property
    def changes(self) -> dict[str, Any]:
        rate = {} if self.error_rate is None else {"synthesize.embedded.error_rate": self.error_rate}
        return {"seed": self.seed, **rate}


def run(variant: Variant) -> dict[str, Any]:
    """Run a variant's main job and controls; return its figures as `collect` does."""
    folder = checkout(HOME / variant.name, variant.changes)
    for name, command in {
        "main": MAIN_JOB,
        "controls": [sys.executable, "-m", "wethink", "controls"],
    }.items():
        print(f"== {variant.name}: {name}", flush=True)
        run_in(folder, command, f"{variant.name}-{name}")
    return collect(variant, folder)


def collect(variant: Variant, folder: Path) -> dict[str, Any]:
    """Collect a finished variant's figures."""
    config = load_params(folder / "params.yaml")
    summary: dict[str, Any] = read_json(folder / STAGES["evaluate"].out / "metrics.json")
    records, own = arm_records(folder), frozenset(summary.get("own", []))
    both = summary | summarise(records, config.evaluate.bootstrap, config.seed, own)
    compared = compare(named(records, own), both, config.evaluate.bootstrap, config.seed) | {"sources": both["sources"]}
    runs = {name: folder / WORK / "runs" / f"{name}.run.json" for name in (*STAGES, *CONTROLS)}
    timed = {name: read_json(path) for name, path in runs.items() if path.is_file()}
    return (
        summary
        | compared
        | {
            "seed": variant.seed,
            "error_rate": config.synthesize.embedded.error_rate,
            "seconds": {name: record["seconds"] for name, record in timed.items()},
            "cpu_seconds": {name: record["cpu_seconds"] for name, record in timed.items()},
        }
    )


def arm_records(folder: Path) -> list[Record]:
    """Read the evaluation records of the main job's checkpoints and of the arms."""
    return [
        r
        for stage in (STAGES["evaluate"], CONTROLS["evaluate_arms"])
        for r in read_jsonl(folder / stage.out / "items.jsonl")
    ]


def named(records: list[Record], own: Set[str]) -> list[Record]:
    """Return the records that the headline is over: those of the user's own sources, if there are any."""
    return [record for record in records if not own or record["source"] in own]


def own_records(folder: Path) -> list[Record]:
    """Read the arms' records that the headline is over."""
    summary = read_json(folder / STAGES["evaluate"].out / "metrics.json")
    return named(arm_records(folder), frozenset(summary.get("own", [])))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.seeds", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--error-rates", type=float, nargs="*", default=[0.1, 0.0, 0.3], help="beside the declared one; first seed only"
    )
    args = parser.parse_args()
    variants = [Variant(seed) for seed in args.seeds] + [Variant(args.seeds[0], rate) for rate in args.error_rates]
    try:
        done: list[tuple[Variant, dict[str, Any]]] = []
        for variant in variants:
            done.append((variant, run(variant)))
            declared = [v for v, _ in done if v.error_rate is None]
            pooled = pool([(v.seed, own_records(HOME / v.name)) for v in declared], load_params().evaluate.bootstrap)
            result = {
                "seeds": [summary for v, summary in done if v.error_rate is None],
                "error_rates": [summary for v, summary in done if v.error_rate is not None],
                "pooled": pooled,
            }
            write_json(REPORT, result)
            PAGE.write_text(seeds_page(result), encoding="utf-8")
    except UserError as error:
        print(f"wethink seeds: {error}", file=sys.stderr)
        return error.exit_code
    print(f"written: {REPORT} and {PAGE.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
