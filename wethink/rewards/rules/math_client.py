"""Client of the math-verify child process: start, requests over pipes, restart after a fault.

A plain child with pipes works in any thread, under pytest and in a training rank. SymPy is imported only in the
child (`math_worker`).
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
PATIENCE = 120.0  # seconds of wall time for a reply; a longer wait is the machine's fault, not the response's


class _NoReply(Exception):
    """The child did not start or did not answer."""


class Comparer:
    """Client of one child process, which takes one request at a time.

    The child starts at the first request and again after a fault or a fork.
    """

    def __init__(self, seconds: float = SECONDS, patience: float = PATIENCE) -> None:
        self._seconds, self._patience = seconds, patience
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()
        self.asked = self.timeouts = self.failures = 0

    def ask(self, gold: str, answer: str | None) -> dict[str, object]:
        """Compare two LaTeX expressions; with None, check that the gold can be parsed.

        Returns:
            `{"equal": bool}` or `{"fault": reason}`; the reason is 'unavailable' if the child fails twice.
        """
        with self._lock:
            self.asked += 1
            for _ in range(2):  # the child may have died since the last request
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
                start_new_session=True,  # Ctrl-C goes to the parent only; the child ends at the end of its input
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
        """Close the child's input and wait for its end; kill it if it stays."""
        if self._child is not None and self._owner == os.getpid() and self._child.stdin:
            self._child.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(self._patience)
                self._child = None
        self.stop()

    def stop(self) -> None:
        """Kill the child and its worker; the next request starts another."""
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
