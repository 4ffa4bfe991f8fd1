r"""Multiple choice: parser of a problem's options and of the options that an answer names.

A list of options is a run A, B, C … up to Z. Options on lines of their own win over letters in running text, marked
letters (`A.`, `(A)`, `A:red`) over bare ones, a longer run over a shorter one, of equal runs the last (a sentence may
begin with the article "A"). An option ends where the next begins, and the last one at its line's end.
"""

import re
from functools import lru_cache

from wethink.rewards.rules.normalize import plain, word_form
from wethink.rewards.verdict import Verdict, correct, wrong

_WIDE = {0xFF21 + n: 0x41 + n for n in range(26)} | {
    ord(a): ord(b) for a, b in zip("（）．：【】", "().:[]", strict=True)
}
_OWN_LINE = re.compile(
    r"^[ \t>*-]*(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z])(?:[).:、]|(?=\t| [^A-Z\s]*$)))\**[ \t]*", re.MULTILINE
)
_MARKED = re.compile(r"(?<![A-Za-z0-9])(?:\(([A-Z])\)|\[([A-Z])\]|([A-Z])[).:、])(?=\s|$)")
_TIGHT = re.compile(r"(?<![^\s,;])(?:\(([A-Z])\)|([A-Z])[).:、])(?=\S)")
_BARE = re.compile(r"(?<![A-Za-z0-9])([A-Z])(?=\s)")
_LETTER = re.compile(r"[(\[]?([A-Za-z])(?:[).:\]]+|\b)\s*(?:[-,]\s?)?\s*")
_BEHIND = re.compile(r"(?P<text>.+?),? ?[(\[](?P<letter>[A-Za-z])[)\]]\.?")
_CORRECT = re.compile(
    r"[(\[]?(?P<letter>[A-Z])[)\]]?\.? is (?:the )?(?:correct|right|best)(?: (?:answer|option|choice|one))?[.!]?"
)
_CORRECT_HAN = re.compile(r"(?P<letter>[A-Z])(?:是|为)?(?:正确|对)(?:的|答案|选项)*\.?")
_BECAUSE = re.compile(r"[(\[]?(?P<letter>[A-Z])[)\].:]*,? (?:because|since|as) (?P<reason>.{2,300})", re.IGNORECASE)
_DOUBTING = "not no or nor neither either but unless maybe perhaps wrong incorrect except if however unsure"
_DOUBTS = {*_DOUBTING.split()}
_SEVERAL = re.compile(r"\s*(?:,\s*and\b|[,;&]|\band\b|和|与)\s*|\s+")


@lru_cache(maxsize=4096)
def options(problem: str) -> dict[str, str]:
    """Parse the options of a problem, letter → text; empty if it lists none.

    >>> options("Which is larger? A red circle B blue star")
    {'A': 'red circle', 'B': 'blue star'}
    >>> options("Which? (A) one (B) Both (A) and two\\nAnswer with the letter.")
    {'A': 'one', 'B': 'Both (A) and two'}
    """
    text = problem.translate(_WIDE)
    for pattern in (_OWN_LINE, _MARKED, _TIGHT, _BARE):
        marks = [(next(g for g in m.groups() if g), m.start(), m.end()) for m in pattern.finditer(text)]
        run = _longest_run(marks)
        if len(run) > 1:
            ends = [start for _, start, _ in run[1:]] + [len(problem)]
            found = {}
            for place, ((letter, _, begin), end) in enumerate(zip(run, ends, strict=True)):
                option = problem[begin:end].strip()
                if place == len(run) - 1:
                    option = option.split("\n")[0]
                found[letter] = option.strip().rstrip(",;")
            return found
    return {}


def _longest_run(marks: list[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    best: list[tuple[str, int, int]] = []
    starts = [place for place, mark in enumerate(marks) if mark[0] == "A"]
    for first in starts[-50:]:  # a hostile problem may have thousands
        run = [marks[first]]
        for mark in marks[first + 1 :]:
            if ord(mark[0]) == ord(run[-1][0]) + 1:
                run.append(mark)
        if len(run) >= len(best):
            best = run
    return best


@lru_cache(maxsize=4096)
def _forms(problem: str) -> dict[str, str]:
    """Return the options of a problem as word forms."""
    return {letter: word_form(plain(text)) for letter, text in options(problem).items()}


def choose(answer: str, problem: str) -> str | None:
    """Return the letter of the single option that an answer names, or None.

    It may be a letter, a text, both in either order if they agree, "B is correct", or "B because …" where the reason
    names no other option and has no word of doubt. None: it names no option or several, or a letter with another
    option's text.

    >>> [choose(answer, "Which? A red B blue") for answer in ("(b)", "blue", "A or B", "blue (B)", "red (B)")]
    ['B', 'B', None, 'B', None]
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
        article = letter == "A" and any(text.casefold().startswith("a ") for text in options(problem).values())
        if mark.group(1).isupper() and not article:  # a letter with something else
            return _in_words(text, texts)
    form = word_form(text)
    named = [letter for letter, option in texts.items() if option and option == form]
    if len(named) == 1:
        return named[0]
    return _in_words(text, texts)


def _in_words(text: str, texts: dict[str, str]) -> str | None:
    if match := _CORRECT.fullmatch(text) or _CORRECT_HAN.fullmatch(text):
        return match["letter"] if match["letter"] in texts or not texts else None
    if match := _BEHIND.fullmatch(text):
        letter = match["letter"].upper()
        return letter if texts.get(letter) and texts[letter] == word_form(match["text"]) else None
    match = _BECAUSE.fullmatch(text)
    if match is None or match["letter"] not in texts:
        return None
    letter, reason = match["letter"], word_form(match["reason"])
    others = [option for other, option in texts.items() if other != letter and option]
    letters = set(re.findall(r"\b[B-Z]\b", match["reason"])) | set(re.findall(r"\bA\b(?! [a-z])", match["reason"]))
    doubtful = _DOUBTS.intersection(re.findall(r"[a-z]+", reason)) or "?" in reason
    named = any(re.search(rf"(?<!\w){re.escape(option)}(?!\w)", reason) for option in others)
    return None if doubtful or named or letters & (texts.keys() - {letter}) else letter


def choose_several(answer: str, problem: str) -> frozenset[str] | None:
    """Return the letters if an answer names two or more different options, or None.

    Their order does not matter; the problem must list options.

    >>> sorted(choose_several("B, A and D", "Which? A. 2 B. 3 C. 4 D. 5"))
    ['A', 'B', 'D']
    """
    text, texts = plain(answer).rstrip("."), _forms(problem)
    if not texts or len(text) > 80:
        return None
    marks = list(text) if re.fullmatch("[A-Z]{2,26}", text) else _SEVERAL.split(text)
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
