"""Buying answers in parts: one Prefect task per part, which runs `python -m wethink synthesize --fill i/n`.

A part that fails is tried again alone; what it had bought is in the store, and is not bought again. Nothing is
published here: the DVC stage assembles the rows from the store (tasks/execution/stage.py).
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
    """What buys one part."""
    return [sys.executable, "-m", "wethink", "synthesize", "--fill", f"{part}/{parts}"]


@task(
    name="fill",
    description="buy the answers of one part of the images",
    task_run_name="fill {part} of {parts}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=retries.RETRIES,
    retry_delay_seconds=retries.PAUSES,
    retry_jitter_factor=0.5,
    retry_condition_fn=retries.another_try,
)
def fill_part(part: int, parts: int, deadline_minutes: float) -> State[int]:
    """Buy one part; the state's message is a sentence for people."""
    log = WORK / "logs" / f"fill-{part}-of-{parts}.log"
    ended = child_process.run(command(part, parts), log, deadline_minutes * 60)
    if ended.code == 0:
        return Completed(message=f"part {part} of {parts} is in the store", data=part)
    sentence = dvc_status.failure("synthesize", ended.code, ended.output)
    if ended.late:
        sentence = f"part {part} of {parts}: stopped after {deadline_minutes:g} minutes (launch.deadline_minutes)"
    get_run_logger().warning("%s (all of its output: %s)", sentence, log)
    return Failed(name="Failed" if ended.late else retries.kind(ended.code, ended.output), message=sentence)


def show_funnel() -> None:
    """The funnel and the bill of the last synthesis, as tables in Prefect's UI."""
    figures = read_json(Path(STAGES["synthesize"].out) / "metrics.json")
    create_table_artifact(table(figures), key="synthesis-funnel", description="What became of images and candidates")
    if LEDGER.is_file():
        create_table_artifact(read_json(LEDGER)["calls"], key="synthesis-bill", description="Calls, tokens and cost")
