"""Duplicate questions, by exact words about the same scene and by word trigrams."""

import re
import unicodedata
from collections.abc import Iterable

from wethink.data.schema import Row
from wethink.rewards.rules.options import options

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*")
_ARTICLES = {"a", "an", "the"}
GRAM = 3  # words
ASKS_THE_SAME = 0.8  # of the shorter question's word trigrams


def words(text: str) -> tuple[str, ...]:
    """Split into words and numbers, without case, articles and punctuation.

    >>> words("How many circles are in the Picture?")
    ('how', 'many', 'circles', 'are', 'in', 'picture')
    """
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return tuple(word for word in found if word not in _ARTICLES)


def stem(problem: str) -> str:
    """Strip the options from a problem."""
    listed = options(problem)
    start = problem.rfind(f"{listed['A']}") if listed else -1
    return re.sub(r"[(\[]?\bA\b[).:\]]*\s*$", "", problem[:start]) if start > 0 else problem


def grams(text: str) -> frozenset[tuple[str, ...]]:
    """Return the word trigrams of a text; a shorter text is one gram."""
    found = words(text)
    return frozenset(found[i : i + GRAM] for i in range(max(1, len(found) - GRAM + 1)))


def same_question(one: str, other: str) -> bool:
    """Return whether the longer question has ≥ 80 % of the shorter one's trigrams."""
    a, b = sorted((grams(one), grams(other)), key=len)
    return bool(a) and len(a & b) >= ASKS_THE_SAME * len(a)


def answers(answer: str, listed: dict[str, str]) -> set[tuple[str, ...]]:
    """Return the forms of an answer: its words, and those of the option it names."""
    letter = answer.strip(" ().:").upper()
    given = {words(answer) or (answer.strip(),)}
    return given | ({words(listed[letter])} if letter in listed else set())


def duplicates(rows: Iterable[Row]) -> dict[str, str]:
    """Map each duplicate row to the first row with the same `scene` and question.

    Near-duplicate pictures have the same `scene`.
    """
    first: dict[tuple[str, tuple[str, ...]], str] = {}
    found = {}
    for row in rows:
        key = (row["scene"], words(row["problem"]))
        if (earlier := first.setdefault(key, row["id"])) != row["id"]:
            found[row["id"]] = earlier
    return found
