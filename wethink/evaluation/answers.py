"""Best constant answer and distribution of answers, compared with the golds by the reward's rules.

An accuracy says little without them: a model that always answers 'no' is right wherever the gold is 'no'.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from wethink.rewards.hybrid import check_row
from wethink.rewards.rules.options import choose

CANDIDATES = 20  # most frequent golds that are tried as constant answers, and as names of equal answers

Questioned = Mapping[str, Any]  # an item, or an evaluation record, which holds its item's fields


@dataclass(frozen=True)
class Constant:
    """The answer that scores best if it is given to every item; `right` is in the items' order."""

    answer: str
    right: tuple[bool, ...]

    @property
    def accuracy(self) -> float:
        return sum(self.right) / len(self.right) if self.right else 0.0


@dataclass(frozen=True)
class Share:
    """How often an answer is given, and how often it is the gold; the shares are of `items`."""

    answer: str
    given: int
    gold: int
    items: int

    @property
    def excess(self) -> float:
        """Share of the answers minus share of the golds."""
        return (self.given - self.gold) / self.items


def best_constant(items: Sequence[Questioned]) -> Constant:
    """Return the single answer that is right most often by the rules of the reward.

    It is chosen on these very items, so it bounds from above a guesser who knows neither question nor image. Answers
    that only a judge model or a function of the user's own can check count as wrong.
    """
    if not items:
        return Constant("", ())
    scored = [(answer, tuple(_equal(answer, item) for item in items)) for answer in _candidates(items)]
    answer, right = max(scored, key=lambda pair: sum(pair[1]))  # the first of equals: the more frequent gold
    return Constant(answer, right)


def shares(records: Sequence[Questioned]) -> list[Share]:
    """Count the answers of evaluation records beside the golds; the most frequent answer comes first.

    Answers are the same if the rules of the reward call them equal. An empty answer, and in multiple choice one that
    names no option, is none.
    """
    names = _candidates(records)
    golds = Counter(_gold(record, names) for record in records)
    given = Counter(_given(record, names) for record in records)
    answers = sorted((golds | given).keys() - {""}, key=lambda answer: (-given[answer], -golds[answer], answer))
    return [Share(answer, given[answer], golds[answer], len(records)) for answer in answers]


def distance(found: Sequence[Share]) -> float:
    """Return the total variation distance between answers and golds, from 0 to 1.

    Missing answers count as one further answer.
    """
    if not found:
        return 0.0
    missing = abs(sum(share.gold for share in found) - sum(share.given for share in found))
    return (missing + sum(abs(share.given - share.gold) for share in found)) / (2 * found[0].items)


def _candidates(items: Sequence[Questioned]) -> list[str]:
    """Return the most frequent golds, spelled as they first occur."""
    spelled: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for item in sorted(items, key=lambda item: str(item["id"])):
        gold = _option(str(item["answer"]), item) or str(item["answer"]).strip()
        counts[_plain(gold)] += 1
        spelled.setdefault(_plain(gold), gold)
    order = sorted(counts, key=lambda name: (-counts[name], name))
    return [spelled[name] for name in order[:CANDIDATES]]


def _gold(record: Questioned, names: Sequence[str]) -> str:
    gold = str(record["answer"])
    option = _option(gold, record)
    return option or _named(gold, record, names)


def _given(record: Questioned, names: Sequence[str]) -> str:
    if record["verdict"] == "correct":
        return _gold(record, names)
    said = str(record["extracted"])
    return _option(said, record) if record["category"] == "MC" else _named(said, record, names)


def _named(text: str, record: Questioned, names: Sequence[str]) -> str:
    """Return the first of `names` that the rules take for the same answer, or the plain text."""
    plain = _plain(text)
    if not plain or record["reward"] != "rule":
        return plain
    same = (name for name in names if _plain(name) == plain or _same(text, name, str(record["category"])))
    return _plain(next(same, text))


def _option(text: str, record: Questioned) -> str:
    """Return the letter that an answer to a multiple-choice question names; else an empty text."""
    return (choose(text, str(record["problem"])) or "") if record["category"] == "MC" else ""


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .,!")


def _equal(answer: str, item: Questioned) -> bool:
    if item["reward"] != "rule":
        return False
    given = tuple(item.get("alternatives") or ())
    return _right(answer, str(item["problem"]), str(item["answer"]), str(item["category"]), given)


def _same(answer: str, gold: str, category: str) -> bool:
    return _right(answer, "", gold, category)


@lru_cache(maxsize=1 << 17)
def _right(answer: str, problem: str, gold: str, category: str, given: tuple[str, ...] = ()) -> bool:
    row = {"problem": problem, "answer": gold, "category": category, "reward": "rule", "alternatives": given}
    return check_row(answer, row, tolerance=0.0).outcome == "correct"
