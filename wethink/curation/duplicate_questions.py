"""Are two questions the same one? By their words in order, not by n-grams alone: templates share those everywhere."""

import re
import unicodedata
from collections.abc import Iterable

from wethink.common.jsonl import Record
from wethink.rewards.rules.options import options

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*")
_ARTICLES = {"a", "an", "the"}
GRAM = 3  # words
ASKS_THE_SAME = 0.8  # of the shorter question's word trigrams


def words(text: str) -> tuple[str, ...]:
    """Words and numbers in order, without case, articles and punctuation.

    >>> words("How many circles are in the Picture?")
    ('how', 'many', 'circles', 'are', 'in', 'picture')
    """
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return tuple(word for word in found if word not in _ARTICLES)


def stem(problem: str) -> str:
    """A problem without the options that it lists."""
    listed = options(problem)
    start = problem.rfind(f"{listed['A']}") if listed else -1
    return re.sub(r"[(\[]?\bA\b[).:\]]*\s*$", "", problem[:start]) if start > 0 else problem


def grams(text: str) -> frozenset[tuple[str, ...]]:
    """Word trigrams; of a shorter text, the text itself."""
    found = words(text)
    return frozenset(found[i : i + GRAM] for i in range(max(1, len(found) - GRAM + 1)))


def same_question(one: str, other: str) -> bool:
    """Whether nearly all trigrams of the shorter question occur in the longer one."""
    a, b = sorted((grams(one), grams(other)), key=len)
    return bool(a) and len(a & b) >= ASKS_THE_SAME * len(a)


def answers(answer: str, listed: dict[str, str]) -> set[tuple[str, ...]]:
    """The forms in which an answer may be given: itself, and the text of the option that it names."""
    letter = answer.strip(" ().:").upper()
    given = {words(answer) or (answer.strip(),)}
    return given | ({words(listed[letter])} if letter in listed else set())


def duplicates(rows: Iterable[Record]) -> dict[str, str]:
    """Row → the earlier row that asks the same of the same picture (or of a near-duplicate: the same `scene`)."""
    first: dict[tuple[str, tuple[str, ...]], str] = {}
    found = {}
    for row in rows:
        key = (row["scene"], words(row["problem"]))
        if (earlier := first.setdefault(key, row["id"])) != row["id"]:
            found[row["id"]] = earlier
    return found
