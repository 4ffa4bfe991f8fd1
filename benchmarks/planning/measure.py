"""Measurement of a run's memory per rank (by phase) and processor time per step."""

import json
import multiprocessing
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.planning import rank
from benchmarks.planning.cases import Case

PAUSE = 0.1  # s between two looks at a rank's memory: a look walks all its pages


@dataclass(frozen=True)
class Measured:
    """Peaks over ranks, bytes by phase; mean processor seconds of one rank's step by phase, the first step left out."""

    memory: dict[str, int]
    seconds: dict[str, float]
    prompt: int  # tokens of a prompt, image included
    config: dict[str, Any]  # of the model


def resident(pid: int) -> int:
    """Return a process's anonymous pages and its share (PSS) of mapped files, bytes; 0 if it has ended.

    A forked rank shares the imports' pages with its parent; one that a launcher starts has them for itself. So they
    count whole.
    """
    found = 0
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, size, *_ = line.split()
            found += int(size) * 1024 if name in ("Anonymous:", "Pss_File:") else 0
    return found


def measure(case: Case, home: Path) -> Measured:
    """Build the case's model, train it on `case.ranks` forked processes and watch them.

    Call `rank.import_everything` first.

    Raises:
        RuntimeError: a rank failed; its last lines are in the message.
    """
    forked = multiprocessing.get_context("fork")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    home = home.absolute()
    builder = forked.Process(target=rank.build, args=(case, home / "model"))
    builder.start()
    builder.join()
    children = [forked.Process(target=rank.work, args=(case, home, number)) for number in range(case.ranks)]
    for child in children:
        child.start()
    samples: list[list[tuple[float, int]]] = [[] for _ in children]
    try:
        while any(child.is_alive() for child in children) and not any(child.exitcode for child in children):
            for child, seen in zip(children, samples, strict=True):
                seen.append((time.time(), resident(child.pid or 0)))
            time.sleep(PAUSE)
    finally:
        for child in children:
            child.kill()
            child.join()
    if failed := [number for number, child in enumerate(children) if child.exitcode]:
        codes = [child.exitcode for child in children]
        raise RuntimeError(f"{case.name}: exit codes {codes}: {(home / f'log-{failed[0]}').read_text()[-2000:]}")
    marks = [
        [json.loads(line) for line in (home / f"phases-{number}.jsonl").read_text().splitlines()]
        for number in range(case.ranks)
    ]
    built = json.loads((home / "built.json").read_text())
    shutil.rmtree(home)
    return Measured(_peaks(marks, samples), _seconds(marks), built["prompt"], built["config"])


def _peaks(
    marks: Sequence[Sequence[dict[str, float | str]]], samples: Sequence[Sequence[tuple[float, int]]]
) -> dict[str, int]:
    peaks: dict[str, int] = {}
    for lines, seen in zip(marks, samples, strict=True):
        for at, size in seen:
            now = [str(line["phase"]) for line in lines if float(line["at"]) <= at]
            phase = now[-1] if now else "start"
            peaks[phase] = max(peaks.get(phase, 0), size)
    peaks.pop("end", None)
    return peaks


def _seconds(marks: Sequence[Sequence[dict[str, float | str]]]) -> dict[str, float]:
    """Return each phase's processor seconds in a step; a step ends with its update."""
    totals: dict[str, float] = {}
    for lines in marks:
        spans = [(str(a["phase"]), float(b["cpu"]) - float(a["cpu"])) for a, b in pairwise(lines)]
        ends = [i for i, (phase, _) in enumerate(spans) if phase == "update"]
        for phase, seconds in spans[ends[0] + 1 : ends[-1] + 1]:
            totals[phase] = totals.get(phase, 0.0) + seconds / (len(ends) - 1) / len(marks)
    return totals
