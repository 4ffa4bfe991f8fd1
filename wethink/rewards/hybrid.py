"""The hybrid reward: total = accuracy_weight · accuracy + format_weight · format (paper: 0.7 and 0.3).

Accuracy needs a strictly parsed answer: where the grammar is broken there is no answer to check and both
parts are 0. A row that cannot be checked at all (a fault of its gold, whatever the response) is unknown:
its total is None, and it must leave the group's statistics instead of counting as wrong.
"""

from dataclasses import dataclass

from wethink.config import Rewards
from wethink.rewards import grammar, judge, rules
from wethink.rewards.rules import Verdict


@dataclass(frozen=True)
class Scored:
    """One response's reward and its parts; `accuracy` and `total` are None when the row is unknown."""

    format: float
    accuracy: float | None
    total: float | None
    verdict: Verdict


def score(response: str, row_problem: str, gold: str, category: str, reward: str, config: Rewards) -> Scored:
    """Score one response of a policy to one row."""
    parsed = grammar.parse(response)
    form = 0.0 if parsed.fault else 1.0
    verdict = check(parsed.answer or "-", row_problem, gold, category, reward, config.tolerance)
    if verdict.score is None:
        return Scored(form, None, None, verdict)
    if parsed.fault:
        return Scored(0.0, 0.0, 0.0, rules.wrong(parsed.fault))
    return Scored(form, verdict.score, config.accuracy_weight * verdict.score + config.format_weight * form, verdict)


def check(answer: str, problem: str, gold: str, category: str, reward: str, tolerance: float) -> Verdict:
    """Check an extracted answer by the row's reward route: `rule` or `model`."""
    match reward:
        case "rule":
            return rules.verify(answer, gold, problem, category, tolerance)
        case "model":
            return judge.judge(answer, gold)
        case _:
            return rules.unknown(f"unknown reward route {reward!r}")
