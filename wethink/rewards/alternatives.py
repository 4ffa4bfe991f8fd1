"""Rows with several given answers: the golds to check against, and the one verdict of all (VQA's soft accuracy).

The answers that people gave to a question are votes. A response scores the votes that it agrees with over those of the
most frequent answer, which count as `AGREEING` at most, and 1 at most. So of ten annotators three who agree make a full
score (Antol et al. 2015, arXiv 1505.00468 §5), and of answers that all differ any one is right.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wethink.rewards.rules.verify import gold_fault
from wethink.rewards.verdict import GOOD, Verdict

AGREEING = 3  # annotators who make a full score


def golds(row: Mapping[str, Any]) -> list[str]:
    """Return the texts that a response to a row is checked against: its different answers, or its gold alone.

    An answer that no rule can check is none. A route of the user's own gets the row as it is.

    >>> row = {"answer": "5", "problem": "?", "category": "FIB", "reward": "rule"}
    >>> golds(row), golds(row | {"alternatives": ["4", "5", "5"]})
    (['5'], ['4', '5'])
    """
    return list(votes(row)) or [row["answer"]]


def votes(row: Mapping[str, Any]) -> dict[str, int]:
    """Count the given answers that can be checked, spelled as they first occur; empty if the row has its gold alone."""
    if not row.get("alternatives") or row["reward"] not in ("rule", "model"):
        return {}
    found = counted(row["alternatives"])
    if row["reward"] == "rule":
        found = {gold: n for gold, n in found.items() if not gold_fault(gold, row["problem"], row["category"])}
    return found


def counted(texts: Iterable[str]) -> dict[str, int]:
    """Count texts without regard to case and spaces; each is spelled as it first occurs."""
    counts, spelled = Counter[str](), dict[str, str]()
    for text in texts:
        plain = " ".join(text.casefold().split())
        counts[spelled.setdefault(plain, text)] += 1
    return dict(counts)


def combined(row: Mapping[str, Any], verdicts: Sequence[Verdict]) -> Verdict:
    """Return the one verdict of a response that was checked against each of a row's `golds`.

    It is unknown if any of them is: the missing one might have been the right one.
    """
    given = votes(row)
    if len(given) < 2:
        return verdicts[0]
    if missing := [verdict for verdict in verdicts if verdict.score is None]:
        return missing[0]
    right = [n if verdict.outcome == "correct" else 0 for n, verdict in zip(given.values(), verdicts, strict=True)]
    needed = min(AGREEING, max(given.values()))
    scores = [
        (verdict.score or 0.0) * min(1.0, (sum(right) if agrees else n) / needed)
        for verdict, agrees, n in zip(verdicts, right, given.values(), strict=True)
    ]
    best = max(range(len(scores)), key=scores.__getitem__)
    reason = f"{sum(right)} of {sum(given.values())} answers: {verdicts[best].reason}"
    is_right = right[best] > 0 and scores[best] >= GOOD
    return Verdict("correct" if is_right else "wrong", reason, scores[best], verdicts[best].kind)
