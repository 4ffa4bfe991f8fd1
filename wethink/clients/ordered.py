"""Many jobs at once, results in the order of the jobs, and never more of them in memory than a window."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from wethink.common.errors import UserError

T = TypeVar("T")


async def ordered_map(jobs: Iterable[Callable[[], Coroutine[Any, Any, T]]], window: int) -> AsyncGenerator[T, None]:
    """Yield what the jobs return, first job first, with at most `window` of them begun and not yet yielded.

    Raises:
        UserError: of the first job that raises one, once those that are under way have ended: what they
            have paid for is to be kept.
    """
    running: deque[asyncio.Task[T]] = deque()
    try:
        for job in jobs:
            running.append(asyncio.create_task(job()))
            if len(running) >= window:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    except UserError:
        await asyncio.gather(*running, return_exceptions=True)
        raise
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
