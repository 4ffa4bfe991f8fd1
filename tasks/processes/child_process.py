"""Child processes that really end: an own process group, a deadline, and output that is seen and kept."""

import codecs
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wethink.common.processes import OWNERS, peak_memory_mb

TAIL = 64_000  # characters of output that are kept to explain a failure
MEASURING = 100  # memory is measured again after this many times what it took: a look walks every page of the children


def to_stdout(text: str) -> None:
    """Write a child's output to this process's stdout."""
    with contextlib.suppress(OSError, ValueError):  # a closed terminal is no reason to stop training
        sys.stdout.write(text)
        sys.stdout.flush()


# Where the output of children is shown, piece by piece; the terminal of the main flow shows their progress only.
OUTPUT: ContextVar[Callable[[str], None]] = ContextVar("OUTPUT", default=to_stdout)


@dataclass(frozen=True)
class Ended:
    """How a child ended. `peak_mb` is the proportional set size of this process and all its children."""

    code: int
    output: str  # the last part of stdout and stderr together
    peak_mb: float
    late: bool  # it was killed because its deadline had passed


def run(
    command: Sequence[str],
    log: Path,
    deadline: float,
    watch: Callable[[], None] = lambda: None,
    every: float = 2.0,
    grace: float = 15.0,
) -> Ended:
    """Run `command` in a process group of its own, showing its output live and appending it to `log`.

    `watch` is called every few seconds. Whatever ends this call (the child, the deadline, Ctrl-C, a
    cancelled flow), nothing of the group is alive afterwards: it is asked to stop, and killed after
    `grace` seconds. If this process dies without a word (kill -9), the stage notices that it has lost
    an owner and ends itself (wethink.dag.workspace.die_with_owners).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started, peak, late = time.monotonic(), 0.0, False
    measured = started  # when memory may be measured again
    # The shell only adds the pid that the command is about to have, so that a stage dies with it as well.
    adopted = ["/bin/sh", "-c", f'export {OWNERS}="{_owners()},$$"; exec "$@"', "sh", *command]
    with subprocess.Popen(
        adopted,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"},
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        kept: list[str] = []
        pump = threading.Thread(target=_show, args=(child.stdout, log, kept, OUTPUT.get()), daemon=True)
        pump.start()
        try:
            while True:
                left = deadline - (time.monotonic() - started)
                try:
                    child.wait(timeout=max(0.01, min(every, left)))
                    break
                except subprocess.TimeoutExpired:
                    if left <= 0:
                        late = True
                        break
                if time.monotonic() >= measured:
                    spent = time.process_time()
                    peak = max(peak, peak_memory_mb(os.getpid()))
                    measured = time.monotonic() + MEASURING * (time.process_time() - spent)
                watch()
        finally:
            _stop(child, grace)
            pump.join(timeout=5)
    return Ended(child.returncode, "".join(kept)[-TAIL:], peak, late)


def _owners() -> str:
    inherited = os.environ.get(OWNERS, "")
    return f"{inherited},{os.getpid()}".strip(",")


def _show(stream: IO[bytes], log: Path, kept: list[str], show: Callable[[str], None]) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    with contextlib.ExitStack() as stack:
        sink = None
        with contextlib.suppress(OSError):
            sink = stack.enter_context(log.open("ab", buffering=0))
        while block := os.read(stream.fileno(), 65536):
            with contextlib.suppress(OSError):  # on a full disk the child must still find a reader, or it would hang
                if sink is not None:
                    sink.write(block)
            text = decoder.decode(block)
            kept.append(text)
            del kept[:-1000]
            show(text)


def _stop(child: subprocess.Popen[bytes], grace: float) -> None:
    """Ask the group to stop as Ctrl-C would, then kill what is left of it."""
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGINT)
            child.wait(timeout=grace)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
