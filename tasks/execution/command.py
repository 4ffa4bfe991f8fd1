"""Prefect task that runs any command of this project as a child process with deadline and log."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.processes import child_process, retries
from tasks.versioning import dvc_status
from wethink.common.errors import UserError
from wethink.common.paths import WORK


@task(
    name="command",
    task_run_name="{name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=retries.RETRIES,
    retry_delay_seconds=retries.PAUSES,
    retry_condition_fn=retries.another_try,
)
def _command(name: str, module: str, arguments: list[str], folder: Path, minutes: float) -> State[Any]:
    log = WORK / "logs" / f"{name.replace(' ', '-').replace('/', '-')}.log"
    command = ["env", "-C", str(folder), sys.executable, "-m", module, *arguments]
    ended = child_process.run(command, log.absolute(), minutes * 60)
    if ended.late:
        return Failed(message=f"{name}: stopped after {minutes:g} minutes; a restart resumes it.")
    if ended.code != 0:
        said = dvc_status.failure(module if module != "wethink" else arguments[0], ended.code, ended.output)
        return Failed(name=retries.kind(ended.code, ended.output), message=f"{said} (all of its output: {log})")
    return Completed(message=name)


def run(name: str, module: str, arguments: Sequence[str], minutes: float, folder: Path | None = None) -> None:
    """Run `python -m <module> <arguments>` as a Prefect task, with retries.

    Args:
        name: the task's name in the UI and of its log in .wethink/logs.
        module: e.g. `wethink`, whose messages begin with `wethink <first argument>: `.
        arguments: the command's arguments.
        minutes: the deadline.
        folder: the working folder; default: the current one.

    Raises:
        UserError: the command failed; the message is its own.
    """
    retries.refuse_endless_starts()
    state: State[Any] = _command(name, module, list(arguments), folder or Path.cwd(), minutes, return_state=True)
    if not state.is_completed():
        raise UserError(state.message or f"{name} did not complete.")
