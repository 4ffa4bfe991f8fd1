"""Hybrid reward: accuracy_weight · accuracy + format_weight · format (paper: 0.7 and 0.3), + the user's own functions.

Accuracy needs a strictly parsed answer: if the grammar is broken, all parts are 0. If the row cannot be checked (a
fault of its gold or of a service, whatever the response), its verdict is unknown and its total None; callers leave it
out of the group's statistics instead of counting it as wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, cast

from wethink.common.errors import UserError
from wethink.config.launch import Launch
from wethink.config.rewards import Rewards
from wethink.data.schema import Scorable
from wethink.rewards import alternatives
from wethink.rewards import format as grammar
from wethink.rewards.functions import Call, FunctionProcess
from wethink.rewards.grammars import Parsed
from wethink.rewards.judge import lexical_judge
from wethink.rewards.judge.model_judge import Judge, judge_connection
from wethink.rewards.rules import verify
from wethink.rewards.verdict import Verdict, graded, unknown, wrong


@dataclass(frozen=True)
class Scored:
    """One response's reward; `accuracy` and `total` are None if it is unknown."""

    format: float
    accuracy: float | None
    total: float | None
    verdict: Verdict
    own: float = 0.0  # Σ weight · score of the user's own terms, part of `total`


@dataclass(frozen=True)
class Scorer:
    """Scores responses to rows: the `rewards` section, its open judge and the processes of its own functions."""

    rewards: Rewards
    judge: Judge | None = None
    functions: tuple[FunctionProcess, ...] = ()

    def __post_init__(self) -> None:
        if self.rewards.judge != "lexical" and self.judge is None:
            raise UserError("rewards.judge names a model, but nothing has connected it; set it to lexical.")
        if len(self.functions) != len(self.rewards.functions):
            raise UserError("rewards.functions names functions that nothing has started; leave them out.")

    def score(self, responses: Sequence[tuple[str, Scorable]]) -> list[Scored]:
        """Score responses of a policy, each with its row; a model judge is asked concurrently.

        Raises:
            UserError: no request to the model judge can succeed.
        """
        parsed = [grammar.parse(text, self.rewards.format) for text, _ in responses]
        calls = [Call(text, form.answer, row) for form, (text, row) in zip(parsed, responses, strict=True)]
        # A response without a parsed answer is checked as well: the row's gold may be at fault.
        verdicts = self._verdicts(calls)
        sound = [not form.fault and verdict.score is not None for form, verdict in zip(parsed, verdicts, strict=True)]
        own, faults = self._own_terms(calls, sound)
        return [
            self._total(form, faults.get(place, verdict), own[place])
            for place, (form, verdict) in enumerate(zip(parsed, verdicts, strict=True))
        ]

    def check(self, answers: Sequence[tuple[str, Scorable]]) -> list[Verdict]:
        """Check extracted answers, each with its row; a model judge is asked concurrently.

        Raises:
            UserError: no request to the model judge can succeed.
        """
        return self._verdicts([Call(text, text, row) for text, row in answers])

    def _verdicts(self, calls: Sequence[Call]) -> list[Verdict]:
        """Check each answer against every gold of its row."""
        golds = [alternatives.golds(call.row) for call in calls]
        asked = [
            call if gold == call.row["answer"] else replace(call, row={**call.row, "answer": gold})
            for call, wanted in zip(calls, golds, strict=True)
            for gold in wanted
        ]
        found = iter(self._single(asked))
        return [
            alternatives.combined(call.row, list(islice(found, len(wanted))))
            for call, wanted in zip(calls, golds, strict=True)
        ]

    def _single(self, calls: Sequence[Call]) -> list[Verdict]:
        """Check each answer against its row's `answer`."""
        found: dict[int, Verdict] = {}
        if self.judge is not None:
            places = [place for place, call in enumerate(calls) if call.row["reward"] == "model"]
            asked = [(call.row["problem"], call.row["answer"], call.answer) for call in (calls[i] for i in places)]
            found |= dict(zip(places, self.judge.ask(asked), strict=True))
        for function in self.functions:
            if function.config.route is not None:
                places = [place for place, call in enumerate(calls) if function.applies(call.row)]
                scores = function.score([calls[place] for place in places])
                found |= {place: _verdict(*score) for place, score in zip(places, scores, strict=True)}
        by_rule = [place for place, call in enumerate(calls) if place not in found and call.row["reward"] == "rule"]
        rows = [(calls[place].answer, calls[place].row) for place in by_rule]
        questions = [
            (answer, row["answer"], row["problem"], row["category"], self.rewards.tolerance) for answer, row in rows
        ]
        found |= dict(zip(by_rule, verify.verify_all(questions), strict=True))
        return [
            found[place]
            if place in found
            else check(
                call.answer,
                call.row["problem"],
                call.row["answer"],
                call.row["category"],
                call.row["reward"],
                self.rewards.tolerance,
            )
            for place, call in enumerate(calls)
        ]

    def _own_terms(self, calls: Sequence[Call], sound: Sequence[bool]) -> tuple[list[float], dict[int, Verdict]]:
        """Sum the weighted scores of the user's own terms.

        Returns:
            One sum per call, 0 where `sound` is False, and an unknown verdict for each call that has no score.
        """
        sums, faults = [0.0] * len(calls), dict[int, Verdict]()
        for function in self.functions:
            if function.config.route is None:
                places = [i for i, call in enumerate(calls) if sound[i] and function.applies(call.row)]
                for place, (value, reason) in zip(places, function.score([calls[i] for i in places]), strict=True):
                    if value is None:
                        faults[place] = unknown(reason)
                    else:
                        sums[place] += function.config.weight * value
        return sums, faults

    def _total(self, parsed: Parsed, verdict: Verdict, own: float) -> Scored:
        form = 0.0 if parsed.fault else 1.0
        if verdict.score is None:
            return Scored(form, None, None, verdict)
        if parsed.fault:
            return Scored(0.0, 0.0, 0.0, wrong(parsed.fault))
        total = self.rewards.accuracy_weight * verdict.score + self.rewards.format_weight * form + own
        return Scored(form, verdict.score, total, verdict, own)


