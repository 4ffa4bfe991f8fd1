"""The child process in which expressions are compared: one that lives long, is killed at a fault and started again.

A plain child with pipes works wherever this is called from: the main thread or another, under pytest, in a training
rank. Nothing heavy is imported here; SymPy lives in the child (`symbolic`).
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time

from wethink.rewards.rules import math_worker

SECONDS = 2.0  # of processor time for one comparison
PATIENCE = 120.0  # seconds of wall time for a reply; longer means that the machine, not the response, is at fault


class _NoReply(Exception):
    """The child could not be started, or did not answer."""


class Comparer:
    """The child process of this process: started at the first question, again after a fault, one question at a time."""

    def __init__(self, seconds: float = SECONDS, patience: float = PATIENCE) -> None:
        self._seconds, self._patience = seconds, patience
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()
        self.asked = self.timeouts = self.failures = 0

    def ask(self, gold: str, answer: str | None) -> dict[str, object]:
        """`{"equal": bool}` or `{"fault": reason}`; a fault of the machinery is 'unavailable'."""
        with self._lock:
            self.asked += 1
            for _ in range(2):  # a child that died between two questions is no news
                try:
                    reply = self._exchange(json.dumps({"gold": gold, "answer": answer}).encode() + b"\n")
                except (OSError, ValueError, _NoReply):
                    self.stop()
                    continue
                self.timeouts += reply.get("fault") == "timeout"
                return reply
            self.failures += 1
            return {"fault": "unavailable"}

    def _exchange(self, line: bytes) -> dict[str, object]:
        if self._child is None or self._owner != os.getpid() or self._child.poll() is not None:
            self._child = subprocess.Popen(
                [sys.executable, "-P", math_worker.__file__, str(self._seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us; the child ends when its input does
            )
            self._owner = os.getpid()
        assert self._child.stdin and self._child.stdout
        self._child.stdin.write(line)
        self._child.stdin.flush()
        reply, until = b"", time.monotonic() + self._patience
        while not reply.endswith(b"\n"):
            if not select.select([self._child.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                raise _NoReply
            part = os.read(self._child.stdout.fileno(), 65536)
            if not part:
                raise _NoReply
            reply += part
        found: dict[str, object] = json.loads(reply)
        return found

    def close(self) -> None:
        """Let the child end: it does when its input ends."""
        if self._child is not None and self._owner == os.getpid() and self._child.stdin:
            self._child.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(self._patience)
                self._child = None
        self.stop()

    def stop(self) -> None:
        """Kill the child, worker and all. The next question starts another one."""
        child, self._child = self._child, None
        if child is None or self._owner != os.getpid():
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):  # unwritten bytes for a child that is gone
                if pipe:
                    pipe.close()


COMPARER = Comparer()
