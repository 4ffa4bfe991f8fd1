"""The hybrid reward: total = accuracy_weight · accuracy + format_weight · format (paper: 0.7 and 0.3).

Accuracy needs a strictly parsed answer: where the grammar is broken there is no answer to check and both
parts are 0. A row that cannot be checked at all (a fault of its gold or of a service, whatever the response) is
unknown: its total is None, and it must leave the group's statistics instead of counting as wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wethink.common.errors import UserError
from wethink.config.rewards import Rewards
from wethink.rewards import format as grammar
from wethink.rewards.judge import lexical_judge, model_judge
from wethink.rewards.rules import verify
from wethink.rewards.verdict import Verdict, unknown, wrong


@dataclass(frozen=True)
class Scored:
    """One response's reward and its parts; `accuracy` and `total` are None when the row is unknown."""

    format: float
    accuracy: float | None
    total: float | None
    verdict: Verdict


def score(response: str, row_problem: str, gold: str, category: str, reward: str, config: Rewards) -> Scored:
    """Score one response of a policy to one row.

    Raises:
        UserError: `config` names a model judge that nothing can reach (`judge.connected` opens it).
    """
    parsed = grammar.parse(response)
    form = 0.0 if parsed.fault else 1.0
    if reward == "model" and config.judge != "lexical":
        verdict = _by_model(gold, row_problem, parsed)
    else:
        verdict = check(parsed.answer or "-", row_problem, gold, category, reward, config.tolerance)
    if verdict.score is None:
        return Scored(form, None, None, verdict)
    if parsed.fault:
        return Scored(0.0, 0.0, 0.0, wrong(parsed.fault))
    return Scored(form, verdict.score, config.accuracy_weight * verdict.score + config.format_weight * form, verdict)


def check(answer: str, problem: str, gold: str, category: str, reward: str, tolerance: float) -> Verdict:
    """Check an extracted answer by the row's route: `rule`, or `model` (the connected judge, else the lexical one)."""
    match reward:
        case "rule":
            return verify.verify(answer, gold, problem, category, tolerance)
        case "model":
            model = model_judge.current()
            return model.ask([(problem, gold, answer)])[0] if model else lexical_judge.judge(answer, gold)
        case _:
            return unknown(f"unknown reward route {reward!r}")


def prefetch_verdicts(asked: Sequence[tuple[str, str, str, str]]) -> None:
    """Ask the connected judge about many responses (response, problem, gold, reward) at once; `score` then remembers.

    Without a model judge this does nothing.
    """
    model = model_judge.current()
    if model is not None:
        parsed = [
            (problem, gold, grammar.parse(text).answer) for text, problem, gold, reward in asked if reward == "model"
        ]
        model.ask([one for one in parsed if one[2]])


def _by_model(gold: str, problem: str, parsed: grammar.Parsed) -> Verdict:
    model = model_judge.current()
    if model is None:
        raise UserError("rewards.judge names a model, but nothing has connected it; set it to lexical, or report this.")
    if parsed.fault:  # nothing to be judged; only whether the row could be
        return unknown("gold is empty") if not gold.strip() else wrong(parsed.fault)
    return model.ask([(problem, gold, parsed.answer)])[0]
