"""A service is hurt while a retrain needs it: nothing is lost, nothing is done twice, and nobody is needed."""

import contextlib
import time

import psutil

from tests.fault_injection.ledger import balanced
from tests.fault_injection.services import Services, wait_for


def worker_killed_during_training(services: Services, name: str) -> str:
    """kill -9 for the worker, the flow and the stage: the run is noticed to be dead, and the same run goes on."""
    services.drop(name)
    step = services.training(name)
    killed, begin = services.kill("worker"), time.monotonic()
    wait_for(lambda: not any(alive(pid) for pid in killed) or None, 20, "the processes to end")
    (run,) = services.ended(name)
    assert run["state_type"] == "COMPLETED" and run["run_count"] == 2, run["state"]
    balanced(services, name)
    return f"{len(killed)} processes killed after step {step}; done {time.monotonic() - begin:.0f} s later"


def server_restarted_during_a_run(services: Services, name: str) -> str:
    """Prefect's server goes while the stage trains and comes back when the flow needs it; its queue is not stuck."""
    services.drop(name)
    step = services.training(name)
    services.stop("prefect")
    time.sleep(10)
    services.start("prefect")
    (run,) = services.ended(name)
    assert run["state_type"] == "COMPLETED", run["state"]
    balanced(services, name)
    services.store.close(name, b"closed again")  # a second run gets the slot that the first one had
    again = services.ended(name, runs=2)[-1]
    assert again["state_name"] == "Cached", again["state"]
    balanced(services, name)
    return f"restarted after step {step}; {run['state']['message'][:60]}…; then: {again['state']['message'][:60]}…"


def database_gone_for_30_s(services: Services, name: str) -> str:
    """PostgreSQL, which Prefect and the registry stand on, is away from the second training step on."""
    services.drop(name)
    step, begin = services.training(name), time.monotonic()
    services.stop("postgres")
    time.sleep(max(0.0, 30 - (time.monotonic() - begin)))
    away = time.monotonic() - begin
    services.start("postgres")
    (run,) = services.ended(name)
    assert run["state_type"] == "COMPLETED", run["state"]
    balanced(services, name)
    return f"away for {away:.0f} s from step {step} on; {run['state']['message'][:60]}…"


def s3_answering_503_for_20_percent_of_requests(services: Services, name: str) -> str:
    """Every fifth request of the watcher, of the sync and of `dvc push` is refused."""
    store, before = services.store, (services.store.requests, services.store.refused)
    store.refuse = 0.2
    try:
        services.drop(name)
        (run,) = services.ended(name)
    finally:
        store.refuse = 0.0
    requests, refused = store.requests - before[0], store.refused - before[1]
    assert run["state_type"] == "COMPLETED", run["state"]
    assert refused >= 0.1 * requests > 1, "the fault was not injected"
    balanced(services, name)
    return f"{refused} of {requests} requests refused; {run['state']['message'][:60]}…"


def an_event_emitted_while_the_server_is_down(services: Services, name: str) -> str:
    """The message stays in the queue until there is a run for it, and then there is one."""
    services.stop("prefect")
    services.drop(name)
    time.sleep(15)
    assert services.store.waiting() > 0, "a message was deleted without a run"
    services.start("prefect")
    begin = time.monotonic()
    services.run(name, 300)
    noticed = time.monotonic() - begin
    (run,) = services.ended(name)
    assert run["state_type"] == "COMPLETED", run["state"]
    balanced(services, name)
    return f"a run {noticed:.0f} s after the server was back; {run['state']['message'][:60]}…"


def the_databases_key_rotated_during_a_run(services: Services, name: str) -> str:
    """Its worker is restarted with the new password; the run goes on by itself."""
    services.drop(name)
    step = services.training(name)
    services.project.run("tasks.stack", "rotate")
    begin = time.monotonic()
    (run,) = services.ended(name)
    assert run["state_type"] == "COMPLETED" and run["run_count"] == 2, run["state"]
    balanced(services, name)
    return f"rotated after step {step}; done {time.monotonic() - begin:.0f} s after that"


def a_backup_taken_during_a_run_is_restored(services: Services, name: str) -> str:
    """In the backup the run stands as Running: it is started again, and nothing waits behind it for ever."""
    services.drop(name)
    step = services.training(name)
    services.project.run("tasks.stack", "backup", str(services.project.home / name))
    services.ended(name)
    services.project.run("tasks.stack", "restore", str(services.project.home / name))
    begin = time.monotonic()
    (run,) = services.ended(name)
    assert run["state_type"] == "COMPLETED", run["state"]
    balanced(services, name)
    return f"taken after step {step}; done {time.monotonic() - begin:.0f} s after the restore"


def alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False
