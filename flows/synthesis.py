"""From images to rows by models behind endpoints: parts fill the store of answers side by side, DVC assembles.

    python -m flows.synthesis

Runs `draw`, `ingest` and `synthesize` of the main job (flows/pipeline.py), which uses the same sub-flow. How many
parts, and how many of them at a time, stands in params.yaml, `launch.fill_shards` and `launch.fill_parallel`.
"""

import sys
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.futures import wait
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from tasks.execution.stage import Plan, draw, ingest, prepare, synthesize
from tasks.execution.synthesis_parts import fill_part, show_funnel
from tasks.orchestration.local_server import local_server
from tasks.tracking import mlflow_runs
from wethink.common.errors import UserError
from wethink.config.params import load_params


def annotated(plan: Plan, images: State[str], drawn: State[str]) -> State[str]:
    """The synthesize stage; where models annotate and something has changed, the store is filled first.

    Not where stages are shared: what another machine has bought is fetched by the stage, and only else bought by it.
    """
    params = load_params()
    if params.synthesize.annotator == "endpoints" and "synthesize" in plan.changed and not plan.shared:
        launch = params.launch
        parallel: Any = ThreadPoolTaskRunner(max_workers=launch.fill_parallel)
        fill_store.with_options(task_runner=parallel)(launch.fill_shards, launch.deadline_minutes)
    rows = synthesize(plan, images, drawn)
    if params.synthesize.annotator == "endpoints":
        show_funnel()
    return rows


@flow(name="fill", flow_run_name="fill {parts} parts", persist_result=False)
def fill_store(parts: int, deadline_minutes: float) -> State[Any]:
    """Buy all answers, part by part; parts that fail are tried again alone.

    Raises:
        UserError: a part failed for good; the message is its own sentence.
    """
    numbers = list(range(1, parts + 1))
    futures = fill_part.map(numbers, parts, deadline_minutes)
    wait(futures)
    failed = [future.state.message for future in futures if not future.state.is_completed()]
    if failed:
        raise UserError(failed[0] or "a part of the answers could not be bought.")
    return Completed(message=f"{parts} parts are in the store")


@flow(name="wethink-synthesis", persist_result=False)
def synthesis(experiment: str = "wethink") -> State[Any]:
    """Images in, rows out."""
    finished = False
    try:
        plan = prepare(experiment)
        drawn = draw(plan)
        rows = annotated(plan, ingest(plan, drawn), drawn)
        finished = True
        return Completed(message=f"the rows are in {rows.result()}")
    except UserError as failure:
        return Failed(message=str(failure))
    finally:
        mlflow_runs.close(finished)


def main() -> int:
    """Run the flow in the current folder; a failure's sentence is the last line, without a traceback."""
    try:
        load_params()
        with local_server():
            state = synthesis(return_state=True)
    except UserError as error:
        print(f"wethink: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nwethink: stopped; what was paid for is kept, the same command goes on.", file=sys.stderr)
        return 130
    print(f"wethink: {state.message}", file=sys.stderr)
    return 0 if state.is_completed() else 2


if __name__ == "__main__":
    sys.exit(main())
