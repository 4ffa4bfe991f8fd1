"""Rule-based verification of MC and FIB answers.

The form of the gold decides how an answer is read; docs/rewards.md has every rule with examples,
tests/rewards/cases/rules.jsonl a table:

* option (MC): its letter, the letter with its own text, or a text that is exactly one option's; several letters
  if the gold names several;
* box, point: if the problem asks for one: graded by overlap and distance (`geometry`);
* number: with unit, percent, currency, fraction, power of ten, in words (`quantities`);
* yes/no: the first word decides (true = yes, false = no); a contrary word or a doubt after it makes it wrong;
* date, clock time (`dates`);
* list (`,`, `;`, `and`, line ends): the same items in the same order; in any order if the gold is in braces;
* expression: equal in value (`expressions`);
* text: equal without case, articles, outer punctuation and repeated spaces.

Several different answers at once are wrong. `unknown` is reserved for faults of the row (no usable gold) and of the
machinery, never of the answer, so that a policy cannot exploit it.
"""

import re
from functools import lru_cache

from wethink.rewards.rules import expressions, geometry, quantities
from wethink.rewards.rules.dates import read_clock, read_date
from wethink.rewards.rules.normalize import balanced, bare, fold, plain, unseen, word_form
from wethink.rewards.rules.options import choose, expected, options, verify_option
from wethink.rewards.verdict import MAX_ANSWER_CHARS, Outcome, Verdict, correct, unknown, wrong

__all__ = ["MAX_ANSWER_CHARS", "Outcome", "Verdict", "choose", "correct", "options", "unknown", "verify", "wrong"]

_YES_NO = {"yes": "yes", "true": "yes", "no": "no", "false": "no", "not": "no"}
_DOUBTING = """
or but unless maybe perhaps possibly probably sure unsure wrong right correct incorrect if except however although
guess think either neither unclear unknown opposite
"""
_DOUBTS = set(_DOUBTING.split())
_SEPARATOR = re.compile(r"[,;]\s*and\b|[,;&]|\band\b", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[-*•·]|(?P<number>[0-9]{1,2})[.)])\s+")


def verify(answer: str, gold: str, problem: str, category: str, tolerance: float) -> Verdict:
    """Check an answer against its gold; never raises.

    Args:
        answer: the text of the answer block.
        gold: the row's answer; its form decides how `answer` is read.
        problem: the question, with its multiple-choice options.
        category: `MC` or `FIB`.
        tolerance: relative, for golds that are not integers.

    >>> verify("(b)", "B", "Which? A red B blue", "MC", 0.001).outcome
    'correct'
    >>> verify("1,200.0", "1200", "How many?", "FIB", 0.001).outcome
    'correct'
    """
    fault = gold_fault(gold, problem, category)
    if fault:
        return unknown(fault)
    if len(answer) > MAX_ANSWER_CHARS:
        return wrong(f"answer longer than {MAX_ANSWER_CHARS} characters")
    hidden = unseen(answer)
    if hidden and not hidden <= unseen(gold):
        return wrong(f"invisible character U+{ord(min(hidden - unseen(gold))):04X}")
    text = plain(answer)
    if not text:
        return wrong("empty answer")
    if category == "MC":
        return verify_option(text, gold, problem)
    return _verify_blank(answer, text, gold, problem, tolerance)


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


