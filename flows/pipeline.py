"""The main job: from images to an evaluated reasoning model and a page that shows it.

    python -m flows.pipeline

What runs is decided by DVC (a stage whose code, parameters and inputs are unchanged is Cached), what
numbers it uses by params.yaml, how long a stage may take by its `launch` section.
"""

import sys
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.synthesis import annotated
from tasks import results, tracking
from tasks.server import local_server
from tasks.stage import base, draw, evaluate, grpo, ingest, prepare, report, sft, validate
from wethink.config import load_params
from wethink.errors import UserError


@flow(name="wethink", persist_result=False)
def pipeline(experiment: str = "wethink") -> State[Any]:
    """Images in, an evaluated reasoning model out.

    Args:
        experiment: the MLflow experiment in which the run is kept.
    """
    finished = False
    try:
        plan = prepare(experiment)

        drawn = draw(plan)
        images = ingest(plan, drawn)
        rows = annotated(plan, images, drawn)
        valid = validate(plan, images, rows)

        start = base(plan, images, valid)
        warm = sft(plan, images, valid, start)
        trained = grpo(plan, images, valid, start, warm)

        scores = evaluate(plan, images, drawn, start, warm, trained)
        page = report(plan, images, rows, valid, warm, trained, scores)

        summary = results.summarise()
        results.show_in_prefect(summary)
        finished = True
        return Completed(message=f"the report is {page.result()}", data=summary)
    except UserError as failure:
        return Failed(message=str(failure))
    finally:
        tracking.close(finished)


def main() -> int:
    """Run the flow in the current folder; a failed stage's sentence is the last line, without a traceback."""
    try:
        load_params()  # a mistake in the file is told at once, before any service starts
        with local_server():
            state = pipeline(return_state=True)
    except UserError as error:
        print(f"wethink: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nwethink: stopped; what was finished is kept, the same command goes on.", file=sys.stderr)
        return 130
    if not state.is_completed():
        print(f"wethink: {state.message}", file=sys.stderr)
        return 2
    summary: Any = state.result()
    results.show_on_terminal(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
