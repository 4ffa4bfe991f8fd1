"""A circuit breaker: an endpoint that fails in a row is left alone for a while, then tried with a single call."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

IN_A_ROW = 8  # failures of different calls that open it
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
    def down_for(self) -> float:
        """Seconds since the first failure after the last success; 0.0 while it answers."""
        return 0.0 if self._down_since is None else time.monotonic() - self._down_since

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """Wait until a call may go out. Whoever passes while it is open is the one who tries."""
        if self._open_until is None:
            yield
            return
        async with self._trial:
            if self._open_until is not None:
                await asyncio.sleep(max(0.0, self._open_until - time.monotonic()))
            if self._open_until is not None:
                yield  # the trial: others wait behind the lock until it has ended
                return
        yield

    def succeeded(self) -> None:
        self._failures, self._pause = 0, FIRST_PAUSE
        self._open_until = self._down_since = None

    def failed(self) -> None:
        self._failures += 1
        self._down_since = self._down_since or time.monotonic()
        if self._failures >= IN_A_ROW:
            if self._open_until is not None:
                self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._open_until = time.monotonic() + self._pause
