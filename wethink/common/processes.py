"""Process trees: ending with the parent, SIGTERM, memory and threads."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

OWNERS = "WETHINK_OWNERS"  # pids that a stage must not outlive; set by the process that starts it
THREADS = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
GROUPS: set[int] = set()  # process groups started by this process; they must not outlive it
STOPPING_S = 600.0  # for a training stage to save after SIGTERM, when its owners have ended by the same signal
_terminated = False


def die_with_owners() -> None:
    """End this process within a second of the death of its parent or any owner.

    Owners are the pids in WETHINK_OWNERS and, behind a shell, the process that started it. The process groups in
    GROUPS are killed first; the exit code is 143. A process that is about to save after SIGTERM (`is_terminated`) has
    `STOPPING_S` more: Slurm signals a job's flow, DVC and stage at once.
    """
    # A flow, DVC or launcher killed with -9 cannot tell its children: an orphan would go on writing beside the next
    # start. Polling works on every Unix and, unlike a parent-death signal, is not tied to the thread that forked.
    owners = [int(pid) for pid in os.environ.get(OWNERS, "").split(",") if pid]
    owners += _behind_a_shell()
    os.environ[OWNERS] = ",".join(map(str, [*owners, os.getpid()]))  # for our own children
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent and all(_alive(pid) for pid in owners) and not _handed_over():
            time.sleep(0.5)
        until = time.monotonic() + STOPPING_S
        while is_terminated() and time.monotonic() < until:
            time.sleep(0.5)
        for group in GROUPS:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        os._exit(143)

    threading.Thread(target=watch, name="die-with-owners", daemon=True).start()


def note_termination(*_: object) -> None:
    """Take note of SIGTERM; a signal handler."""
    global _terminated  # no lock: a handler may interrupt itself
    _terminated = True


def is_terminated() -> bool:
    """Return whether SIGTERM has come: noted, or pending where it is blocked."""
    return _terminated or signal.SIGTERM in signal.sigpending()


def block_termination() -> None:
    """Leave SIGTERM pending in this thread, in the threads that it starts, and in child processes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _handed_over() -> bool:
    """Return whether the starter died before this process could read its pid."""
    # The parent is then the reaper of orphans, in another process group, and this group's leader has ended. A living
    # starter shares this group or has made this process its leader.
    group = os.getpgrp()
    if _alive(group):
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        return os.getpgid([os.getppid(), *_behind_a_shell()][-1]) != group
    return False


def _behind_a_shell() -> list[int]:
    """Return the pid of the process that started this one through `sh -c`, if any."""
    # DVC starts stages so; the shell in between outlives DVC's death, so the parent's pid alone is not enough.
    import psutil

    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(os.getppid())
        if parent.cmdline()[1:2] == ["-c"] and Path(parent.cmdline()[0]).name in ("sh", "bash", "dash"):
            return [parent.ppid()]
    return []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def peak_memory_mb(pid: int) -> float:
    """Return the current PSS of a process tree in MiB (Linux; 0.0 elsewhere)."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error, AttributeError):
                total += process.memory_full_info().pss
    return total / 2**20
