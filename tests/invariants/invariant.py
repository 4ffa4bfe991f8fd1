"""Invariants with mutants.

`check("")` must pass; `check(defect)`, with a planted defect, must fail, and by the law itself.
"""

import contextlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from wethink.common.errors import UserError


class Broken(AssertionError):
    """The law itself is broken: the distance, count or text that it is about is not as it must be.

    Only this counts as a caught mutant. Any other failed assertion (a peer that is not installed, a name that is not
    there, a run that never came to its step) means that the law could not be checked.
    """


def hold(condition: object, message: str = "the law is broken") -> None:
    """Break the law unless the condition is true."""
    if not condition:
        raise Broken(message)


@dataclass(frozen=True)
class Law:
    name: str
    check: Callable[[str], dict[str, float] | None]  # with "", or the defect to plant; may return figures to report
    mutant: str  # what the planted defect is
    quick: bool = False  # continuous integration holds it, `make laws` holds all
    others: tuple[str, ...] = ()  # further planted defects

    @property
    def mutants(self) -> tuple[str, ...]:
        return (self.mutant, *self.others)

    def holds(self) -> "Outcome":
        """Check the law on the code as it is; whatever fails breaks it."""
        return outcome(self.check, "")

    def missed(self) -> list[str]:
        """The planted defects that the law does not see. One that fails otherwise than by the law proves nothing."""
        return [mutant for mutant in self.mutants if not outcome(self.check, mutant).by_the_law]


@dataclass(frozen=True)
class Outcome:
    failure: str = ""  # why the law does not hold
    by_the_law: bool = False  # whether the law itself failed, not something that kept it from being checked
    figures: dict[str, float] = field(default_factory=dict)


def outcome(check: Callable[[str], dict[str, float] | None], mutant: str) -> Outcome:
    try:
        return Outcome(figures=check(mutant) or {})
    except Exception as error:  # whatever fails breaks this law, and the others are checked all the same
        message = str(error) if isinstance(error, (AssertionError, UserError)) else traceback.format_exc()
        return Outcome(message or "an assertion failed", isinstance(error, Broken))


@contextlib.contextmanager
def planted(mutant: object, target: str, defect: Any) -> Iterator[None]:
    """Replace `module.name` by a defect if the mutant is wanted; forked ranks inherit it."""
    with mock.patch(target, defect) if mutant else contextlib.nullcontext():
        yield
