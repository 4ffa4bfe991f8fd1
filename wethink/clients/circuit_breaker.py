"""A circuit breaker: an endpoint that fails in a row is left alone for a while, then tried with a single call."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

IN_A_ROW = 8  # failed attempts without an answer between them that open it
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds; doubled after every failed trial


class Breaker:
    """Closed: calls pass. Open: they wait, and burn none of their attempts. Half-open: one of them tries."""

    def __init__(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._open_until: float | None = None
        self._down_since: float | None = None
        self._trial = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether calls have to wait."""
        return self._open_until is not None

    @property
    def down_for(self) -> float:
        """Seconds since the first failure after the last success; 0.0 while it answers."""
        return 0.0 if self._down_since is None else time.monotonic() - self._down_since

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[bool]:
        """Wait until a call may go out; yields whether it is the one that tries an open endpoint."""
        if not self.is_open:
            yield False
            return
        async with self._trial:
            while self._open_until is not None and time.monotonic() < self._open_until:
                await asyncio.sleep(self._open_until - time.monotonic())
            if self.is_open:
                yield True  # the others wait behind the lock until this trial has ended
                return
        yield False

    def succeeded(self) -> None:
        """An answer came, or a refusal that shows the endpoint alive."""
        self._failures, self._pause = 0, FIRST_PAUSE
        self._open_until = self._down_since = None

    def failed(self, trial: bool) -> None:
        """No answer came. Calls that were on their way when it opened lengthen no pause; a failed trial does."""
        self._failures += 1
        self._down_since = self._down_since or time.monotonic()
        if trial:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if trial or (self._failures >= IN_A_ROW and not self.is_open):
            self._open_until = time.monotonic() + self._pause
