"""What kind of failure it was decides whether another try is worth it, and when: not all of them are the same.

A child that was killed (most often for want of memory) gets two more tries at once, one that met another DVC's lock
or a busy endpoint gets more of them with growing pauses. A service that does not answer (registry, Prefect's API,
bucket) is waited for. A full disk, a mistake and a defect stay what they are however often they are tried: a person is
needed, and the message says for what.
"""

import errno
import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from prefect import Task
from prefect.client.schemas.objects import State

from wethink.common.errors import TRY_AGAIN_LATER, UserError, disk_full

DVC_FAILED = 255  # DVC's exit code, of whatever it was
RANK_LOST = 75  # a stage's exit code when one of its ranks ended without a reason of its own
INTERRUPTED, LOCKED, BUSY = "Interrupted", "Locked", "Busy"  # names of a failed state: the kinds worth another try
TRIES = {INTERRUPTED: 2, LOCKED: 5, BUSY: 5}  # more of them, after the first
RETRIES = max(TRIES.values())
PAUSES: list[float] = [1, 10, 30, 60, 120]  # seconds between them
STARTS = 5  # of one flow run that dies
PATIENCE = 600.0  # seconds for which a service may be away
AWAY = {  # package → exceptions that say so; named, since importing them takes seconds
    "botocore": {"EndpointConnectionError", "ConnectionClosedError", "ConnectTimeoutError", "ReadTimeoutError"},
    "httpx": {"ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "RemoteProtocolError", "WriteError"},
    "prefect": {"PrefectHTTPStatusError"},
    "psycopg2": {"OperationalError", "InterfaceError"},
    "requests": {"ConnectionError", "Timeout"},
    "sqlalchemy": {"OperationalError", "InterfaceError"},
}
REMOTE_AWAY = ("Could not connect to the endpoint", "SlowDown", "Service Unavailable", "max retries", "timed out")
P = ParamSpec("P")
T = TypeVar("T")


def kind(code: int, output: str) -> str:
    """The name of the state in which a child's failure ends: one of those worth another try, or `Failed`.

    Args:
        code: its exit code: of `dvc repro`, which tells that of the stage in its output, or of a stage itself.
        output: the last part of what it wrote.
    """
    if "Unable to acquire lock" in output or "it is being blocked by:" in output:
        return LOCKED
    told = re.findall(r"exited with (-?\d+)", output)
    ended = int(told[-1]) if told else code
    if ended == TRY_AGAIN_LATER or (ended == DVC_FAILED and not told and remote_away(output)):
        return BUSY
    killed = code < 0 or ended < 0 or ended in (RANK_LOST, 128 + 9, 128 + 15)
    return INTERRUPTED if killed else "Failed"


def remote_away(output: str) -> bool:
    """Whether DVC or git says that it cannot reach its remote now."""
    return any(word in output for word in REMOTE_AWAY)


def another_try(task: Task[..., Any], task_run: Any, state: State[Any]) -> bool:
    """Whether Prefect should run a task once more (its `retry_condition_fn`)."""
    return bool(task_run.run_count <= TRIES.get(state.name or "", 0))


def refuse_endless_starts() -> None:
    """End a flow run that dies whenever it is started: the automation would start it for ever (infra/automations.yaml).

    Raises:
        UserError: it has been started too often.
    """
    from prefect.runtime import flow_run

    if (flow_run.run_count or 0) > STARTS and _deaths(flow_run.id) >= STARTS:
        raise UserError(
            f"this run was started {STARTS} times and died each time; see the worker's log for why, then run it again: "
            "what was done is kept."
        )


def _deaths(flow_run: str) -> int:
    """How often a run was lost; a worker that was stopped on purpose does not count."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return sum(state.name == "Lost" for state in client.read_flow_run_states(UUID(flow_run)))


def retry_while_unavailable(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `work`, called again while a service that it needs is away; it must bear being called again.

    Raises:
        UserError: the service stayed away for `PATIENCE` seconds, or the disk is full.
    """
    begin = time.monotonic()
    for pause in _pauses():
        try:
            return work(*args, **kwargs)
        except UserError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise UserError(disk_full(error)) from error
            if not away(error):
                raise
            first = (str(error).splitlines() or [""])[0][:200]
            if time.monotonic() - begin > PATIENCE:
                raise UserError(
                    f"{work.__name__}: a service did not answer for {PATIENCE / 60:.0f} minutes ({first}); "
                    "see that it runs, then Retry: what was done is kept."
                ) from error
            logging.getLogger(__name__).warning("%s: %s; trying again in %d s", type(error).__name__, first, pause)
            time.sleep(pause)
    raise AssertionError("the pauses do not end")


def _pauses() -> Iterator[int]:
    for number in range(10**6):
        yield min(2**number, 30)


def away(error: BaseException) -> bool:
    """Whether an exception, or one that led to it, says that a service cannot be reached now.

    >>> away(ConnectionRefusedError())
    True
    >>> away(ValueError())
    False
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, ConnectionError | TimeoutError) or type(found).__name__ == "NotAccepted":
            return True
        if getattr(found, "error_code", None) == "TEMPORARILY_UNAVAILABLE":  # MLflow's name for a lost database
            return True
        status = getattr(getattr(found, "response", None), "status_code", None)
        if type(found).__name__ in AWAY.get(type(found).__module__.split(".")[0], ()) and (status or 503) >= 500:
            return True
        if found.__class__.__name__ == "ClientError" and _s3_status(found) >= 500:
            return True
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return False


def _s3_status(error: BaseException) -> int:
    metadata = getattr(error, "response", {}).get("ResponseMetadata", {})
    return int(metadata.get("HTTPStatusCode", 0))
