"""How much the flywheel costs when there is nothing to do, and in front of a bucket that is full already.

Seconds on the wall depend on who else uses the machine, so what is asserted is processor seconds, requests and bytes.
"""

import contextlib
import os
import subprocess
import sys
import time

import psutil

from tests.fault_injection.services import KEYS, Services, wait_for

OBJECTS, SOURCES = 100_000, 100


def a_trigger_with_nothing_to_do_costs_under_20_s(services: Services, name: str) -> str:
    """A source that is closed again as it was: noticed, and found to be done."""
    services.drop(name)
    (first,) = services.ended(name)
    assert first["state_type"] == "COMPLETED", first["state"]
    spent, begin = _spent(services), time.monotonic()
    services.store.close(name, b"closed again")
    wait_for(lambda: len(services.runs(name)) > 1 or None, 120, "a run")
    noticed = time.monotonic() - begin
    again = services.ended(name, runs=2)[-1]
    done, cost = time.monotonic() - begin, _spent(services) - spent
    assert again["state_name"] == "Cached", again["state"]
    assert cost < 20, f"{cost:.1f} processor seconds"
    load = os.getloadavg()[0]
    return (
        f"{cost:.1f} processor seconds; noticed after {noticed:.1f} s, done after {done:.1f} s at a load of {load:.0f}"
    )


def a_bucket_with_100000_objects_is_not_listed_at_every_look(services: Services, name: str) -> str:
    """A watcher without a queue looks every second: one listing of names a look, and no memory that grows with them."""
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    store, bucket = services.store, "large"
    store.s3.create_bucket(Bucket=bucket)
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for number in range(OBJECTS):
        backend.put_object(bucket, f"s{number % SOURCES:03d}/images/{number:06d}.png", b"")
    environment = services.layout.environment() | services.project.environment | KEYS
    own = services.project.home / "watcher-of-large"
    own.mkdir()
    command = [
        sys.executable,
        "-m",
        "tasks.sources.watcher",
        "--bucket",
        bucket,
        "--every",
        "1",
        "--endpoint",
        store.endpoint,
    ]
    environment["PYTHONPATH"] = str(services.project.folder)
    listed, requests = store.listed, store.requests
    with (own / "log").open("wb") as log:
        watcher = subprocess.Popen(command, cwd=own, env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: store.requests - requests > 2 * SOURCES or None, 120, "the first look")
            first, before = psutil.Process(watcher.pid).memory_info().rss, store.requests
            wait_for(lambda: store.requests - before > 6 * SOURCES or None, 240, "three more looks")
            grown = psutil.Process(watcher.pid).memory_info().rss - first
        finally:
            watcher.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                watcher.wait(timeout=30)
            watcher.kill()
    asked = store.listed - listed
    looks = (store.requests - requests) / (2 * SOURCES + 1)
    assert asked <= looks + 1, f"{asked} listings in {looks:.1f} looks"
    assert grown < 20 * 2**20, f"{grown / 2**20:.0f} MB more after three looks"
    return f"{asked} listings in {looks:.1f} looks at {OBJECTS:,} objects; memory grew by {grown / 2**20:.1f} MB"


def _spent(services: Services) -> float:
    """Processor seconds of the worker's children, once all of them have ended: a run's process outlives its state."""
    worker = services.process("worker")
    wait_for(lambda: not worker.children() or None, 60, "the worker's children to end")
    cpu = worker.cpu_times()
    return float(cpu.children_user + cpu.children_system)
