"""Which failures are tried again, how often, and which are told to a person at once."""

import errno
import time
from pathlib import Path
from typing import Any

import pytest
from prefect import task
from prefect.states import Failed

from tasks.processes import child_process, retries
from tasks.processes.retries import BUSY, INTERRUPTED, LOCKED
from wethink.common.errors import TRY_AGAIN_LATER, UserError

STAGE = "ERROR: failed to reproduce 'sft': failed to run: python -m wethink sft, exited with"


@pytest.mark.parametrize(
    ("code", "output", "kind"),
    [
        (255, f"{STAGE} 2", "Failed"),
        (255, f"{STAGE} 1", "Failed"),
        (2, "wethink sft: the disk is full (models/sft); free some space, the same command goes on.", "Failed"),
        (255, f"{STAGE} -9", INTERRUPTED),
        (255, f"{STAGE} 137", INTERRUPTED),
        (255, f"{STAGE} 75", INTERRUPTED),
        (-9, "", INTERRUPTED),
        (255, f"{STAGE} {TRY_AGAIN_LATER}", BUSY),
        (TRY_AGAIN_LATER, "", BUSY),
        (255, 'ERROR: failed to pull: Could not connect to the endpoint URL: "http://localhost:9000/dvc"', BUSY),
        (255, f"an endpoint timed out\n{STAGE} 2", "Failed"),
        (2, "wethink retrain: rows.jsonl, line 3: 'the game timed out' is no answer", "Failed"),
        (255, "ERROR: Unable to acquire lock. Most likely another DVC process is running", LOCKED),
    ],
)
def test_a_failure_is_of_the_kind_that_its_end_says(code: int, output: str, kind: str) -> None:
    assert retries.kind(code, output) == kind


def test_a_killed_child_gets_fewer_tries_than_a_lock_or_a_busy_endpoint_and_a_mistake_gets_none() -> None:
    def tries(name: str) -> int:
        state = Failed(name=name)
        runs = (type("Run", (), {"run_count": count}) for count in range(1, 20))
        return sum(retries.another_try(None, run, state) for run in runs)  # type: ignore[arg-type]

    assert [tries(name) for name in (INTERRUPTED, LOCKED, BUSY, "Failed")] == [2, 5, 5, 0]
    assert len(retries.PAUSES) == retries.RETRIES == 5


def test_prefect_tries_a_task_again_as_often_as_its_kind_of_failure_is_worth(
    prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    @task(retries=retries.RETRIES, retry_delay_seconds=[0] * 5, retry_condition_fn=retries.another_try)
    def work(name: str) -> Any:
        ran.append(name)
        return Failed(name=name, message="no")

    for name in (INTERRUPTED, "Failed"):
        work(name, return_state=True)
    assert (ran.count(INTERRUPTED), ran.count("Failed")) == (3, 1)


class Registry:
    """A service that is away for its first few calls."""

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.left, self.calls = error, times, 0

    def ask(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise RuntimeError("its own words") from self.error
        return "here"


def _lost_database() -> Exception:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    return MlflowException("terminating connection", error_code=TEMPORARILY_UNAVAILABLE)


def test_a_service_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for error in (_lost_database(), ConnectionRefusedError("nobody listens")):
        registry = Registry(error, 3)
        assert retries.retry_while_unavailable(registry.ask) == "here" and registry.calls == 4


def test_a_service_that_stays_away_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(retries, "PATIENCE", -1.0)
    with pytest.raises(UserError, match=r"ask: a service did not answer .*then Retry: what was done is kept"):
        retries.retry_while_unavailable(Registry(ConnectionRefusedError(), 9).ask)


def test_the_pauses_between_calls_grow_to_half_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    retries.retry_while_unavailable(Registry(ConnectionRefusedError(), 8).ask)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_an_interrupt_and_a_mistake_during_an_outage_end_the_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))
    for error in (KeyboardInterrupt(), UserError("restore it from a backup")):

        def stopped(error: BaseException = error) -> None:
            try:
                raise ConnectionRefusedError("nobody listens")
            except ConnectionRefusedError as cause:
                raise error from cause

        with pytest.raises(type(error)):
            retries.retry_while_unavailable(stopped)


def test_a_defect_and_a_mistake_are_not_waited_for_and_a_full_disk_is_a_sentence() -> None:
    for error in (ValueError("a defect"), UserError("a mistake")):
        registry = Registry(error, 1)
        with pytest.raises(RuntimeError):
            retries.retry_while_unavailable(registry.ask)
        assert registry.calls == 1

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "checkpoints/weights")

    with pytest.raises(UserError, match=r"the disk is full \(checkpoints/weights\); free some space"):
        retries.retry_while_unavailable(full)


def test_a_child_ends_also_where_there_is_no_room_for_its_log() -> None:
    """Its output must be read all the same, or it waits for ever for somebody to read it."""
    ended = child_process.run(["sh", "-c", "head -c 1000000 /dev/zero; exit 3"], Path("/dev/full"), 30)
    assert (ended.code, ended.late) == (3, False)


def test_a_run_that_dies_at_every_start_is_not_started_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.runtime import flow_run

    for count in (0, 1, retries.STARTS):
        monkeypatch.setattr(flow_run, "run_count", count, raising=False)
        retries.refuse_endless_starts()
    monkeypatch.setattr(flow_run, "run_count", retries.STARTS + 1, raising=False)
    monkeypatch.setattr(flow_run, "id", "one", raising=False)
    monkeypatch.setattr(retries, "_deaths", lambda run: retries.STARTS - 1)
    retries.refuse_endless_starts()  # a worker that was restarted on purpose is no death
    monkeypatch.setattr(retries, "_deaths", lambda run: retries.STARTS)
    with pytest.raises(UserError, match="started 5 times and died each time"):
        retries.refuse_endless_starts()
