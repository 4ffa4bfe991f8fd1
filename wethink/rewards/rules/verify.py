"""Rule-based verification of MC and FIB answers.

The gold decides how an answer is read: it is of the first kind below whose reader accepts it as a whole, and a verdict
tells the kind. docs/rewards.md has every rule with examples, tests/rewards/cases/*.jsonl tables:

* option (MC): its letter, the letter with its own text, or a text that is exactly one option's (`options`);
* refusal: a gold that says that there is no answer accepts every form of it, any other gold none (`unanswerable`);
* box, point: if the problem asks for one: graded by overlap and distance (`geometry`);
* number, quantity, percentage: with unit, currency, fraction, power of ten, in words (`quantities`);
* yes/no: the first word decides (true = yes, false = no); a contrary word or a doubt after it makes it wrong;
* date, time (`dates`); ratio, matrix, tuple, set, list (`containers`), whose items are compared by these same rules;
* interval, inequality, equation, expression: equal in value (`mathematics`);
* text: equal without case, articles, outer punctuation and repeated spaces.

Several different answers at once are wrong. `unknown` is reserved for faults of the row (no usable gold) and of the
machinery, never of the answer, so that a policy cannot exploit it.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from wethink.rewards import unanswerable
from wethink.rewards.rules import geometry
from wethink.rewards.rules.comparison import Context, compare
from wethink.rewards.rules.math_client import COMPARER, Deferred, Question
from wethink.rewards.rules.normalize import fold, plain, unseen
from wethink.rewards.rules.options import choose, expected, options, verify_option
from wethink.rewards.verdict import MAX_ANSWER_CHARS, Outcome, Verdict, correct, unknown, wrong

__all__ = [
    "MAX_ANSWER_CHARS",
    "Outcome",
    "Verdict",
    "choose",
    "correct",
    "options",
    "unknown",
    "verify",
    "verify_all",
    "wrong",
]

ROUNDS = 4  # of questions asked together; a list of many expressions asks the rest one after another
REMEMBERED = 32_768  # verdicts; a group of rollouts repeats answers


class _Unavailable(Exception):
    """The machinery failed; its verdict is not remembered."""


def verify(answer: str, gold: str, problem: str, category: str, tolerance: float) -> Verdict:
    """Check an answer against its gold; never raises.

    Verdicts are remembered by their arguments, but not those of failed machinery.

    Args:
        answer: the text of the answer block.
        gold: the row's answer; its form decides how `answer` is read.
        problem: the question, with its multiple-choice options.
        category: `MC` or `FIB`.
        tolerance: relative, for golds that are not integers.

    >>> verify("(b)", "B", "Which? A red B blue", "MC", 0.001).outcome
    'correct'
    >>> verify("1,200.0", "1200", "How many?", "FIB", 0.001).kind
    'number'
    """
    if len(answer) > MAX_ANSWER_CHARS:  # not remembered: it would fill the memory
        fault = gold_fault(gold, problem, category)
        return unknown(fault) if fault else wrong(f"answer longer than {MAX_ANSWER_CHARS} characters")
    try:
        return _remembered(answer, gold, problem, category, tolerance)
    except _Unavailable as fault:
        return unknown(str(fault))
    except Exception as error:  # an answer must not stop a run, nor become unknown; a defect is the answer's loss
        return wrong(f"cannot be read ({type(error).__name__})")


def verify_all(questions: Sequence[tuple[str, str, str, str, float]]) -> list[Verdict]:
    """Check several answers, each given as the arguments of `verify`.

    The verdicts are those of `verify`, in order. The rules run on this thread only; the comparisons that need
    math-verify are asked together, so that every child process works.
    """
    found: dict[int, Verdict] = {}
    with COMPARER.batch():
        for _ in range(ROUNDS):
            COMPARER.defer(True)
            asked: dict[Question, None] = {}  # in order, once each
            for place, question in enumerate(questions):
                if place not in found:
                    try:
                        found[place] = verify(*question)
                    except Deferred as deferred:
                        asked[deferred.question] = None
            COMPARER.defer(False)
            if len(asked) < 2:
                break
            COMPARER.ask_together(list(asked))
        return [found[place] if place in found else verify(*question) for place, question in enumerate(questions)]


@lru_cache(maxsize=REMEMBERED)
def _remembered(answer: str, gold: str, problem: str, category: str, tolerance: float) -> Verdict:
    fault = gold_fault(gold, problem, category)
    if fault:
        return unknown(fault)
    hidden = unseen(answer)
    if hidden and not hidden <= unseen(gold):
        return wrong(f"invisible character U+{ord(min(hidden - unseen(gold))):04X}")
    text = plain(answer)
    if not text:
        return wrong("empty answer")
    if category == "MC":
        return replace(verify_option(text, gold, problem), kind="option")
    if unanswerable.refuses(gold) or unanswerable.refuses(answer):
        return replace(_refusal(answer, gold), kind=unanswerable.KIND)
    match geometry.kind(problem, gold):
        case "box":
            return replace(geometry.verify_box(fold(answer), fold(gold)), kind="box")
        case "point":
            return replace(geometry.verify_point(fold(answer), fold(gold)), kind="point")
    verdict = compare(_lines(answer), _lines(gold), Context(problem, tolerance))
    if verdict.outcome == "unknown":
        raise _Unavailable(verdict.reason)
    return verdict


def _refusal(answer: str, gold: str) -> Verdict:
    if not unanswerable.refuses(gold):
        return wrong("a refusal, where there is an answer")
    return correct("a refusal") if unanswerable.refuses(answer) else wrong("an answer, where there is none")


@lru_cache(maxsize=4096)
def gold_fault(gold: str, problem: str, category: str) -> str | None:
    """Return why rules can check no answer to this row, or None."""
    if category not in ("MC", "FIB"):
        return f"category {category} is not checked by rules"
    if not plain(gold):
        return "gold is empty"
    if len(gold) > MAX_ANSWER_CHARS:
        return f"gold longer than {MAX_ANSWER_CHARS} characters"
    if category == "MC" and expected(gold, problem) is None:
        return "gold names no option of the problem"
    return None


def _lines(text: str) -> str:
    """Return a text without markup; the lines of a list on several lines stay."""
    lines = [line for line in fold(text).split("\n") if line]
    return text if len(lines) > 1 and "\\begin" not in text else plain(text)
