"""Orderly stop of training: after SIGTERM (Slurm, a spot instance) a stage saves at its next step boundary and ends.

The exit code is 75: the same command goes on from there. A stage's process passes the signal on to its ranks.
DeepSpeed's launcher would kill them half a minute later, so it runs with SIGTERM blocked; blocked signals stay pending
in the processes that it starts until a rank listens.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from wethink.common.errors import AGAIN, FAILURE, UserError
from wethink.common.jsonl import read_json
from wethink.common.processes import is_terminated, note_termination

BY_TERM = "stopped by SIGTERM"  # in the message of a stage that was


def listen() -> None:
    """Take note of SIGTERM from now on, also of one that came while it was blocked."""
    if threading.current_thread() is threading.main_thread():  # only that thread may set handlers
        signal.signal(signal.SIGTERM, note_termination)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def stopped(title: str, step: int, steps: int) -> UserError:
    """Return the error that ends a stage whose step is saved."""
    return UserError(
        f"{title}: {BY_TERM} after step {step} of {steps}, which is saved; the same command goes on there.",
        AGAIN,
    )


def interrupted(title: str, error: Exception) -> Exception:
    """Return the error to report: after SIGTERM any other one than that of `stopped` is its consequence.

    A rank's helpers, as the process of a reward function, get the signal as well, and end before the rank does.
    """
    if not is_terminated() or getattr(error, "exit_code", 0) == AGAIN:
        return error
    return UserError(f"{title}: {BY_TERM}; the same command goes on from the last checkpoint.", AGAIN)


def was_stopped(scratch: Path) -> bool:
    """Return whether the ranks of this scratch folder ended since SIGTERM had come."""
    path = scratch / FAILURE
    return path.exists() and BY_TERM in read_json(path)["message"]


@contextmanager
def passed_on(send: Callable[[], None]) -> Iterator[None]:
    """Call `send` for each SIGTERM within the block, instead of ending."""

    def forward(*_: object) -> None:
        note_termination()
        send()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, forward)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
