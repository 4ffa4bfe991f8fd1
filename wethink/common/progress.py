"""Progress bars on a terminal, periodic lines in a log file (tqdm)."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(
    iterable: Iterable[T], description: str, total: int | None = None, start: int = 0, quiet: bool = False
) -> "tqdm[T]":
    """Wrap an iterable in a progress bar; `start` counts items of an earlier run."""
    terminal = sys.stderr.isatty()
    return tqdm(
        iterable,
        desc=description,
        total=total,
        initial=start,
        disable=quiet,
        mininterval=0.2 if terminal else 15.0,
        maxinterval=0.2 if terminal else 15.0,
        dynamic_ncols=terminal,
        ascii=not terminal,
        leave=True,
    )


def say(sentence: str) -> None:
    """Print a line to stderr without breaking a running progress bar."""
    tqdm.write(sentence, file=sys.stderr)
