"""Pairs of gold and answer whose truth is known by construction, by kind and seed, some kinds held out of tuning.

    python -m benchmarks.rewards.constructed [--seed N] [--pairs N]    # what the rules get wrong, kind by kind

Below `EXAM_SEEDS` a quarter of the kinds is held out, so that nobody tunes the rules on them: this command, which is
for the author of the rules, takes no other seeds. `make peers` takes a seed above it that follows from the commit.
"""

import argparse
import hashlib
import random
from collections import Counter

from benchmarks.rewards.values.algebra import ALGEBRA
from benchmarks.rewards.values.chinese import CHINESE_KINDS
from benchmarks.rewards.values.equations import EQUATIONS
from benchmarks.rewards.values.figures import FIGURES
from benchmarks.rewards.values.groups import COLLECTIONS
from benchmarks.rewards.values.intervals import INTERVALS
from benchmarks.rewards.values.kinds import Kind, Pair, make
from benchmarks.rewards.values.lists import LIST_KINDS
from benchmarks.rewards.values.measures import MEASURES
from benchmarks.rewards.values.plain_numbers import NUMBERS
from benchmarks.rewards.values.symbols import SYMBOLS_KINDS
from benchmarks.rewards.values.times import TIMES
from benchmarks.rewards.values.words import WORDS
from tests.rewards.adversarial import wrap
from wethink.config.rewards import Rewards
from wethink.rewards import hybrid

KINDS: tuple[Kind, ...] = (*NUMBERS, *FIGURES, *MEASURES, *TIMES, *ALGEBRA, *EQUATIONS, *INTERVALS, *COLLECTIONS)
KINDS += (*WORDS, *CHINESE_KINDS, *SYMBOLS_KINDS, *LIST_KINDS)
EXAM_SEEDS = 1000  # seeds from here on draw from every kind
CONFIG = Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical")


def held_out() -> frozenset[str]:
    """The quarter of the kinds that tuning never sees: those whose names have the smallest hashes."""
    names = sorted((kind.name for kind in KINDS), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return frozenset(names[: len(names) // 4])


def pairs(seed: int, n: int) -> list[Pair]:
    """Draw `n` distinct pairs of each kind, as many right as wrong; the same for the same seed.

    Held-out kinds are drawn only for seeds from `EXAM_SEEDS` on.
    """
    hidden = held_out() if seed < EXAM_SEEDS else frozenset()
    return [pair for kind in KINDS if kind.name not in hidden for pair in pairs_of(kind, seed, n)]


def pairs_of(kind: Kind, seed: int, n: int) -> list[Pair]:
    """Draw `n` pairs of one kind; fewer where it has not so many different ones (yes/no)."""
    rng = random.Random(f"{seed} {kind.name}")
    found: dict[tuple[str, str, str, bool], Pair] = {}
    for equal in (True, False):
        wanted = len(found) + n // 2
        for _ in range(20 * n):
            if len(found) >= wanted:
                break
            pair = make(kind, equal, rng)
            found.setdefault((pair.problem, pair.gold, pair.answer, equal), pair)
    return list(found.values())


def ours(pair: Pair) -> str:
    """The outcome of the product's own scoring of a whole response."""
    return hybrid.score(wrap(pair.answer), pair.problem, pair.gold, pair.category, "rule", CONFIG).verdict.outcome


def main() -> None:
    parser = argparse.ArgumentParser(description="What the rules get wrong on constructed pairs, for their author.")
    parser.add_argument("--seed", type=int, default=0, help=f"below {EXAM_SEEDS}")
    parser.add_argument("--pairs", type=int, default=100, help="of each kind")
    parser.add_argument("--shown", type=int, default=6, help="failures printed of each kind and sort")
    given = parser.parse_args()
    if given.seed >= EXAM_SEEDS:
        parser.error(f"seeds from {EXAM_SEEDS} on are the exam's: take a smaller one")
    failed: dict[tuple[str, str], list[Pair]] = {}
    sizes: Counter[tuple[str, bool]] = Counter()
    for pair in pairs(given.seed, given.pairs):
        sizes[pair.kind, pair.equal] += 1
        if (ours(pair) == "correct") != pair.equal:
            failed.setdefault((pair.kind, "right called wrong" if pair.equal else "wrong called right"), []).append(
                pair
            )
    for (name, sort), those in failed.items():
        print(f"{name}: {len(those)} of {sizes[name, sort.startswith('right')]} {sort}")
        for pair in those[: given.shown]:
            meaning = "" if pair.equal else f"   ({pair.other})"
            print(f"    gold {pair.gold!r} answer {pair.answer!r}{meaning}")
    print(f"{sum(map(len, failed.values()))} of {sum(sizes.values())} pairs; held out: {len(held_out())} kinds")


if __name__ == "__main__":
    main()
