"""Duplicate questions, by exact words about the same scene and by word trigrams."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from wethink.data.schema import Row, row_images
from wethink.rewards.rules.options import options

_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*")
# Words and numbers, and whatever is neither a space nor a mark of prose: "3 - 2" is not "3 + 2". A hyphen in a word is
# a mark of prose, one before a number is a sign.
_TOKEN = re.compile(r"[^\W_]+(?:[.,]\d+)*|[-−–](?=\s*\d)|[^\w\s.,;:!?'\"“”‘’()\[\]{}…-]|\.(?=\d)")
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


def duplicates(rows: Iterable[Row], pictures: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Map each duplicate row to the first row with the same pictures, question and answer.

    A row with another answer is no duplicate: the pictures may differ after all, or one of the answers is wrong, and
    neither can be known here.

    Args:
        rows: rows of any sources.
        pictures: image → its near-duplicates' common name (`ImageSet.pictures`); a row's `scene` may hold several.
    """
    first: dict[tuple[str, ...], str] = {}
    found = {}
    for row in rows:
        shown = row_images(row)
        key = (
            *(pictures.get(image, image if len(shown) > 1 else row["scene"]) for image in shown),
            *(() if shown else (row["scene"],)),
            _exact(row["problem"]),
            _answer(row["answer"], options(row["problem"])),
        )
        if (earlier := first.setdefault(key, row["id"])) != row["id"]:
            found[row["id"]] = earlier
    return found


def _exact(text: str) -> str:
    """Return the text without case, articles and the punctuation of prose; numbers and operators stay.

    >>> _exact("How many circles are in the Picture?"), _exact("What is 3 - 2 ?")
    ('how many circles are in picture', 'what is 3 - 2')
    """
    found = _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())
    return " ".join(token for token in found if token not in _ARTICLES)


def _answer(answer: str, listed: dict[str, str]) -> str:
    """Return an answer without case and outer punctuation; an option is known by its letter."""
    plain = " ".join(unicodedata.normalize("NFKC", answer).split())
    letter = plain.strip(" ().:").upper()
    return letter if letter in listed else plain.casefold().rstrip(".")
