"""Hybrid reward: accuracy_weight · accuracy + format_weight · format (paper: 0.7 and 0.3).

Accuracy needs a strictly parsed answer: if the grammar is broken, both parts are 0. If the row cannot be checked (a
fault of its gold or of a service, whatever the response), its verdict is unknown and its total None; callers leave it
out of the group's statistics instead of counting it as wrong.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from wethink.common.errors import UserError
from wethink.config.launch import Launch
from wethink.config.rewards import Rewards
from wethink.data.schema import Scorable
from wethink.rewards import format as grammar
from wethink.rewards.judge import lexical_judge
from wethink.rewards.judge.model_judge import Judge, judge_connection
from wethink.rewards.rules import verify
from wethink.rewards.verdict import Verdict, unknown, wrong


@dataclass(frozen=True)
class Scored:
    """One response's reward; `accuracy` and `total` are None if it is unknown."""

    format: float
    accuracy: float | None
    total: float | None
    verdict: Verdict


@dataclass(frozen=True)
class Scorer:
    """Scores responses to rows: the `rewards` section, and the open judge if the section names a model."""

    rewards: Rewards
    judge: Judge | None = None

    def __post_init__(self) -> None:
        if self.rewards.judge != "lexical" and self.judge is None:
            raise UserError("rewards.judge names a model, but nothing has connected it; set it to lexical.")

    def score(self, responses: Sequence[tuple[str, Scorable]]) -> list[Scored]:
        """Score responses of a policy, each with its row; a model judge is asked concurrently.

        Raises:
            UserError: no request to the model judge can succeed.
        """
        parsed = [grammar.parse(text) for text, _ in responses]
        # A response without a parsed answer is checked as well: the row's gold may be at fault.
        verdicts = self.check([(form.answer, row) for form, (_, row) in zip(parsed, responses, strict=True)])
        return [self._total(form, verdict) for form, verdict in zip(parsed, verdicts, strict=True)]

    def check(self, answers: Sequence[tuple[str, Scorable]]) -> list[Verdict]:
        """Check extracted answers, each with its row; a model judge is asked concurrently.

        Raises:
            UserError: no request to the model judge can succeed.
        """
        judged: dict[int, Verdict] = {}
        if self.judge is not None:
            places = [place for place, (_, row) in enumerate(answers) if row["reward"] == "model"]
            asked = [(row["problem"], row["answer"], text) for text, row in (answers[place] for place in places)]
            judged = dict(zip(places, self.judge.ask(asked), strict=True))
        return [
            judged[place]
            if place in judged
            else check(text, row["problem"], row["answer"], row["category"], row["reward"], self.rewards.tolerance)
            for place, (text, row) in enumerate(answers)
        ]

    def _total(self, parsed: grammar.Parsed, verdict: Verdict) -> Scored:
        form = 0.0 if parsed.fault else 1.0
        if verdict.score is None:
            return Scored(form, None, None, verdict)
        if parsed.fault:
            return Scored(0.0, 0.0, 0.0, wrong(parsed.fault))
        total = self.rewards.accuracy_weight * verdict.score + self.rewards.format_weight * form
        return Scored(form, verdict.score, total, verdict)


@contextmanager
def open_scorer(rewards: Rewards, launch: Launch) -> Iterator[Scorer]:
    """Connect the model judge that `rewards` names, if any, and yield the scorer."""
    with judge_connection(rewards, launch) as judge:
        yield Scorer(rewards, judge)


def score(response: str, problem: str, gold: str, category: str, reward: str, rewards: Rewards) -> Scored:
    """Score one response to one row without a model judge.

    Raises:
        UserError: `rewards` names a model judge; `open_scorer` connects it.
    """
    row: Scorable = {"problem": problem, "answer": gold, "category": category, "reward": reward}
    return Scorer(rewards).score([(response, row)])[0]


def check(answer: str, problem: str, gold: str, category: str, reward: str, tolerance: float) -> Verdict:
    """Check an extracted answer without a model: by rules, or by the lexical judge on the route `model`.

    Any other route is unknown.
    """
    match reward:
        case "rule":
            return verify.verify(answer, gold, problem, category, tolerance)
        case "model":
            return lexical_judge.judge(answer, gold)
        case _:
            return unknown(f"unknown reward route {reward!r}")
