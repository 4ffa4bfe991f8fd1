"""Client of the math-verify child processes: start, requests over pipes, restart after a fault.

A plain child with pipes works in any thread, under pytest and in a training rank. SymPy is imported only in the
child (`math_worker`).
"""

import contextlib
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from wethink.rewards.rules import math_worker

SECONDS = 2.0  # of processor time for one comparison
PATIENCE = 120.0  # seconds of wall time for a reply; a longer wait is the machine's fault, not the response's


class Deferred(BaseException):
    """A question that a batch will ask together with its others; no verdict, so rules do not catch it."""

    def __init__(self, question: "Question") -> None:
        super().__init__()
        self.question = question


Question = tuple[str, str | None]  # gold and answer, as in `Comparer.ask`


class _Batch(threading.local):
    """Replies that the current thread's batch has; None outside of a batch."""

    replies: dict[Question, dict[str, object]] | None = None
    deferring: bool = False


class _NoReply(Exception):
    """The child did not start or did not answer."""


class Comparer:
    """Client of a few child processes; a caller waits for an idle one, so that no queue grows.

    A child starts at its first request and again after a fault or a fork. Callers on several threads are served at
    once; one thread needs one child only.

    Args:
        seconds: of processor time for one comparison.
        patience: of wall time for a reply.
        workers: children at most; by default one a core, at most four.
    """

    def __init__(self, seconds: float = SECONDS, patience: float = PATIENCE, workers: int | None = None) -> None:
        self._seconds, self._patience = seconds, patience
        self._workers = workers or min(4, len(os.sched_getaffinity(0)))
        self._count = threading.Lock()
        self._batch = _Batch()
        self.asked = self.timeouts = self.failures = 0
        self._open()

    def _open(self) -> None:
        self._owner = os.getpid()
        self._children = [_Child(self._seconds, self._patience) for _ in range(self._workers)]
        self._idle: queue.LifoQueue[_Child] = queue.LifoQueue()  # the last one used is warm
        for child in reversed(self._children):
            self._idle.put(child)

    def ask(self, gold: str, answer: str | None) -> dict[str, object]:
        """Compare two LaTeX expressions; with None, check that the gold can be parsed.

        Returns:
            `{"equal": bool}` or `{"fault": reason}`; the reason is 'unavailable' if a child fails twice.
        """
        if self._batch.replies is not None:
            if (gold, answer) in self._batch.replies:
                return self._batch.replies[gold, answer]
            if self._batch.deferring:
                raise Deferred((gold, answer))
        return self._ask(gold, answer)

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """Keep replies of this thread for a while; inside, `ask` may raise `Deferred` (see `defer`)."""
        self._batch.replies = {}
        try:
            yield
        finally:
            self._batch.replies, self._batch.deferring = None, False

    def defer(self, deferring: bool) -> None:
        """Let this thread's new questions raise `Deferred`, or ask them again."""
        self._batch.deferring = deferring

    def ask_together(self, questions: Sequence[Question]) -> None:
        """Ask distinct questions on as many threads as there are children, and keep the batch's replies."""
        with ThreadPoolExecutor(self._workers) as pool:
            replies = list(pool.map(lambda question: self._ask(*question), questions))
        assert self._batch.replies is not None
        self._batch.replies |= dict(zip(questions, replies, strict=True))

    def _ask(self, gold: str, answer: str | None) -> dict[str, object]:
        if self._owner != os.getpid():  # the children are the parent's
            self._open()
        child = self._idle.get()
        try:
            reply = child.ask(json.dumps({"gold": gold, "answer": answer}).encode() + b"\n")
        finally:
            self._idle.put(child)
        with self._count:
            self.asked += 1
            self.timeouts += reply.get("fault") == "timeout"
            self.failures += reply.get("fault") == "unavailable"
        return reply

    @property
    def _child(self) -> "subprocess.Popen[bytes] | None":
        """The first child that runs; tests watch it."""
        return next((child.process for child in self._children if child.process is not None), None)

    def close(self) -> None:
        """Close the children's inputs and wait for their ends; kill those that stay."""
        if self._owner == os.getpid():
            for child in self._children:
                child.close()

    def stop(self) -> None:
        """Kill the children and their workers; the next request starts another."""
        if self._owner == os.getpid():
            for child in self._children:
                child.stop()


class _Child:
    """One child process, which takes one request at a time."""

    def __init__(self, seconds: float, patience: float) -> None:
        self._seconds, self._patience = seconds, patience
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, line: bytes) -> dict[str, object]:
        for _ in range(2):  # the process may have died since the last request
            try:
                return self._exchange(line)
            except (OSError, ValueError, _NoReply):
                self.stop()
        return {"fault": "unavailable"}

    def _exchange(self, line: bytes) -> dict[str, object]:
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, "-P", math_worker.__file__, str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C goes to the parent only; the child ends at the end of its input
            )
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(line)
        self.process.stdin.flush()
        reply, until = b"", time.monotonic() + self._patience
        while not reply.endswith(b"\n"):
            if not select.select([self.process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                raise _NoReply
            part = os.read(self.process.stdout.fileno(), 65536)
            if not part:
                raise _NoReply
            reply += part
        found: dict[str, object] = json.loads(reply)
        return found

    def close(self) -> None:
        if self.process is not None and self.process.stdin:
            self.process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(self._patience)
                self.process = None
        self.stop()

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # unwritten bytes for a child that is gone
                if pipe:
                    pipe.close()


COMPARER = Comparer()
