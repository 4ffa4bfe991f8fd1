"""`make ablations`: the paper's ablations in miniature, arm by arm, for several seeds.

    python -m flows.ablations [--seeds 0 1 2] [--only ARM …] [--budget full|short|smoke]

Each seed has a git worktree with a finished main job. An arm changes one training setting and shares that job's data,
base and SFT checkpoints. A restart skips finished arms. Each arm's figures go to
`reports/ablations/seed-<n>/<arm>.json`; `reports/ablations.json` and `reports/ablations.html` are rewritten after
every seed. The report names a reduced budget: `short` trains a third as long on half as many evaluation questions
(profiles/short.yaml); `smoke` tests mechanics and supports no claim.
"""

import argparse
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from tasks.execution import command
from tasks.versioning.worktrees import MAIN_JOB, checkout, run_in
from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json, read_jsonl, write_json
from wethink.common.paths import WORK
from wethink.config.params import load_params
from wethink.dag.experiment_stages import ABLATIONS
from wethink.experiments.ablation_results import arm_result, result
from wethink.experiments.arms import ARMS, MAIN
from wethink.report.ablations import ablations_page

HOME = WORK / "ablations"
Budget = Literal["full", "short", "smoke"]  # all but the first are overlays in profiles/
REPORT, PAGE, ARM_REPORTS = Path("reports/ablations.json"), Path("reports/ablations.html"), Path("reports/ablations")


def needed(only: list[str]) -> list[str]:
    """List the named arms with their starting arms and controls, in table order.

    Raises:
        UserError: a name is not in `ARMS`.
    """
    if unknown := sorted(set(only) - set(ARMS)):
        raise UserError(f"--only {unknown[0]}: no such arm; there are {', '.join(ARMS)}.")
    wanted = set(only or ARMS) | {"more_sft", "rejection_sft"}
    for name in reversed(ARMS):  # a start stands above the arms that use it
        if name in wanted and ARMS[name].start in ARMS:
            wanted.add(ARMS[name].start)
    return [name for name in ARMS if name in wanted]


def folder_of(seed: int, budget: Budget) -> str:
    """Return the name of a seed's worktree and report folders."""
    return f"seed-{seed}" if budget == "full" else f"seed-{seed}-{budget}"


def run_seed(seed: int, arms: list[str], budget: Budget) -> list[dict[str, Any]]:
    """Run a seed's main job, then every arm; return the arms' figures.

    Each arm's figures are also written to `reports/ablations/` as soon as the arm ends.
    """
    name = folder_of(seed, budget)
    folder = checkout(HOME / name, {"seed": seed}, [] if budget == "full" else [budget])
    print(f"== {name}: main job", flush=True)
    run_in(folder, MAIN_JOB, f"ablations-{name}-main")
    found: list[dict[str, Any]] = []
    for arm in [*MAIN, *arms]:
        stages = [stage for stage in (f"arm_{arm}", f"measure_{arm}") if stage in ABLATIONS]
        print(f"== {name}: {arm}", flush=True)
        run_in(folder, [sys.executable, "-m", "wethink", "arms", *stages], f"ablations-{name}-{arm}")
        done = arm_result(arm, seed, folder, load_params(folder / "params.yaml").evaluate.bootstrap)
        write_json(ARM_REPORTS / name / f"{arm}.json", done)
        found.append(done)
    return found


def records_of(seed: int, budget: Budget, arm: str) -> list[Record]:
    """Read an arm's evaluation records."""
    return list(read_jsonl(HOME / folder_of(seed, budget) / ABLATIONS[f"measure_{arm}"].out / "items.jsonl"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.ablations", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", default=[], metavar="ARM", help=f"arms to run, of {', '.join(ARMS)}")
    parser.add_argument("--budget", choices=get_args(Budget), default="full", help="smoke: mechanics only, no claims")
    args = parser.parse_args()
    try:
        arms, found = needed(args.only), list[dict[str, Any]]()
        for seed in args.seeds:
            found += run_seed(seed, arms, args.budget)
            records = {
                (s, arm): records_of(s, args.budget, arm)
                for s in args.seeds[: args.seeds.index(seed) + 1]
                for arm in (*MAIN, *arms)
            }
            whole = result(found, records, load_params().evaluate.bootstrap, args.budget)
            write_json(REPORT, whole)
            PAGE.write_text(ablations_page(read_json(REPORT)), encoding="utf-8")
    except UserError as error:
        print(f"wethink ablations: {error}", file=sys.stderr)
        return error.exit_code
    if args.budget != "full":
        print(f"REDUCED BUDGET (profiles/{args.budget}.yaml)")
    print(f"written: {REPORT} and {PAGE.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

Arm = Enum("Arm", {name: name for name in ARMS}, type=str)  # type: ignore[misc]  # so that the UI offers a list
Seeds = Annotated[list[int], Field(min_length=1, max_length=10)]


@flow(name="ablation", persist_result=False)
def ablation(arms: list[Arm], seeds: Seeds = [0, 1, 2], budget: Budget = "full") -> State[Any]:  # noqa: B006
    """Train and evaluate ablation arms, with their equal-compute controls.

    A restart skips finished seeds and arms. The report is `reports/ablations.html` on the worker's machine.

    Args:
        arms: arms to train (wethink/experiments/arms.py defines each); arms that they start from are trained too.
        seeds: random seeds; each has its own git worktree and main job.
        budget: `full`, `short` (a third of the training, half the questions) or `smoke` (mechanics only, no claims).
    """
    try:
        names = [arm.value for arm in arms]
        minutes = load_params().launch.deadline_minutes
        for done, seed in enumerate(seeds):  # finished seeds are skipped; the report covers all seeds so far
            told = map(str, seeds[: done + 1])
            chosen = ["--seeds", *told, "--only", *names, "--budget", budget]
            command.run(f"ablations of seed {seed}", "flows.ablations", chosen, 10 * minutes * (3 + len(names)))
        page = "reports/ablations.html"
        create_markdown_artifact(f"{', '.join(names)}: `{page}` on the worker's machine", key="ablations")
        return Completed(message=f"{', '.join(names)} for seeds {', '.join(map(str, seeds))}: {page}")
    except UserError as failure:
        return Failed(message=str(failure))
