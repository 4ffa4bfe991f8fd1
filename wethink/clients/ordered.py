"""Ordered concurrent map over coroutines with a bounded window."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from wethink.common.errors import UserError

T = TypeVar("T")


async def gather_all(jobs: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all jobs concurrently and return their results in order.

    Raises:
        Exception: the first that a job raised, a `UserError` before others; after all jobs have ended, so that their
            billed responses are stored.
    """
    results = await asyncio.gather(*jobs, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    if errors:
        raise next((error for error in errors if isinstance(error, UserError)), errors[0])
    return [result for result in results if not isinstance(result, BaseException)]


async def ordered_map(jobs: Iterable[Callable[[], Coroutine[Any, Any, T]]], window: int) -> AsyncGenerator[T, None]:
    """Run jobs concurrently and yield their results in the order of the jobs.

    Args:
        window: most jobs that are started and not yet yielded.

    Raises:
        UserError: from the first job that raises one, after the running jobs have ended, so that their
            billed responses are stored.
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
