"""Retry policy: classification of failures, retries with backoff, waiting for unavailable services.

A killed child (usually out of memory) gets two retries; DVC's lock and a busy endpoint get five, all with growing
pauses. A call to an unavailable service (registry, Prefect's API, bucket) is repeated for `PATIENCE` seconds. A full
disk, a user's mistake and a defect are not retried; the message names the remedy.
"""

import logging
import re
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar
from uuid import UUID

from prefect import Task
from prefect.client.schemas.objects import State
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_exponential

from wethink.common.errors import TRY_AGAIN_LATER, UserError, disk_full, is_disk_full

DVC_FAILED = 255  # DVC's exit code for every kind of failure
RANK_LOST = 75  # a stage's exit code when one of its ranks ended without a reason of its own
INTERRUPTED, LOCKED, BUSY = "Interrupted", "Locked", "Busy"  # names of failed states that are retried
TRIES = {INTERRUPTED: 2, LOCKED: 5, BUSY: 5}  # retries after the first attempt
RETRIES = max(TRIES.values())
PAUSES: list[float] = [1, 10, 30, 60, 120]  # seconds between attempts
STARTS = 5  # starts of one flow run whose process keeps dying
PATIENCE = 600.0  # seconds that a service may be unavailable
LONGEST_PAUSE = 30.0  # seconds between calls to an unavailable service; the first pause is 1 s, each next one twice it
AWAY = {  # package → exceptions that mean "unavailable"; by name, since importing the packages takes seconds
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
    """Classify a child's failure as a state name: one that is retried, or `Failed`.

    Args:
        code: exit code of the stage itself or of `dvc repro`, whose output holds the stage's code.
        output: the end of the child's output.
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
    """Return whether DVC's or git's output reports an unreachable remote."""
    return any(word in output for word in REMOTE_AWAY)


def another_try(task: Task[..., Any], task_run: Any, state: State[Any]) -> bool:
    """Return whether Prefect should retry a task (its `retry_condition_fn`)."""
    return bool(task_run.run_count <= TRIES.get(state.name or "", 0))


def refuse_endless_starts() -> None:
    """Stop a flow run that dies at every start.

    The automation for lost runs (infra/automations.yaml) would otherwise restart it for ever.

    Raises:
        UserError: the run was started more than `STARTS` times and lost at least `STARTS` times.
    """
    from prefect.runtime import flow_run

    if (flow_run.run_count or 0) > STARTS and _deaths(flow_run.id) >= STARTS:
        raise UserError(
            f"this run was started {STARTS} times and died each time; see the worker's log for why, then run it again: "
            "what was done is kept."
        )


def _deaths(flow_run: str) -> int:
    """Count the run's `Lost` states; a worker stopped on purpose leaves none."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return sum(state.name == "Lost" for state in client.read_flow_run_states(UUID(flow_run)))


def retry_while_unavailable(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call idempotent `work`, repeating it while a service is unavailable.

    Raises:
        UserError: the service was unavailable for `PATIENCE` seconds, or the disk is full.
    """
    retrying = Retrying(
        retry=retry_if_exception(_is_transient),
        wait=wait_exponential(max=LONGEST_PAUSE),
        stop=stop_after_delay(PATIENCE),
        before_sleep=_warn,
        retry_error_callback=_give_up,
    )
    try:
        return retrying(work, *args, **kwargs)
    except OSError as error:
        if is_disk_full(error):
            raise UserError(disk_full(error)) from error
        raise


def _is_transient(error: BaseException) -> bool:
    known = isinstance(error, UserError) or is_disk_full(error)
    return isinstance(error, Exception) and not known and away(error)


def _warn(attempt: RetryCallState) -> None:
    error, pause = _error(attempt), attempt.next_action.sleep if attempt.next_action else 0.0
    logging.getLogger(__name__).warning("%s: %s; trying again in %d s", type(error).__name__, _first(error), pause)


def _give_up(attempt: RetryCallState) -> NoReturn:
    error, name = _error(attempt), getattr(attempt.fn, "__name__", "a call")
    raise UserError(
        f"{name}: a service did not answer for {PATIENCE / 60:.0f} minutes ({_first(error)}); "
        "see that it runs, then Retry: what was done is kept."
    ) from error


def _error(attempt: RetryCallState) -> BaseException | None:
    return attempt.outcome.exception() if attempt.outcome else None


def _first(error: BaseException | None) -> str:
    """Return the first line of an error's message, shortened."""
    return (str(error).splitlines() or [""])[0][:200]


def away(error: BaseException) -> bool:
    """Return whether an exception or one of its causes means an unavailable service.

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
