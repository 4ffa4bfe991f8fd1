"""A progress bar on a terminal, a line now and then in a log file."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def track(
    iterable: Iterable[T], description: str, total: int | None = None, start: int = 0, quiet: bool = False
) -> "tqdm[T]":
    """Wrap an iterable in a bar with rate and ETA; `start` counts what an earlier run has done."""
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
    """A line for people that does not tear a running bar apart."""
    tqdm.write(sentence, file=sys.stderr)