def _verify_blank(answer: str, text: str, gold: str, problem: str, tolerance: float) -> Verdict:
    """Check a fill-in-the-blank answer; `text` is `answer` after `plain`."""
    match geometry.kind(problem, gold):
        case "box":
            return geometry.verify_box(fold(answer), fold(gold))
        case "point":
            return geometry.verify_point(fold(answer), fold(gold))
    wanted = plain(gold)
    quantity = quantities.read(wanted)
    if quantity is not None:
        found = quantities.read(text)
        if found is None:
            return wrong("several answers" if len(items(text)) > 1 else "not a number")
        return quantities.same(found, quantity, problem, tolerance)
    if word_form(wanted) in ("yes", "no", "true", "false"):
        return _verify_yes_no(text, _YES_NO[word_form(wanted)])
    if (day := read_date(bare(wanted))) is not None:
        return correct("the same date") if read_date(bare(text)) == day else wrong("another date, or none")
    if (clock := read_clock(bare(wanted))) is not None:
        mine = read_clock(bare(text))
        return correct("the same time") if mine is not None and mine <= clock else wrong("another time, or none")
    parts = items(gold)
    if len(parts) > 1:
        return _verify_list(answer, gold, parts, problem, tolerance)
    if expressions.is_expression(wanted) and not (re.fullmatch("[A-Za-z0-9/.-]+", wanted) and _same_text(text, wanted)):
        match expressions.readable(wanted):  # "N/A" or "3D" may be either
            case None:
                return unknown("the comparison of expressions does not work")
            case True:
                return expressions.verify_expression(text, wanted, problem)
    if _same_text(text, wanted):
        return correct("equal text")
    return wrong("several answers" if len(items(text)) > 1 else "another text")


def _same_text(text: str, gold: str) -> bool:
    return word_form(text) == word_form(gold)


def _verify_yes_no(text: str, gold: str) -> Verdict:
    words = re.findall(r"[^\W\d_]+", text.casefold().replace("isn't", "is not"))
    polarity = {_YES_NO[word] for word in words if word in _YES_NO}
    if len(polarity) > 1:
        return wrong("both yes and no")
    if not words or words[0] not in _YES_NO or words[0] == "not" or not text[:1].isalpha():
        return wrong("neither yes nor no")
    if _DOUBTS.intersection(words) or re.search(r"[?/+<>=|]", text):
        return wrong("a doubtful yes or no")
    return correct(f"{gold}") if polarity == {gold} else wrong(f"not {gold}")


def _verify_list(answer: str, gold: str, wanted: list[str], problem: str, tolerance: float) -> Verdict:
    found = items(answer)
    if len(found) != len(wanted):
        return wrong(f"{len(found)} items instead of {len(wanted)}")
    if bare_braces(gold):
        left = list(found)
        for theirs in wanted:
            mine = next((one for one in left if _same_item(one, theirs, problem, tolerance)), None)
            if mine is None:
                return wrong(f"{theirs} is missing")
            left.remove(mine)
        return correct("equal set")
    for place, (mine, theirs) in enumerate(zip(found, wanted, strict=True), start=1):
        if not _same_item(mine, theirs, problem, tolerance):
            return wrong(f"item {place} differs")
    return correct("equal list")


def _same_item(mine: str, theirs: str, problem: str, tolerance: float) -> bool:
    quantity = quantities.read(theirs)
    if quantity is None:
        return word_form(mine) == word_form(theirs)
    return quantities.same(quantities.read(mine), quantity, problem, tolerance).outcome == "correct"


def bare_braces(gold: str) -> bool:
    """Return whether a list is written as a set, whose order does not count."""
    text = plain(gold)
    return text.startswith("{") and text.endswith("}")


@lru_cache(maxsize=4096)
def items(text: str) -> list[str]:
    """Split a list, on one line or several, into its items.

    A number with thousands separators is one item, and so is a text whose brackets the split would break.

    >>> items("1. red\\n2. the blue")
    ['red', 'the blue']
    >>> items("f(x, y)"), items("[1,234]")
    (['f(x, y)'], ['[1,234]'])
    """
    lines = [line for line in fold(text).split("\n") if line]
    if len(lines) > 1:
        bullets = [_BULLET.match(line) for line in lines]
        numbers = [int(mark["number"]) for mark in bullets if mark and mark["number"]]
        if all(bullets) and numbers in ([], list(range(1, len(lines) + 1))):
            lines = [line[mark.end() :] for line, mark in zip(lines, bullets, strict=True) if mark]
        text = "; ".join(line.rstrip(",;") for line in lines)
    text = plain(text)
    if quantities.read(text) is not None:
        return [text]
    parts = [plain(part) for part in _SEPARATOR.split(bare(text))]
    parts = [part for part in parts if part]
    return parts if all(balanced(part) for part in parts) else [text]
