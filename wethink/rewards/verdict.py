"""Verdict of an answer check: correct, wrong or unknown, with a reason and a score.

`unknown` is reserved for faults that no response can cause: a row without a usable gold, a service that is down, a
defect of the code. Every fault that a response can cause (it cannot be parsed, it is too long, its check times out, a
judge refuses it) is wrong, so that a policy cannot exploit `unknown`.
"""

from dataclasses import dataclass
from typing import Literal

MAX_ANSWER_CHARS = 1000  # longer answers are wrong and are not parsed
GOOD = 0.5  # graded scores from here count as correct; the reward is the score itself

Outcome = Literal["correct", "wrong", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """Outcome of a check; `score` is in [0, 1], None if unknown; `kind`: which kind of value was compared."""

    outcome: Outcome
    reason: str
    score: float | None
    kind: str = ""


def correct(reason: str) -> Verdict:
    return Verdict("correct", reason, 1.0)


def wrong(reason: str) -> Verdict:
    return Verdict("wrong", reason, 0.0)


def unknown(reason: str) -> Verdict:
    return Verdict("unknown", reason, None)


def graded(score: float, reason: str) -> Verdict:
    return Verdict("correct" if score >= GOOD else "wrong", reason, score)
