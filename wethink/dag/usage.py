"""Resource usage of a stage: wall time, CPU time and peak memory."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wethink.common.jsonl import write_json
from wethink.common.processes import peak_memory_mb


@contextlib.contextmanager
def measured(record: Path) -> Iterator[dict[str, Any]]:
    """Write wall time, CPU time and peak memory of the block to `record` (JSON).

    Yields a dict whose entries are written, too. The record is never part of an output.
    """
    peak = 0.0
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(2.0):
            peak = max(peak, peak_memory_mb(os.getpid()))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    start, spent, extra = time.monotonic(), _processor_seconds(), dict[str, Any]()
    try:
        yield extra
    finally:
        done.set()
        sampler.join()
        peak = max(peak, peak_memory_mb(os.getpid()))
        write_json(
            record,
            {
                "seconds": round(time.monotonic() - start, 3),
                "cpu_seconds": round(_processor_seconds() - spent, 3),
                "peak_pss_mb": round(peak, 1),
                "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **extra,
            },
        )


def _processor_seconds() -> float:
    """Return CPU seconds of this process and its ended children since process start."""
    # Callers take differences, because one process may run several stages.
    cpu = os.times()
    return cpu.user + cpu.system + cpu.children_user + cpu.children_system
