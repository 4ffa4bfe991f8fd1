"""Rate of unknown rewards by length and by group, and an alarm that stops training.

An unknown verdict is a fault of the row or of a service, so its rate must neither rise during training nor differ
between a group's completions. If it does, the policy may be exploiting answers that cannot be checked.
"""

import math
from collections.abc import Sequence
from typing import Any

from wethink.common.jsonl import Record

WINDOW = 20  # steps: the first WINDOW are compared with the last WINDOW
LEAST = 0.02  # rates up to this raise no alarm
SIGMAS = 4.0  # standard errors of the difference of two proportions


def unknown_rates(rollouts: Sequence[Record]) -> dict[str, Any]:
    """Return the rates of unknown rewards overall, by length and by group.

    `short`, `middle` and `long` are thirds by `tokens`; a group has one `step` and `row`. `split_groups` is the share
    of groups with both unknown and known completions: a row's fault makes its whole group unknown, so a split group
    points to a service or to the policy.
    """
    flags = [record["reward"] is None for record in rollouts]
    by_length = [
        flag for _, flag in sorted(zip((r["tokens"] for r in rollouts), flags, strict=True), key=lambda p: p[0])
    ]
    third = math.ceil(len(by_length) / 3) or 1
    groups: dict[tuple[Any, Any], list[bool]] = {}
    for record, flag in zip(rollouts, flags, strict=True):
        groups.setdefault((record["step"], record["row"]), []).append(flag)
    return {
        "all": _mean(flags),
        "short": _mean(by_length[:third]),
        "middle": _mean(by_length[third : 2 * third]),
        "long": _mean(by_length[2 * third :]),
        "groups": _mean([any(group) for group in groups.values()]),
        "split_groups": _mean([any(group) and not all(group) for group in groups.values()]),
    }


def unknown_alarm(steps: Sequence[tuple[int, int]], window: int = WINDOW) -> str | None:
    """Return why training must stop, or None.

    There is an alarm if the rate over the last `window` steps is above 2 % and exceeds the rate over the first
    `window` steps by more than four standard errors of the difference.

    Args:
        steps: (unknown rewards, all rewards) of every step so far.

    >>> unknown_alarm([(0, 256)] * 20 + [(64, 256)] * 20)
    'unknown rewards rose from 0.0% (steps 1 to 20) to 25.0% (steps 21 to 40)'
    >>> unknown_alarm([(64, 256)] * 40) is None
    True
    """
    if len(steps) < 2 * window:
        return None
    first, last = steps[:window], steps[-window:]
    (a, n), (b, m) = ((sum(u for u, _ in part), sum(t for _, t in part)) for part in (first, last))
    if not n or not m:
        return None
    before, after, both = a / n, b / m, (a + b) / (n + m)
    error = math.sqrt(both * (1 - both) * (1 / n + 1 / m))
    if after <= LEAST or after - before <= SIGMAS * error:
        return None
    return (
        f"unknown rewards rose from {before:.1%} (steps 1 to {window}) to {after:.1%} "
        f"(steps {len(steps) - window + 1} to {len(steps)})"
    )


def _mean(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
