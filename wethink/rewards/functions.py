"""Reward functions of the user's own, run in a child process with a deadline for each batch."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wethink.common.errors import UserError
from wethink.config.rewards import RewardFunction
from wethink.rewards import function_worker

LOAD_SECONDS = 300.0  # imports of the function's own libraries


@dataclass(frozen=True)
class Call:
    """One completion that a reward function scores."""

    completion: str  # the whole response
    answer: str  # extracted from it
    row: Mapping[str, Any]  # `columns`, the user's own, are passed beside its keys; a key of the row wins


class _NoReply(Exception):
    """The child ended, or did not answer in time."""


class FunctionProcess:
    """Child process of one reward function. It starts with the scorer, and again after a fault.

    Close it after use.
    """

    def __init__(self, config: RewardFunction) -> None:
        """Start the child and load the function.

        Raises:
            UserError: the function cannot be loaded.
        """
        self.config = config
        self._child: subprocess.Popen[bytes] | None = None
        try:
            self._start()
        except _NoReply as fault:
            self.close()
            raise UserError(f"params.yaml, rewards.functions: '{config.function}' cannot be loaded: {fault}.") from None

    def applies(self, row: Mapping[str, Any]) -> bool:
        """Return whether the function scores this row: by its route, or by its category."""
        if self.config.route is not None:
            return bool(row["reward"] == self.config.route)
        return self.config.categories is None or row["category"] in self.config.categories

    def score(self, calls: Sequence[Call]) -> list[tuple[float | None, str]]:
        """Return for each call its score in [0, 1], or None and the reason."""
        if not calls:
            return []
        request = {
            "problems": [call.row["problem"] for call in calls],
            "golds": [call.row["answer"] for call in calls],
            "completions": [call.completion for call in calls],
            "answers": [call.answer for call in calls],
            "rows": [dict(call.row.get("columns") or {}) | dict(call.row) for call in calls],
        }
        try:
            if self._child is None:
                self._start()
            reply = self._exchange(json.dumps(request, default=str).encode() + b"\n", self.config.timeout)
        except (_NoReply, OSError) as fault:
            self.close()
            return [(None, f"{self.config.function}: {fault}")] * len(calls)
        name = self.config.function
        return [(score, "" if score is not None else f"{name}: {reason}") for score, reason in reply["scores"]]

    def _start(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-P", function_worker.__file__, self.config.function],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C goes to the parent only; the child ends at the end of its input
        )
        reply = self._exchange(b"", LOAD_SECONDS)
        if "fault" in reply:
            raise _NoReply(reply["fault"])

    def _exchange(self, request: bytes, seconds: float) -> dict[str, Any]:
        """Send a request and read one reply; both sides' pipes may fill, so neither waits for the other."""
        child = self._child
        assert child and child.stdin and child.stdout
        reply, until = b"", time.monotonic() + seconds
        source, sink = child.stdout.fileno(), child.stdin.fileno()
        os.set_blocking(sink, False)
        while not reply.endswith(b"\n"):
            left = until - time.monotonic()
            readable, writable, _ = select.select([source], [sink] if request else [], [], max(0.0, left))
            if not readable and not writable:
                raise _NoReply(f"no result within {seconds:g} s")
            if writable:
                request = request[os.write(sink, request) :]
            if readable:
                part = os.read(source, 1 << 20)
                if not part:
                    raise _NoReply(f"its process ended (exit status {child.wait()})")
                reply += part
        found: dict[str, Any] = json.loads(reply)
        return found

    def close(self) -> None:
        """Kill the child with all that it has started; the next batch starts another."""
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
