"""Rule-based verification of MC and FIB answers.

The gold decides how an answer is read: as an option, a number, yes/no, a list or a text.
Declared rules, each with cases in tests/test_rewards.py:

* option: its letter (`B`, `b)`, `(B)`, `B.`), the letter with its own text, or a text that is exactly one option's;
* number: thousands separators, a/b, mixed fractions, number words to twenty, a currency sign. An integer gold must
  be met exactly; any other within the relative tolerance. A unit in only one of answer and gold is ignored; two
  units must be equal. `x%` on one side only may stand for x or x/100;
* yes/no: the first word decides (true = yes, false = no); a second, contrary word makes it wrong;
* list (`,`, `;` or `and` in the gold): the same items in the same order;
* text: equal without case, articles, outer punctuation and repeated spaces.

Several different answers at once are wrong. `unknown` is kept for faults of the row itself (no usable gold),
never of the answer: a policy must not find a safe haven in it.
"""

import math
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

MAX_ANSWER_CHARS = 1000  # longer answers are wrong before anything parses them

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


def verify(answer: str, gold: str, problem: str, category: str, tolerance: float) -> Verdict:
    """Check an answer against its gold; never raises.

    Args:
        answer: the text of the answer block.
        gold: the row's answer; its form decides how `answer` is read.
        problem: the question; multiple-choice options are read from it.
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
    text = _plain(answer)
    if not text:
        return wrong("empty answer")
    if category == "MC":
        return _verify_option(text, gold, problem)
    return _verify_blank(text, _plain(gold), tolerance)


@lru_cache(maxsize=65536)
def gold_fault(gold: str, problem: str, category: str) -> str | None:
    """Why no answer to this row can be checked by rules, or None."""
    if category not in ("MC", "FIB"):
        return f"category {category} is not checked by rules"
    if not _plain(gold):
        return "gold is empty"
    if len(gold) > MAX_ANSWER_CHARS:
        return f"gold longer than {MAX_ANSWER_CHARS} characters"
    if category == "MC" and choose(gold, problem) is None:
        return "gold names no option of the problem"
    return None


# --- options ---------------------------------------------------------------------------------

_MARKED = re.compile(r"(?<![A-Za-z0-9])(?:\(([A-J])\)|([A-J])[).:])(?=\s|$)")
_BARE = re.compile(r"(?<![A-Za-z0-9])([A-J])(?=\s)")
_LETTER = re.compile(r"\(?([A-Ja-j])(?:[).:]|\b)\s*")


@lru_cache(maxsize=65536)
def options(problem: str) -> dict[str, str]:
    """The options that a problem lists, letter → text; empty if it lists none.

    Marked letters (`A.`, `(A)`, `A:`) win over bare ones; of several runs A, B, … the last counts,
    as a sentence of the question may begin with the article "A".

    >>> options("Which is larger? A red circle B blue star")
    {'A': 'red circle', 'B': 'blue star'}
    """
    for pattern in (_MARKED, _BARE):
        marks = [(next(g for g in m.groups() if g), m.start(), m.end()) for m in pattern.finditer(problem)]
        for first in reversed([i for i, mark in enumerate(marks) if mark[0] == "A"]):
            run = [marks[first]]
            for mark in marks[first + 1 :]:
                if mark[0] == chr(ord(run[-1][0]) + 1):
                    run.append(mark)
            if len(run) > 1:
                ends = [start for _, start, _ in run[1:]] + [len(problem)]
                return {
                    letter: problem[begin:end].strip().rstrip(",;")
                    for (letter, _, begin), end in zip(run, ends, strict=True)
                }
    return {}


def choose(answer: str, problem: str) -> str | None:
    """The letter of the one option that an answer names, or None (none, several, or a letter with another's text)."""
    text, listed = _plain(answer), options(problem)
    texts = {letter: _word_form(option) for letter, option in listed.items()}
    mark = _LETTER.match(text)
    if mark is not None:
        letter, rest = mark.group(1).upper(), _word_form(text[mark.end() :])
        known = letter in listed or not listed
        if known and not rest:
            return letter
        if letter in listed and rest == texts[letter]:
            return letter
        if mark.group(1).isupper():  # a letter with something else; lower case may be the article "a"
            return None
    named = [letter for letter, option in texts.items() if option and option == _word_form(text)]
    return named[0] if len(named) == 1 else None


def _verify_option(text: str, gold: str, problem: str) -> Verdict:
    letter, expected = choose(text, problem), choose(gold, problem)
    if letter is None:
        return wrong("names not exactly one option")
    return correct("right option") if letter == expected else wrong(f"option {letter} instead of {expected}")


# --- blanks ----------------------------------------------------------------------------------

_NUMBER = re.compile(
    r"(?P<sign>[-+]?)\s?(?P<currency>[$€£¥]?)\s?"
    r"(?:(?P<whole>[0-9]{1,12}) )?"
    r"(?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?P<exponent>[eE][-+]?[0-9]{1,3})?"
    r"(?:\s?/\s?(?P<below>[0-9]+(?:\.[0-9]+)?))?"
    r"\s?(?P<unit>%|°|(?:°?[a-zμ/]+(?:\^?[23])?(?: [a-zμ/]+(?:\^?[23])?)?)?)",
)
_NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_NUMBER_WORD = {word: float(value) for value, word in enumerate(_NUMBER_WORDS)}
_NO_UNIT = {  # what follows a number and changes it
    *_NUMBER_WORDS,
    *("or", "and", "to", "minus", "plus", "times", "not", "nor", "point", "half", "hundred", "thousand"),
    *("million", "billion", "yes", "no", "e", "x"),
}
_YES_NO = {"yes": "yes", "true": "yes", "no": "no", "false": "no", "not": "no"}
_SEPARATOR = re.compile(r"[,;]\s*and\b|[,;&]|\band\b", re.IGNORECASE)
_PREFIX = re.compile(
    r"(?:the )?(?:(?:correct|final|right) )?(?:answer|option|choice)(?: is|:| is:| :)? (?=\S)", re.IGNORECASE
)
_ARTICLE = re.compile(r"\b(?:a|an|the)\s+")


@dataclass(frozen=True)
class _Quantity:
    value: float
    unit: str
    integer: bool


def _verify_blank(text: str, gold: str, tolerance: float) -> Verdict:
    quantity = _quantity(gold)
    if quantity is not None:
        return _verify_number(text, quantity, tolerance)
    if _word_form(gold) in ("yes", "no", "true", "false"):
        return _verify_yes_no(text, _YES_NO[_word_form(gold)])
    wanted = _items(gold)
    if len(wanted) > 1:
        return _verify_list(text, wanted, tolerance)
    if _word_form(text) == _word_form(gold):
        return correct("equal text")
    return wrong("several answers" if len(_items(text)) > 1 else "another text")


def _verify_number(text: str, gold: _Quantity, tolerance: float) -> Verdict:
    found = _quantity(text)
    if found is None:
        return wrong("several answers" if len(_items(text)) > 1 else "not a number")
    if found.unit and gold.unit and found.unit != gold.unit:
        return wrong(f"unit {found.unit} instead of {gold.unit}")
    values = {found.value}
    if (found.unit == "%") != (gold.unit == "%"):  # 50% may be written 50 or 0.5
        values.add(found.value / 100 if found.unit == "%" else found.value * 100)
    slack = 1e-9 if gold.integer else tolerance * (1 + 1e-9)
    if any(abs(value - gold.value) <= slack * max(abs(gold.value), 1e-12) for value in values):
        return correct("equal number")
    return wrong("another number")


def _verify_yes_no(text: str, gold: str) -> Verdict:
    words = re.findall(r"[a-z]+", text.casefold())
    polarity = {_YES_NO[word] for word in words if word in _YES_NO}
    if len(polarity) > 1:
        return wrong("both yes and no")
    if not words or words[0] not in _YES_NO or words[0] == "not":
        return wrong("neither yes nor no")
    return correct(f"{gold}") if polarity == {gold} else wrong(f"not {gold}")


def _verify_list(text: str, wanted: list[str], tolerance: float) -> Verdict:
    found = _items(text)
    if len(found) != len(wanted):
        return wrong(f"{len(found)} items instead of {len(wanted)}")
    for place, (mine, theirs) in enumerate(zip(found, wanted, strict=True), start=1):
        quantity = _quantity(theirs)
        same = _word_form(mine) == _word_form(theirs) if quantity is None else False
        if quantity is not None:
            same = _verify_number(mine, quantity, tolerance).outcome == "correct"
        if not same:
            return wrong(f"item {place} differs")
    return correct("equal list")


def _quantity(text: str) -> _Quantity | None:
    """The number with its unit that the whole text is, or None."""
    text = _bare(text)
    if text.casefold() in _NUMBER_WORD:
        return _Quantity(_NUMBER_WORD[text.casefold()], "", True)
    head, _, tail = text.casefold().partition(" ")
    if head in _NUMBER_WORD and tail:
        text = f"{_NUMBER_WORD[head]:.0f} {tail}"
    match = _NUMBER.fullmatch(re.sub(r"\\d?frac\{([0-9.]+)\}\{([0-9.]+)\}", r"\1/\2", text.casefold()))
    if match is None:
        return None
    unit = _unit(match["unit"])
    if unit is None or (match["whole"] and not match["below"]):
        return None
    value = float(match["number"].replace(",", "") + (match["exponent"] or ""))
    if match["below"]:
        below = float(match["below"])
        if below == 0:
            return None
        value = float(match["whole"] or 0) + value / below
    if not math.isfinite(value):
        return None
    integer = not (match["below"] or match["exponent"]) and "." not in match["number"]
    return _Quantity(-value if match["sign"] == "-" else value, unit or match["currency"], integer)


def _unit(text: str) -> str | None:
    words = text.split()
    if any(word in _NO_UNIT for word in words):
        return None
    joined = " ".join(word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)
    return "%" if joined in ("percent", "per cent", "pct") else joined


def _items(text: str) -> list[str]:
    """The parts of a list; a number with thousands separators is one part."""
    if _quantity(text) is not None:
        return [text]
    return [part for part in (piece.strip() for piece in _SEPARATOR.split(_bare(text))) if part]


# --- text ------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    """One kind of digits, dashes and spaces; without outer marks and an announcing "the answer is"."""
    text = " ".join(unicodedata.normalize("NFKC", text).replace("−", "-").replace("–", "-").split())
    return _PREFIX.sub("", text.strip("*`\"' "), count=1).strip("*`\"' ") if text else ""


def _bare(text: str) -> str:
    """Without brackets around the whole, dollar signs of mathematics and a final full stop."""
    text = text.strip().rstrip(".!").strip()
    for left, right in ("[]", "()", "{}", "$$"):
        if len(text) > 1 and text[0] == left and text[-1] == right:
            text = text[1:-1].strip()
    return text


def _word_form(text: str) -> str:
    text = _bare(text.casefold()).strip(",;:-*`\"' ")
    return " ".join(_ARTICLE.sub("", text + " ").split()) or text
