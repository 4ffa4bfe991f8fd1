"""Peak memory of a call, in a process whose other threads also allocate."""

import tracemalloc
from collections.abc import Callable


def least_peak(call: Callable[[], object], tries: int = 3) -> int:
    """The least of several peaks, in bytes: what another thread (a server's, an import's) adds to one, it adds once."""
    peaks = []
    for _ in range(tries):
        tracemalloc.start()
        try:
            call()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(peaks)
