"""Orphaned flow runs of a stopped worker: kill their processes and reschedule the runs.

An automation (infra/automations.yaml) handles a worker that dies. A worker that the stack stops itself, before a
password rotation or a restore, would leave runs as Running for ever, and they would hold their queue's slots.
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
    """Reschedule the pool's live runs and cancel the cancelling ones; return how many.

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
            state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "its worker was stopped; it will resume"}
            state |= {"state_details": {"scheduled_time": now}}
        with contextlib.suppress(urllib.error.HTTPError):  # the run was deleted meanwhile
            http.ask("POST", f"{api}/{run['id']}/set_state", {"state": state, "force": True})
    return len(runs)


def end_orphans(stack: Stack) -> int:
    """Kill the stack's processes that descend from no service; return how many.

    A flow run has its own session, which outlives the worker; its stage ends with the run.
    """
    pid = stack.home / "supervisord.pid"
    try:
        top = psutil.Process(int(pid.read_text(encoding="utf-8")))
        family = {top.pid, *(child.pid for child in top.children(recursive=True)), os.getpid()}
        family |= {parent.pid for parent in psutil.Process().parents()}
    except (OSError, ValueError, psutil.Error):
        return 0  # no supervisord runs: `up` calls sweep()
    orphans = [found for found in psutil.process_iter() if found.pid not in family and belongs(found, stack)]
    for process in orphans:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(orphans, timeout=10)
    return len(orphans)


def belongs(process: psutil.Process, stack: Stack) -> bool:
    """Return whether a process's environment has the stack's marker variable."""
    if process.pid == os.getpid():
        return False
    try:
        return bool(process.environ().get(MARK) == str(stack.home) and process.status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, OSError):  # it has ended, or belongs to another user
        return False
