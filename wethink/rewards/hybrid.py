"""Hybrid reward: accuracy_weight · accuracy + format_weight · format (paper: 0.7 and 0.3).

Accuracy needs a strictly parsed answer: if the grammar is broken, both parts are 0. If the row cannot be checked (a
fault of its gold or of a service, whatever the response), its verdict is unknown and its total None; callers leave it
out of the group's statistics instead of counting it as wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from wethink.common.errors import UserError
from wethink.config.rewards import Rewards
from wethink.data.schema import Item
from wethink.rewards import format as grammar
from wethink.rewards.judge import lexical_judge, model_judge
from wethink.rewards.rules import verify
from wethink.rewards.verdict import Verdict, unknown, wrong


@dataclass(frozen=True)
class Scored:
    """One response's reward; `accuracy` and `total` are None if it is unknown."""

    format: float
    accuracy: float | None
    total: float | None
    verdict: Verdict


def score(response: str, row_problem: str, gold: str, category: str, reward: str, config: Rewards) -> Scored:
    """Score one response of a policy to one row.

    Raises:
        UserError: `config` names a model judge and no `judge_connection` is open.
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
    """Check an extracted answer by the row's route, `rule` or `model`.

    The route `model` uses the connected model judge, else the lexical judge; any other route is unknown.
    """
    match reward:
        case "rule":
            return verify.verify(answer, gold, problem, category, tolerance)
        case "model":
            model = model_judge.current()
            return model.ask([(problem, gold, answer)])[0] if model else lexical_judge.judge(answer, gold)
        case _:
            return unknown(f"unknown reward route {reward!r}")


def score_batch(responses: Sequence[tuple[str, Item]], config: Rewards) -> list[Scored]:
    """Score many responses, each with its row; a model judge is asked concurrently.

    Raises:
        UserError: like `score`.
    """
    _ask_judge([(grammar.parse(text).answer or "", row) for text, row in responses])
    return [
        score(text, row["problem"], row["answer"], row["category"], row["reward"], config) for text, row in responses
    ]


def check_batch(answers: Sequence[tuple[str, Item]], config: Rewards) -> list[Verdict]:
    """Check many extracted answers, each with its row; a model judge is asked concurrently."""
    _ask_judge(answers)
    return [
        check(answer, row["problem"], row["answer"], row["category"], row["reward"], config.tolerance)
        for answer, row in answers
    ]


def _ask_judge(answers: Sequence[tuple[str, Item]]) -> None:
    # The judge caches its verdicts, so `score` and `check` find them afterwards.
    model = model_judge.current()
    if model is not None:
        model.ask([(row["problem"], row["answer"], text) for text, row in answers if text and row["reward"] == "model"])


def _by_model(gold: str, problem: str, parsed: grammar.Parsed) -> Verdict:
    model = model_judge.current()
    if model is None:
        raise UserError("rewards.judge names a model, but nothing has connected it; set it to lexical, or report this.")
    if parsed.fault:  # no answer to judge; an empty gold is unknown all the same
        return unknown("gold is empty") if not gold.strip() else wrong(parsed.fault)
    return model.ask([(problem, gold, parsed.answer)])[0]
