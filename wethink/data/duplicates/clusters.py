"""Clusters of near-duplicate pictures around representatives, without chaining.

Every member of a cluster was found to be the same picture as the cluster's representative, so a chain of small
differences joins nothing: a cluster is as wide as the comparison itself (Gonzalez 1985 calls such centres leaders).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from wethink.data.duplicates.comparison import confirmed
from wethink.data.duplicates.neighbours import NEIGHBOURS, Pairs, candidate_pairs
from wethink.data.duplicates.signatures import Signatures

LABEL = "near-duplicates"


def representatives(
    signatures: Signatures, open_image: Callable[[int], Image.Image], order: Sequence[int]
) -> list[int]:
    """Return the index of each picture's representative; a representative is its own.

    Args:
        signatures: [n, BYTES].
        open_image: opens a picture by its index.
        order: the indices, in the order in which pictures may become representatives.
    """
    same: list[set[int]] = [set() for _ in order]
    compared = np.zeros(0, np.int64)  # a pair's smaller index times n, plus the larger
    pairs = candidate_pairs(signatures, f"{LABEL}: neighbours") if len(signatures) > 1 else np.zeros((0, 2), np.int64)
    leaders = list(range(len(order)))
    while len(pairs):
        compared = np.concatenate([compared, _keys(pairs, len(order))])
        side = (signatures, open_image)
        for a, b in pairs[confirmed(pairs, side, side, LABEL)].tolist():
            same[a].add(b)
            same[b].add(a)
        leaders = _stars(same, order)
        pairs = _further(signatures, same, leaders, compared)
    return leaders


def _stars(same: Sequence[set[int]], order: Sequence[int]) -> list[int]:
    """Let each picture in turn, if no earlier one has it, represent all that are free and the same."""
    leaders = [-1] * len(order)
    for picture in order:
        if leaders[picture] < 0:
            leaders[picture] = picture
            for other in same[picture]:
                if leaders[other] < 0:
                    leaders[other] = picture
    return leaders


def _further(
    signatures: Signatures, same: Sequence[set[int]], leaders: Sequence[int], compared: npt.NDArray[np.int64]
) -> Pairs:
    """Return pairs that the neighbours left out because a picture has more copies than neighbours.

    They are the copies of a representative's copies, and the representatives of crowded clusters.
    """
    wanted: set[tuple[int, int]] = set()
    for leader in (place for place, leader in enumerate(leaders) if place == leader and same[place]):
        beyond = set().union(*(same[member] for member in same[leader])) - {leader}
        wanted |= {(min(leader, other), max(leader, other)) for other in beyond}
    crowded = np.array([p for p, leader in enumerate(leaders) if p == leader and len(same[p]) >= NEIGHBOURS], np.int64)
    if len(crowded) > 1:
        found = crowded[candidate_pairs(signatures[crowded], f"{LABEL}: crowded clusters")]
        wanted |= set(map(tuple, found.tolist()))
    pairs = np.array(sorted(wanted), np.int64).reshape(-1, 2)
    return pairs[~np.isin(_keys(pairs, len(same)), compared)]


def _keys(pairs: Pairs, pictures: int) -> npt.NDArray[np.int64]:
    """Return a number for each pair, `[pairs]`."""
    return pairs[:, 0] * pictures + pairs[:, 1]
