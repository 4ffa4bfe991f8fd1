"""Prefect tasks that fill the response store in parts: `python -m wethink synthesize --fill i/n`.

A failed part is retried alone; its stored responses are reused. Nothing is published here: the DVC stage assembles the
rows from the store (tasks/execution/stage.py).
"""

import sys
from pathlib import Path

from prefect import task
from prefect.artifacts import create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from tasks.processes import child_process, retries
from tasks.versioning import dvc_status
from wethink.common.jsonl import read_json
from wethink.common.paths import WORK
from wethink.dag.main_stages import STAGES
from wethink.synthesis.api_run import LEDGER
from wethink.synthesis.funnel import table


def command(part: int, parts: int) -> list[str]:
    """Build the command that fills one part."""
    return [sys.executable, "-m", "wethink", "synthesize", "--fill", f"{part}/{parts}"]


@task(
    name="fill",
    description="Send the model requests for one part of the images and store the responses.",
    task_run_name="fill {part} of {parts}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=retries.RETRIES,
    retry_delay_seconds=retries.PAUSES,
    retry_jitter_factor=0.5,
    retry_condition_fn=retries.another_try,
)
def fill_part(part: int, parts: int, deadline_minutes: float) -> State[int]:
    """Send one part's requests; the state's message has the reason of a failure."""
    log = WORK / "logs" / f"fill-{part}-of-{parts}.log"
    ended = child_process.run(command(part, parts), log, deadline_minutes * 60)
    if ended.code == 0:
        return Completed(message=f"part {part} of {parts} is in the response store", data=part)
    sentence = dvc_status.failure("synthesize", ended.code, ended.output)
    if ended.late:
        sentence = f"part {part} of {parts}: stopped after {deadline_minutes:g} minutes (launch.deadline_minutes)"
    get_run_logger().warning("%s (all of its output: %s)", sentence, log)
    return Failed(name="Failed" if ended.late else retries.kind(ended.code, ended.output), message=sentence)


def show_funnel() -> None:
    """Publish the last synthesis's funnel and costs as tables in Prefect's UI."""
    figures = read_json(Path(STAGES["synthesize"].out) / "metrics.json")
    create_table_artifact(table(figures), key="synthesis-funnel", description="Outcomes of images and candidates")
    if LEDGER.is_file():
        create_table_artifact(read_json(LEDGER)["calls"], key="synthesis-bill", description="Calls, tokens and cost")
