"""Multiple choice: parser of a problem's options and of the options that an answer names."""

import re
from functools import lru_cache

from wethink.rewards.rules.normalize import plain, word_form
from wethink.rewards.verdict import Verdict, correct, wrong

_MARKED = re.compile(r"(?<![A-Za-z0-9])(?:\(([A-J])\)|([A-J])[).:])(?=\s|$)")
_BARE = re.compile(r"(?<![A-Za-z0-9])([A-J])(?=\s)")
_LETTER = re.compile(r"[(\[]?([A-Ja-j])(?:[).:\]]+|\b)\s*(?:[-,]\s)?\s*")
_SEVERAL = re.compile(r"\s*(?:,\s*and\b|[,;&]|\band\b)\s*|\s+")


@lru_cache(maxsize=4096)
def options(problem: str) -> dict[str, str]:
    """Parse the options of a problem, letter → text; empty if it lists none.

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


@lru_cache(maxsize=4096)
def _forms(problem: str) -> dict[str, str]:
    """Return the options of a problem as word forms."""
    return {letter: word_form(plain(text)) for letter, text in options(problem).items()}


def choose(answer: str, problem: str) -> str | None:
    """Return the letter of the single option that an answer names, or None.

    None: it names no option or several, or a letter with another option's text.

    >>> [choose(answer, "Which? A red B blue") for answer in ("(b)", "blue", "A or B")]
    ['B', 'B', None]
    """
    text, texts = plain(answer), _forms(problem)
    mark = _LETTER.match(text)
    if mark is not None:
        letter, rest = mark.group(1).upper(), word_form(text[mark.end() :])
        known = letter in texts or not texts
        if known and not rest:
            return letter
        if letter in texts and rest == texts[letter]:
            return letter
        if mark.group(1).isupper():  # a letter with something else; lower case may be the article "a"
            return None
    form = word_form(text)
    named = [letter for letter, option in texts.items() if option and option == form]
    return named[0] if len(named) == 1 else None


def choose_several(answer: str, problem: str) -> frozenset[str] | None:
    """Return the letters if an answer names two or more different options, or None.

    Their order does not matter; the problem must list options.

    >>> sorted(choose_several("B, A and D", "Which? A. 2 B. 3 C. 4 D. 5"))
    ['A', 'B', 'D']
    """
    text, texts = plain(answer).rstrip("."), _forms(problem)
    if not texts or len(text) > 80:
        return None
    marks = list(text) if re.fullmatch("[A-J]{2,10}", text) else _SEVERAL.split(text)
    letters = [mark.strip("()[].").upper() for mark in marks]
    if len(letters) < 2 or len(set(letters)) < len(letters) or not set(letters) <= texts.keys():
        return None
    return frozenset(letters)


@lru_cache(maxsize=4096)
def expected(gold: str, problem: str) -> frozenset[str] | None:
    """Return the letters of the options that a gold names, or None."""
    letter = choose(gold, problem)
    return frozenset(letter) if letter else choose_several(gold, problem)


def verify_option(answer: str, gold: str, problem: str) -> Verdict:
    """Check a multiple-choice answer; `expected` must accept the gold."""
    wanted = expected(gold, problem) or frozenset()
    if len(wanted) > 1:
        several = choose_several(answer, problem)
        if several is None:
            return wrong("names not several options")
        return correct("right options") if several == wanted else wrong("other options")
    letter = choose(answer, problem)
    if letter is None:
        return wrong("names not exactly one option")
    return correct("right option") if letter in wanted else wrong(f"option {letter} instead of {min(wanted)}")
