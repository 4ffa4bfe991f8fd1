"""The main job: from images to an evaluated reasoning model and a page that shows it.

    python -m flows.pipeline [--save-as NAME]

What runs is decided by DVC (a stage whose code, parameters and inputs are unchanged is Cached), what
numbers it uses by params.yaml, how long a stage may take by its `launch` section.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Failed

from flows.save_version import VersionName
from flows.synthesis import annotated
from tasks.execution import summary as results
from tasks.execution import terminal
from tasks.execution.stage import base, draw, evaluate, grpo, ingest, prepare, report, sft, validate
from tasks.orchestration.local_server import local_server
from tasks.tracking import mlflow_runs
from tasks.versioning import commits
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json
from wethink.config.params import load_params


@flow(name="wethink", persist_result=False)
def pipeline(experiment: str = "wethink", save_as: VersionName | None = None) -> State[Any]:
    """Images in, an evaluated reasoning model out.

    Args:
        experiment: the MLflow experiment in which the run is kept.
        save_as: keep what comes out as the version data/<name>: committed and tagged, after DVC's remote has it. Each
            stage is then shared as it ends: one that another machine has run is fetched instead of run.
    """
    finished = False
    try:
        if save_as is not None:
            commits.ready(save_as)
        plan = prepare(experiment, shared=save_as is not None and commits.has_remote(Path.cwd()))

        drawn = draw(plan)
        images = ingest(plan, drawn)
        refuse_unmeasurable(Path(str(images.result())), load_params().evaluate.split)
        rows = annotated(plan, images, drawn)
        valid = validate(plan, images, rows)

        start = base(plan, images, valid)
        warm = sft(plan, images, valid, start)
        trained = grpo(plan, images, valid, start, warm)

        scores = evaluate(plan, images, drawn, start, warm, trained)
        page = report(plan, images, rows, valid, warm, trained, scores)

        summary = results.summarise()
        results.show_in_prefect(summary)
        kept = f"; {commits.save_data(save_as)}" if save_as is not None else ""
        finished = True
        return Completed(message=f"the report is {page.result()}{kept}", data=summary)
    except UserError as failure:
        return Failed(message=str(failure))
    finally:
        mlflow_runs.close(finished)


def refuse_unmeasurable(images: Path, split: str) -> None:
    """Check that `evaluate` will have images to ask about, before rows are written and models trained.

    Raises:
        UserError: none is held out.
    """
    found = read_json(images / "metrics.json")
    if "splits" in found and not found["splits"].get(split):
        raise UserError(
            f"none of the {found['images']:,} images is held out for evaluation ('{split}'), so no result could be "
            f"measured: raise {split} of a source of your own in ingest.sources, or keep the drawn sources."
        )


def main() -> int:
    """Run the flow in the current folder and show its stages; a failure is a sentence, without a traceback."""
    parser = argparse.ArgumentParser(prog="python -m flows.pipeline", description="The main job, in this folder.")
    parser.add_argument(
        "--save-as", metavar="NAME", help="keep what comes out as the version data/NAME (flows.save_version)"
    )
    args = parser.parse_args()
    try:
        load_params()  # a mistake in the file is told at once, before any service starts
        print(f"Starting; Prefect's, DVC's and the launcher's output goes to {terminal.RUN_LOG}.", flush=True)
        with local_server(), terminal.display() as shown:
            shown.say(f"Watch it at {PREFECT_API_URL.value().removesuffix('/api')}; DVC decides which stages must run.")
            state = pipeline(save_as=args.save_as, return_state=True)
    except UserError as error:
        print(f"wethink: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nwethink: stopped; what was finished is kept, the same command goes on.", file=sys.stderr)
        return 130
    if not state.is_completed():
        print(terminal.failure(state.message or "the flow did not complete.", shown.rows), file=sys.stderr)
        return 2
    summary: Any = state.result()
    results.show_on_terminal(summary, terminal.RUN_LOG)
    return 0


if __name__ == "__main__":
    sys.exit(main())
