"""Lexical judge of descriptive answers (DES), a model-free stand-in for the paper's model judge.

An answer and its gold are read as ordered lists of comma-separated facts. The share of right facts is the length of
the longest common subsequence over that of the longer list, so missing, invented and swapped facts all cost.
Tiers: all facts right 1, at least half of them 0.5, else 0. It compares words, not meaning: a true paraphrase
scores 0. It is meant only for the short facts of the drawn images.
"""

import re
from functools import lru_cache

from wethink.rewards.verdict import MAX_ANSWER_CHARS, Verdict, unknown, wrong

TIERS = (0.0, 0.5, 1.0)

_SEPARATOR = re.compile(r"[,;\n]|\.(?=\s|$)")


def judge(answer: str, gold: str) -> Verdict:
    """Score a description against the gold; only a full score is `correct`.

    >>> judge("red circle, blue star", "a red circle, a green star").score
    0.5
    """
    wanted = facts(gold[:MAX_ANSWER_CHARS])
    if not wanted:
        return unknown("gold has no facts")
    if len(answer) > MAX_ANSWER_CHARS:
        return wrong(f"answer longer than {MAX_ANSWER_CHARS} characters")
    found = facts(answer)
    if not found:
        return wrong("empty answer")
    right, total = _common(found, wanted), max(len(found), len(wanted))
    score = 1.0 if right == total else 0.5 if 2 * right >= total else 0.0
    return Verdict("correct" if score == 1 else "wrong", f"{right} of {total} facts right", score)


@lru_cache(maxsize=4096)
def facts(text: str) -> tuple[str, ...]:
    """Split a description into facts, without case, articles, "and" and extra spaces.

    >>> facts("A red circle, and the blue star.")
    ('red circle', 'blue star')
    """
    pieces = (re.findall(r"[^\s]+", piece.casefold()) for piece in _SEPARATOR.split(text))
    kept = (" ".join(word for word in words if word not in ("a", "an", "the", "and")) for words in pieces)
    return tuple(fact for fact in kept if fact)


def _common(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(right) + 1)
    for one in left:
        before = 0
        for place, other in enumerate(right, start=1):
            above = row[place]
            row[place] = before + 1 if one == other else max(above, row[place - 1])
            before = above
    return row[-1]
