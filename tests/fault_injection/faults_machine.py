"""The machine itself: a disk that fills up, a clock that jumps, and a person who presses Cancel."""

import contextlib
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fault_injection.faults_services import alive
from tests.fault_injection.ledger import balanced, read
from tests.fault_injection.services import Services, wait_for

CLOCK = Path(__file__).with_name("clock.c")


def disk_full_during_publish(services: Services, name: str) -> str:
    """The challenger does not fit beside the champion: a sentence, nothing registered; with room, Retry goes on."""
    store = services.project.folder / ".wethink/checkpoints"
    with _small_disk(store) as ballast:
        before = read(services.project)
        services.drop(name)
        (run,) = services.ended(name)
        said = run["state"]["message"]
        assert run["state_type"] == "FAILED" and "the disk is full" in said and "free some space" in said, run["state"]
        assert read(services.project) == before, "something was registered or decided"
        assert not list(store.glob(".keeping-*")), "a half-made copy was left"
        ballast.unlink()
        services.retry(run["id"])
        wait_for(lambda: services.run(name)["state_type"] == "COMPLETED" or None, 900, "the retried run")
    balanced(services, name)
    return f"“{said[-110:]}”; Retry after making room: {services.run(name)['state']['message'][:60]}…"


def clock_jump(services: Services, name: str) -> str:
    """Two hours forward while a stage trains, then a day back: for the server, the worker, the flow and the watcher."""
    offset, library = services.project.home / "clock", services.project.home / "clock.so"
    _jump(offset, 0)
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(CLOCK), "-ldl"], check=True)
    jumping = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(offset)}
    with services.by_hand(("prefect", "watcher", "worker"), jumping):
        services.drop(name)
        step = services.training(name)
        _jump(offset, 2 * 3600)
        (run,) = services.ended(name)
        assert run["state_type"] == "COMPLETED", run["state"]
        balanced(services, name)
        _jump(offset, -24 * 3600)
        time.sleep(3)
        services.store.close(name, b"closed again")
        again = wait_for(lambda: next((r for r in services.runs(name) if r["id"] != run["id"]), None), 120, "a run")
        again = next(r for r in services.ended(name, runs=2) if r["id"] == again["id"])
        assert again["state_name"] == "Cached", again["state"]
    balanced(services, name)
    return f"+2 h after step {step}, then -1 d; {run['state']['message'][:60]}…"


def a_run_cancelled_in_the_ui(services: Services, name: str) -> str:
    """Cancel ends every process of the run, the one in a session of its own too; what was trained is kept for later."""
    services.drop(name)
    step = services.training(name)
    worker = services.process("worker")
    family = worker.children(recursive=True)
    assert any("wethink" in process.cmdline() for process in family), "the stage is a descendant of the worker"
    run, begin = services.run(name), time.monotonic()
    services.set_state(run["id"], "CANCELLING")
    (run,) = services.ended(name, 120)
    assert run["state_type"] == "CANCELLED", run["state"]
    wait_for(lambda: not any(alive(process.pid) for process in family) or None, 60, "the run's processes to end")
    stopped = time.monotonic() - begin
    assert worker.is_running(), "the worker goes on"
    kept = services.project.trained(name)
    assert kept is not None and kept >= step
    services.retry(run["id"])
    lowest = kept
    while (run := services.run(name))["state_type"] not in ("COMPLETED", "FAILED", "CRASHED"):
        assert time.monotonic() - begin < 900, run["state"]
        with contextlib.suppress(FileNotFoundError):
            lowest = min(lowest, services.project.trained(name) or lowest)
        time.sleep(0.3)
    assert run["state_type"] == "COMPLETED" and lowest == kept, (run["state"], lowest, kept)
    balanced(services, name)
    return f"{len(family)} processes ended {stopped:.0f} s after Cancel at step {kept}; Retry went on from there"


def _jump(file: Path, seconds: int) -> None:
    """Set the clock of everybody who has the file mapped: it is written in place."""
    with file.open("r+b" if file.exists() else "wb") as handle:
        handle.write(struct.pack("<q", seconds))


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own, and full, in place of a folder; the file that yields is what fills it."""
    aside, ballast = folder.with_name(f"{folder.name}.aside"), folder / "ballast"
    folder.rename(aside)
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True)
    try:
        assert mounted.returncode == 0, f"not run: no right to mount a file system here ({mounted.stderr.decode()})"
        shutil.copytree(aside, folder, dirs_exist_ok=True)
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as handle:
            while True:
                os.write(handle.fileno(), b"\0" * 4096)
        yield ballast
        shutil.copytree(folder, aside, dirs_exist_ok=True, ignore=shutil.ignore_patterns("ballast"))
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
        aside.rename(folder)
