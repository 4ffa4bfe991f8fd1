"""What a worker has left behind: processes of its runs are ended, and then each of the runs goes on.

A worker that dies is noticed by an automation (infra/automations.yaml). One that we stop ourselves, before keys are
rotated or a backup is brought back, would leave runs that stand as Running for ever, and hold their place in the queue.
"""

import contextlib
import datetime
import os
import urllib.error
from typing import Any

import psutil

from tasks.stack import http
from tasks.stack.layout import MARK, Stack

ALIVE = ("RUNNING", "PENDING", "CANCELLING")


def reschedule_runs(stack: Stack, pool: str) -> int:
    """Let every run of the pool that stands as alive be started again, or be cancelled if that was asked; how many.

    Raises:
        UserError: Prefect's server does not answer.
    """
    end_orphans(stack)
    api = f"{stack.url('prefect')}/api/flow_runs"
    wanted = {"flow_runs": {"state": {"type": {"any_": list(ALIVE)}}}, "work_pools": {"name": {"any_": [pool]}}}
    runs = http.ask("POST", f"{api}/filter", wanted)
    for run in runs:
        if run["state_type"] == "CANCELLING":
            state: dict[str, Any] = {"type": "CANCELLED", "message": "its worker was stopped"}
        else:
            now = datetime.datetime.now(datetime.UTC).isoformat()
            state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "its worker was stopped; it goes on"}
            state |= {"state_details": {"scheduled_time": now}}
        with contextlib.suppress(urllib.error.HTTPError):  # deleted just now
            http.ask("POST", f"{api}/{run['id']}/set_state", {"state": state, "force": True})
    return len(runs)


def end_orphans(stack: Stack) -> int:
    """Kill what belongs to the stack and to none of its services; return how many there were.

    A run has a session of its own, which outlives a worker; its stage dies with it.
    """
    pid = stack.home / "supervisord.pid"
    try:
        top = psutil.Process(int(pid.read_text(encoding="utf-8")))
        family = {top.pid, *(child.pid for child in top.children(recursive=True)), os.getpid()}
        family |= {parent.pid for parent in psutil.Process().parents()}
    except (OSError, ValueError, psutil.Error):
        return 0  # no supervisord: `up` sweeps
    orphans = [found for found in psutil.process_iter() if found.pid not in family and belongs(found, stack)]
    for process in orphans:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(orphans, timeout=10)
    return len(orphans)


def belongs(process: psutil.Process, stack: Stack) -> bool:
    """Whether a process was started by the stack, at whatever remove: its environment says so."""
    if process.pid == os.getpid():
        return False
    try:
        return bool(process.environ().get(MARK) == str(stack.home) and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OSError):  # it has ended, or belongs to somebody else
        return False
