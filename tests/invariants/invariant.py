"""Invariants with mutants: `check(False)` must pass; `check(True)`, with a planted defect, must fail."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from tests.invariants.worlds import Crash
from wethink.common.errors import UserError


@dataclass(frozen=True)
class Law:
    name: str
    check: Callable[[bool], None]
    mutant: str  # what the planted defect is
    quick: bool = False  # continuous integration holds it, `make laws` holds all

    def holds(self) -> str:
        """Empty if the law holds, else why not."""
        return _failure(self.check, False)

    def caught(self) -> bool:
        """Whether the law breaks with the defect in place. A defect that crashes, or an engine that does not start
        on this machine, proves nothing about the law."""
        try:
            return bool(_failure(self.check, True))
        except (Crash, UserError):
            return False


def _failure(check: Callable[[bool], None], mutant: bool) -> str:
    try:
        check(mutant)
    except (Crash, UserError) as error:
        if mutant:
            raise
        return str(error)
    except AssertionError as error:
        return str(error) or "an assertion failed"
    return ""


@contextlib.contextmanager
def planted(mutant: bool, target: str, defect: Any) -> Iterator[None]:
    """Replace `module.name` by a defect if the mutant is wanted; forked ranks inherit it."""
    with mock.patch(target, defect) if mutant else contextlib.nullcontext():
        yield
