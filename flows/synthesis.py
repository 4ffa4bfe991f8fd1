"""Row synthesis through LLM endpoints: parallel parts fill the response store, DVC assembles rows.

    python -m flows.synthesis

Runs the stages `draw`, `ingest` and `synthesize` of the main job; flows/pipeline.py calls the same sub-flow.
`launch.fill_shards` in params.yaml sets the number of parts, `launch.fill_parallel` how many run at a time.
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
    """Run the synthesize stage, filling the response store first if needed.

    The store is filled first if models are asked (`annotator: endpoints`, `write_paths`) and the stage has changed.
    With `plan.shared` it is not: the stage fetches rows that another machine has pushed and sends requests only if
    there are none.
    """
    params = load_params()
    asks = params.synthesize.annotator == "endpoints" or params.synthesize.write_paths
    if asks and "synthesize" in plan.changed and not plan.shared:
        launch = params.launch
        parallel: Any = ThreadPoolTaskRunner(max_workers=launch.fill_parallel)
        fill_store.with_options(task_runner=parallel)(launch.fill_shards, launch.deadline_minutes)
    rows = synthesize(plan, images, drawn)
    if params.synthesize.annotator == "endpoints":
        show_funnel()
    return rows


@flow(name="fill", flow_run_name="fill {parts} parts", persist_result=False)
def fill_store(parts: int, deadline_minutes: float) -> State[Any]:
    """Send all model requests in parallel parts and store the responses.

    A failed part is retried alone; its stored responses are not sent or billed again.

    Raises:
        UserError: a part failed after all retries; the message is that part's.
    """
    numbers = list(range(1, parts + 1))
    futures = fill_part.map(numbers, parts, deadline_minutes)
    wait(futures)
    failed = [future.state.message for future in futures if not future.state.is_completed()]
    if failed:
        raise UserError(failed[0] or "a part of the model requests failed.")
    return Completed(message=f"all {parts} parts are in the response store")


@flow(name="wethink-synthesis", persist_result=False)
def synthesis(experiment: str = "wethink") -> State[Any]:
    """Synthesise question rows from the configured images through LLM endpoints.

    Runs `draw`, `ingest` and `synthesize`; unchanged stages are Cached. Stored responses are reused; only misses are
    sent and billed.

    Args:
        experiment: the MLflow experiment that records the run.
    """
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
    """Run the flow in the current folder; print a failure without a traceback."""
    try:
        load_params()
        with local_server():
            state = synthesis(return_state=True)
    except UserError as error:
        print(f"wethink: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nwethink: stopped; the stored responses are kept, the same command goes on.", file=sys.stderr)
        return 130
    print(f"wethink: {state.message}", file=sys.stderr)
    return 0 if state.is_completed() else 2


if __name__ == "__main__":
    sys.exit(main())
