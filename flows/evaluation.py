"""Benchmark evaluation of a checkpoint: champion, challenger, registered version or folder.

    python -m flows.evaluation [champion] [--tsv data/suite/*.tsv]

Runs `python -m wethink benchmark` as a Prefect flow. It resumes item by item and reports blank-image and swapped-image
controls beside every figure. Without tables it evaluates the held-out suite.
"""

import argparse
import sys
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from tasks.execution import command as commands
from tasks.orchestration.local_server import local_server
from tasks.tracking import model_registry
from wethink.common.errors import UserError
from wethink.config.params import load_params

SUITE = Path("data/suite")
Checkpoint = Annotated[str, Field(examples=["champion", "challenger", "3", "models/grpo"])]
Tables = Annotated[list[str], Field(examples=[["MMMU_DEV_VAL.tsv"]])]
Samples = Annotated[int, Field(ge=0, le=64)]


@flow(name="evaluate-checkpoint", flow_run_name="evaluate {checkpoint}", persist_result=False)
def evaluate_checkpoint(checkpoint: Checkpoint = "champion", tables: Tables = [], samples: Samples = 0) -> State[Any]:  # noqa: B006
    """Evaluate a checkpoint on benchmark tables.

    Stored responses are reused, so an interrupted run resumes. The figures, with 95 % intervals and the blank-image and
    swapped-image controls, are in the run's `evaluation` artifact.

    Args:
        checkpoint: `champion`, `challenger`, a version number, or a checkpoint folder on the worker's machine.
        tables: TSV files in VLMEvalKit's format. Default: the main job's held-out suite, built first if missing.
        samples: sampled responses per question beside the greedy one, for pass@k.
    """
    try:
        folder, label = _checkpoint(checkpoint)
        launch, evaluate = load_params().launch, load_params().evaluate
        if not tables:
            commands.run("suite", "wethink", ["suite"], launch.deadline_minutes)
            tables = [str(path) for path in sorted(SUITE.glob("*.tsv"))]
        command = ["benchmark", "--tsv", *tables, "--model", str(folder), "--name", label]
        command += ["--samples", str(samples), "--max-new-tokens", str(evaluate.max_new_tokens)]
        commands.run(f"benchmark {label}", "wethink", command, 10 * launch.deadline_minutes)
        rows = _rows(label, [Path(table).stem for table in tables])
        create_table_artifact(rows, key="evaluation", description=f"{label}, with 95 % intervals")
        return Completed(message=f"{label}: {'; '.join(_said(row) for row in rows)}", data=rows)
    except UserError as failure:
        return Failed(message=str(failure))


def _checkpoint(name: str) -> tuple[Path, str]:
    """Return a checkpoint's folder (verified if registered) and its label.

    Raises:
        UserError: the name matches no alias, version or checkpoint folder, or the checkpoint is damaged.
    """
    if name.isdecimal():
        return model_registry.verified(model_registry.get(name)), f"version-{name}"
    if name in (model_registry.CHAMPION, model_registry.CHALLENGER):
        found = model_registry.named(name)
        if found is None:
            raise UserError(f"there is no {name}; `python -m flows.promote list` shows what there is.")
        return model_registry.verified(found), f"version-{found.number}"
    if not (Path(name) / "config.json").is_file():
        raise UserError(f"'{name}' is neither champion, challenger, a version's number nor a checkpoint folder.")
    return Path(name), Path(name).name


def _rows(label: str, names: list[str]) -> list[dict[str, Any]]:
    """Return one row per table: its reported figure and its control figures."""
    from wethink.evaluation.benchmarks.results import board

    rows = []
    for entry in board()["benchmarks"]:
        for row in entry.get("rows", []):
            if entry["name"] in names and row.get("label") == label and "figures" in row:
                figure, found = next(iter(row["figures"].items()))
                controls = {name: control["value"] for name, control in row["controls"].items()}
                rows.append({"table": entry["name"], "figure": figure, **found, **controls})
    return rows


def _said(row: dict[str, Any]) -> str:
    value = "withheld" if row.get("value") is None else f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    return f"{row['table']} {row['figure']} {value}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.evaluation", description="Evaluate a checkpoint.")
    parser.add_argument("checkpoint", nargs="?", default="champion", help="champion, challenger, a number or a folder")
    parser.add_argument("--tsv", nargs="*", default=[], help="tables in VLMEvalKit's format (default: held-out suite)")
    parser.add_argument("--samples", type=int, default=0, metavar="K", help="sampled responses per item, for pass@k")
    args = parser.parse_args()
    try:
        load_params()
        with local_server():
            state = evaluate_checkpoint(args.checkpoint, args.tsv, args.samples, return_state=True)
    except UserError as error:
        print(f"wethink evaluation: {error}", file=sys.stderr)
        return error.exit_code
    print(f"wethink evaluation: {state.message}", file=sys.stdout if state.is_completed() else sys.stderr)
    return 0 if state.is_completed() else 2


if __name__ == "__main__":
    sys.exit(main())
