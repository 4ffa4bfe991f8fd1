"""Nearest neighbours among signatures of pictures, in near-linear time (Faiss inverted file).

An inverted file (Jégou et al. 2011) sorts embeddings into about 2√n lists and compares a query with the few lists
nearest to it, so n queries cost n·√n comparisons. Below `EXACT` pictures every embedding is compared.
"""

import numpy as np
import numpy.typing as npt

from wethink.common.progress import track
from wethink.data.duplicates.signatures import VIEWS, Floats, Signatures, embed

Pairs = npt.NDArray[np.int64]  # [pairs, 2]

NEIGHBOURS = 8  # candidates of a picture
FAR = 0.2  # largest distance of a candidate; 99 % of the tuning half's same pictures are within 0.12
EXACT = 4096
PROBES = 8  # lists that a query is compared with
BLOCK = 2048  # pictures embedded and searched at once
SAMPLE, ROUNDS = 64, 8  # k-means: training pictures a list, iterations


class Neighbours:
    """Index over the embeddings of pictures; it holds 0.35 KB a picture."""

    def __init__(self, stored: Signatures) -> None:
        """Build the index; k-means has a fixed seed, so the same pictures give the same lists.

        Args:
            stored: [m, BYTES].
        """
        import faiss

        starts = range(0, max(1, len(stored)), BLOCK)
        vectors = np.concatenate([embed(stored[start : start + BLOCK]) for start in starts])  # [m, 87]
        exact = faiss.IndexFlatL2(vectors.shape[1])
        self._index: faiss.Index = exact
        if len(vectors) >= EXACT:
            self._index = index = faiss.IndexIVFFlat(exact, vectors.shape[1], int(2 * len(vectors) ** 0.5))
            index.cp.niter, index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = ROUNDS, SAMPLE, 1
            index.train(vectors)
            index.nprobe = PROBES
        self._index.add(vectors)

    def nearest(self, queries: Signatures, count: int = NEIGHBOURS, label: str | None = None) -> Pairs:
        """Return pairs (query, stored) of the nearest pictures within `FAR`, nearest first.

        Args:
            queries: [n, BYTES].
            count: stored pictures a query.
            label: of the progress bar; None = no bar.
        """
        pairs = [np.zeros((0, 2), np.int64)]
        starts = range(0, len(queries), BLOCK)
        for start in track(starts, label, len(starts)) if label else starts:
            block = queries[start : start + BLOCK]
            distances, places = zip(*(self._index.search(embed(block, view), count) for view in VIEWS), strict=True)
            best = _best(np.concatenate(distances, axis=1), np.concatenate(places, axis=1), count)
            pairs.append(best + np.array([start, 0]))
        return np.concatenate(pairs)


def candidate_pairs(stored: Signatures, label: str) -> Pairs:
    """Return the pairs of every picture and its nearest others, smaller index first, sorted."""
    found = Neighbours(stored).nearest(stored, NEIGHBOURS + 1, label)
    apart = np.sort(found[found[:, 0] != found[:, 1]], axis=1)
    return np.unique(apart, axis=0)


def _best(distances: Floats, places: Pairs, count: int) -> Pairs:
    """Keep the `count` nearest pictures of each query over all views, once each.

    Args:
        distances: squared, [queries, views · count].
        places: indices of stored pictures, or -1, [queries, views · count].
        count: largest number of a query.
    """
    queries, places = np.repeat(np.arange(len(places)), places.shape[1]), places.ravel().astype(np.int64)
    flat = distances.ravel()
    kept = np.flatnonzero((flat <= FAR**2) & (places >= 0))
    kept = kept[np.lexsort((flat[kept], places[kept], queries[kept]))]
    first = np.ones(len(kept), dtype=bool)  # the nearest view of each pair
    first[1:] = (np.diff(queries[kept]) != 0) | (np.diff(places[kept]) != 0)
    kept = kept[first]
    kept = kept[np.lexsort((places[kept], flat[kept], queries[kept]))]
    rank = np.arange(len(kept)) - np.searchsorted(queries[kept], queries[kept])
    kept = kept[rank < count]
    return np.stack([queries[kept], places[kept]], axis=1)
