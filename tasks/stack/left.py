"""Runs that a worker has left behind: without it none of its pool's can be alive, and each of them goes on.

A worker that dies is noticed by an automation (infra/automations.yaml). One that we stop ourselves, before keys are
rotated or a backup is brought back, would leave runs that stand as Running for ever, and hold their place in the queue.
"""

import datetime

from tasks.stack import rest
from tasks.stack.layout import Stack

ALIVE = ("RUNNING", "PENDING", "CANCELLING")


def go_on(stack: Stack, pool: str) -> int:
    """Let every run of the pool that stands as alive be started again, or be cancelled if that was asked; how many."""
    api = f"{stack.url('prefect')}/api/flow_runs"
    wanted = {"flow_runs": {"state": {"type": {"any_": list(ALIVE)}}}, "work_pools": {"name": {"any_": [pool]}}}
    runs = rest.call("POST", f"{api}/filter", wanted)
    for run in runs:
        if run["state_type"] == "CANCELLING":
            state = {"type": "CANCELLED", "message": "its worker was stopped"}
        else:
            now = datetime.datetime.now(datetime.UTC).isoformat()
            state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "its worker was stopped; it goes on"}
            state |= {"state_details": {"scheduled_time": now}}  # type: ignore[dict-item]
        rest.call("POST", f"{api}/{run['id']}/set_state", {"state": state, "force": True})
    return len(runs)
