"""Circuit breaker for an endpoint that fails in a row: a pause, then a single trial call."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

IN_A_ROW = 8  # consecutive failed attempts that open the breaker
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds; doubled after every failed trial


class Breaker:
    """Circuit breaker of one endpoint.

    Closed: calls pass. Open: calls wait without using up attempts. Half-open: a single call tries the endpoint.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._open_until: float | None = None
        self._down_since: float | None = None
        self._last_success = 0.0
        self._trial = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Return whether calls must wait."""
        return self._open_until is not None

    @property
    def down_for(self) -> float:
        """Seconds since the first failure after the last success; 0.0 if there is none."""
        return 0.0 if self._down_since is None else time.monotonic() - self._down_since

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[bool]:
        """Wait until a call may be sent; yield whether it is the trial call."""
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
        """Close the breaker: the endpoint answered, or refused and so is alive."""
        self._failures, self._pause = 0, FIRST_PAUSE
        self._last_success = time.monotonic()
        self._open_until = self._down_since = None

    def failed(self, trial: bool, seconds: float = 0.0) -> None:
        """Record a failed attempt, which took `seconds`; open the breaker after IN_A_ROW of them.

        Only a failed trial lengthens the pause; calls already in flight when the breaker opened do not.
        """
        self._failures += 1
        self._down_since = self._down_since or max(self._last_success, time.monotonic() - seconds)
        if trial:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if trial or (self._failures >= IN_A_ROW and not self.is_open):
            self._open_until = time.monotonic() + self._pause
