"""Metrics file and run record of a stage, as every tracker reads them, and each tracker's memory of its runs."""

import contextlib
import functools
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec

from wethink.common.jsonl import read_json, write_json
from wethink.common.paths import WORK

P = ParamSpec("P")
Memory = dict[str, Any]  # what a tracker's adapter keeps of a run: its id, status or last logged step


def harmless(tracker: str) -> Callable[[Callable[P, None]], Callable[P, bool]]:
    """Decorate a function to turn any failure of the tracker into one warning and False."""

    def decorate(function: Callable[P, None]) -> Callable[P, bool]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> bool:
            try:
                function(*args, **kwargs)
            except Exception as error:
                first = (str(error).splitlines() or [""])[0]
                logging.getLogger(__name__).warning(
                    "%s: %s: %s; the run goes on, the next start logs what is missing.",
                    tracker,
                    type(error).__name__,
                    first[:200],
                )
                return False
            return True

        return guarded

    return decorate


def until_failure(log: Callable[[], bool]) -> Callable[[], None]:
    """Return a function that calls `log` until it has failed once: a tracker that is down is not asked again."""
    live = True

    def watch() -> None:
        nonlocal live
        live = live and log()

    return watch


def metrics_log(stage: str) -> Path:
    """Return the metrics.jsonl of the stage's current or last finished run."""
    return WORK / "runs" / f"{stage}.metrics.jsonl"


def live_log(stage: str, since: float) -> Path | None:
    """Return the metrics.jsonl of a run in progress that started after `since`; None if there is none yet.

    It lies in a scratch folder, whose name is the run's fingerprint.
    """
    link = metrics_log(stage)
    return link.resolve() if link.is_symlink() and link.exists() and link.lstat().st_mtime >= since else None


def read_lines(log: Path) -> list[dict[str, Any]]:
    """Read the complete lines of a log of JSON lines."""
    records = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # the last line may be incomplete
            records.append(json.loads(line))
    return records


def read_record(stage: str) -> dict[str, Any]:
    """Read the record of the stage's last run (wethink.dag.usage); empty if there is none."""
    path = WORK / "runs" / f"{stage}.run.json"
    record: dict[str, Any] = read_json(path) if path.is_file() else {}
    return record


def headlines(record: dict[str, Any]) -> dict[str, float]:
    """Return the figures of a finished run under dotted names; metrics.json has the deeper ones."""
    cost = {key: record[key] for key in ("seconds", "peak_pss_mb")}
    figures = flatten({"result": record["metrics"], "run": cost})
    return {name: value for name, value in figures.items() if name.count(".") < 4}


def flatten(value: Any, prefix: str = "") -> dict[str, float]:
    """Flatten a nested mapping's numbers to dotted names, dropping other values.

    >>> flatten({"sft": {"accuracy": 0.5}, "name": "x"})
    {'sft.accuracy': 0.5}
    """
    if isinstance(value, dict):
        parts = [flatten(item, f"{prefix}.{key}" if prefix else str(key)) for key, item in value.items()]
        return {name: number for part in parts for name, number in part.items()}
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return {prefix: float(value)} if numeric else {}


def recall(tracker: str, name: str) -> Memory:
    """Read what a tracker's adapter kept under a name; empty if it kept nothing."""
    path = _place(tracker, name)
    memory: Memory = read_json(path) if path.is_file() else {}
    return memory


def remember(tracker: str, name: str, memory: Memory) -> None:
    write_json(_place(tracker, name), memory)


def _place(tracker: str, name: str) -> Path:
    return WORK / "tracking" / tracker / f"{name}.json"