@contextmanager
def open_scorer(rewards: Rewards, launch: Launch) -> Iterator[Scorer]:
    """Connect the model judge that `rewards` names, if any, start its own functions, and yield the scorer.

    Raises:
        UserError: a function cannot be loaded, or the judge's endpoint is not configured.
    """
    with ExitStack() as stack:
        functions = tuple(stack.enter_context(closing(FunctionProcess(entry))) for entry in rewards.functions)
        judge = stack.enter_context(judge_connection(rewards, launch))
        yield Scorer(rewards, judge, functions)


def _verdict(score: float | None, reason: str) -> Verdict:
    return unknown(reason) if score is None else graded(score, "scored by the row's own function")


def score(response: str, problem: str, gold: str, category: str, reward: str, rewards: Rewards) -> Scored:
    """Score one response to one row without a model judge.

    Raises:
        UserError: `rewards` names a model judge; `open_scorer` connects it.
    """
    return score_row(response, {"problem": problem, "answer": gold, "category": category, "reward": reward}, rewards)


def score_row(response: str, row: Mapping[str, Any], rewards: Rewards) -> Scored:
    """Score one response to one row as `score` does, against all answers of the row."""
    return Scorer(rewards).score([(response, cast(Scorable, row))])[0]


def check_row(answer: str, row: Mapping[str, Any], tolerance: float) -> Verdict:
    """Check an extracted answer against all answers of its row, as `check` does."""
    problem, category, reward = row["problem"], row["category"], row["reward"]
    found = [check(answer, problem, gold, category, reward, tolerance) for gold in alternatives.golds(row)]
    return alternatives.combined(row, found)


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
