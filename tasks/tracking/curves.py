"""Curves of a stage in trackers that know only steps: followed while the stage runs, completed when it has ended.

A curve belongs to a stage's fingerprint, so a resumed stage continues it after its last logged step.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from tasks.tracking.stage_log import (
    harmless,
    headlines,
    live_log,
    metrics_log,
    read_lines,
    read_record,
    recall,
    remember,
    until_failure,
)


class Curve(Protocol):
    """An open run of W&B, or an open event file of TensorBoard."""

    def log(self, records: list[dict[str, Any]]) -> None:
        """Log the steps that were not logged before."""

    def finish(self, figures: dict[str, float]) -> None:
        """Log the results of the finished stage."""

    def close(self) -> None:
        """Write everything out; the next `open` goes on."""


@dataclass(frozen=True)
class Tracker:
    """A tracker by its name in `launch.report_to`, its name for people, and its `open(stage, key, experiment)`."""

    name: str
    title: str
    open: Callable[[str, str, str], Curve]


@contextlib.contextmanager
def follow(tracker: Tracker, stage: str, experiment: str) -> Iterator[Callable[[], None]]:
    """Yield a function that logs a running stage's new metrics; call it repeatedly."""
    started = time.time()
    curve: Curve | None = None

    @harmless(tracker.title)
    def log_new_steps() -> None:
        nonlocal curve
        if log := live_log(stage, started):
            if curve is None:
                curve = tracker.open(stage, log.parent.name, experiment)
            curve.log(read_lines(log))

    watch = until_failure(log_new_steps)
    try:
        yield watch
        watch()
    finally:
        if curve is not None:
            harmless(tracker.title)(curve.close)()


def catch_up(tracker: Tracker, stage: str, experiment: str) -> bool:
    """Log the rest of a stage's last finished run, and its results; return whether the tracker took them."""

    @harmless(tracker.title)
    def complete() -> None:
        record = read_record(stage)
        if "metrics" not in record:
            return  # never finished
        memory = f"{stage}-{record['fingerprint']}.finished"
        if recall(tracker.name, memory):
            return  # fully logged
        curve = tracker.open(stage, record["fingerprint"], experiment)
        try:
            if metrics_log(stage).is_file():
                curve.log(read_lines(metrics_log(stage)))
            curve.finish(headlines(record))
        finally:
            curve.close()
        remember(tracker.name, memory, {"status": "FINISHED"})

    return complete()
