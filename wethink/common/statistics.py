"""Cluster bootstrap intervals, permutation tests, Holm's correction, Wilson intervals and pass@k.

Questions about one scene share its difficulty, so the scene is the cluster; an interval over items would be too
narrow. Callers count 'unknown' verdicts and leave them out; they are never taken as wrong.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Z = 1.959964  # normal quantile of a two-sided 95 % interval
BLOCK = 1 << 22  # cluster draws held in memory at once

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval over `n` items."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Difference:
    """The mean of a − b over the same `n` items and its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


def cluster_bootstrap(correct: npt.ArrayLike, clusters: npt.ArrayLike, resamples: int, seed: int) -> Estimate:
    """Return the mean of `correct` and its 95 % cluster-bootstrap interval.

    A resample draws as many clusters as there are, with replacement, and divides the sum of their items by
    the number of their items; the bounds are percentiles of the resampled means. The order of the items does not
    matter. With a handful of clusters, or none wrong, the interval is too narrow.

    Args:
        correct: [n].
        clusters: [n], the cluster of each item.

    Raises:
        ValueError: there is no item, or the two arrays differ in length.
    """
    means = bootstrap_means(correct, clusters, resamples, seed)
    low, high = np.percentile(means, [2.5, 97.5])
    values = np.asarray(correct, dtype=np.float64)
    return Estimate(float(values.sum() / len(values)), float(low), float(high), len(values))


def bootstrap_means(values: npt.ArrayLike, clusters: npt.ArrayLike, resamples: int, seed: int) -> Floats:
    """Return the resampled means behind `cluster_bootstrap`, `[resamples]`.

    Use them for levels other than 95 % and for sums of several estimates.

    Raises:
        ValueError: as `cluster_bootstrap`.
    """
    found, labels = np.asarray(values, dtype=np.float64), np.asarray(clusters)
    if found.ndim != 1 or len(found) == 0 or found.shape != labels.shape:
        raise ValueError(f"need one cluster per item and at least one item, found {found.shape} and {labels.shape}")
    _, member = np.unique(labels, return_inverse=True)
    sums: Floats = np.bincount(member, weights=found).astype(np.float64)
    counts: Floats = np.bincount(member).astype(np.float64)
    return _resampled_means(sums, counts, resamples, seed)


def _resampled_means(sums: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    clusters = len(sums)
    block = max(1, BLOCK // clusters)
    means = [
        sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
        for start in range(0, resamples, block)
        for drawn in [rng.integers(0, clusters, (min(block, resamples - start), clusters))]  # [resamples, clusters]
    ]
    return np.concatenate(means)


def paired_bootstrap(
    a: npt.ArrayLike, b: npt.ArrayLike, clusters: npt.ArrayLike, resamples: int, seed: int
) -> Difference:
    """Return the mean of a − b over the same items and its cluster-bootstrap interval.

    Pairing removes the shared difficulty of a scene, which unpaired intervals count twice.

    Raises:
        ValueError: as `cluster_bootstrap`.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    found = cluster_bootstrap(difference, clusters, resamples, seed)
    return Difference(found.value, found.low, found.high, found.n)


def paired_test(a: npt.ArrayLike, b: npt.ArrayLike, clusters: npt.ArrayLike, resamples: int, seed: int) -> float:
    """Return the two-sided p-value of a cluster-level sign-flip permutation test.

    Under the null hypothesis (a and b are equally good) a cluster's summed difference is as likely as its negative.
    The observed sum counts as one of the permutations, so the p-value is never 0 (Phipson & Smyth 2010).
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    _, member = np.unique(np.asarray(clusters), return_inverse=True)
    sums = np.bincount(member, weights=difference)
    sums = sums[sums != 0]
    if not len(sums):
        return 1.0
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // len(sums))
    extreme = 0
    for start in range(0, resamples, block):
        signs = rng.integers(0, 2, (min(block, resamples - start), len(sums))) * 2 - 1
        extreme += int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9).sum())
    return (extreme + 1) / (resamples + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p-values, which control the family-wise error rate.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    adjusted: dict[str, float] = {}
    floor = 0.0
    for rank, name in enumerate(sorted(p_values, key=lambda key: (p_values[key], key))):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = floor
    return {name: adjusted[name] for name in p_values}


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share observed in n rows.

    >>> [round(bound, 3) for bound in wilson(0.1, 100)]
    [0.055, 0.174]
    """
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Return the unbiased pass@k estimate (Chen et al. 2021, eq. 1).

    It is the chance that at least one of k samples drawn from `samples`, of which `right` are right, is right.

    Raises:
        ValueError: fewer samples than k.
    """
    if not 0 < k <= samples:
        raise ValueError(f"pass@{k} from {samples} samples")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)
