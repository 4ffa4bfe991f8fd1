"""What a check found: correct, wrong or unknown, with a reason and a score.

`unknown` is kept for faults that no response can cause: a row without a usable gold, a service that is down, a
defect of ours. Whatever a response itself brings about (it cannot be read, it is too long, its check takes too
long, a judge refuses it) is wrong; else a policy would find a safe haven in it.
"""

from dataclasses import dataclass
from typing import Literal

MAX_ANSWER_CHARS = 1000  # longer answers are wrong before anything parses them
GOOD = 0.5  # a graded score from here on counts as correct; the reward is the score itself

Outcome = Literal["correct", "wrong", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """What a check found; `score` is in [0, 1], None when unknown."""

    outcome: Outcome
    reason: str
    score: float | None


def correct(reason: str) -> Verdict:
    return Verdict("correct", reason, 1.0)


def wrong(reason: str) -> Verdict:
    return Verdict("wrong", reason, 0.0)


def unknown(reason: str) -> Verdict:
    return Verdict("unknown", reason, None)


def graded(score: float, reason: str) -> Verdict:
    return Verdict("correct" if score >= GOOD else "wrong", reason, score)
