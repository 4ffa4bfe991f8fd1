"""Accuracies with honest intervals: the unit of chance is the scene, not the question.

Questions about one scene share its difficulty, so they are resampled together (cluster bootstrap). An
interval over items would be too narrow. A verdict of 'unknown' is counted and left out, never taken as wrong.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from wethink.errors import UserError
from wethink.records import Record

CHECKPOINTS = ("base", "sft", "grpo")
VERDICTS = ("correct", "wrong", "unknown")
Z = 1.959964  # of a two-sided 95 % interval
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
    """Mean of `correct` with the 95 % percentile interval of resampled clusters.

    A resample draws as many clusters as there are, with replacement, and divides the sum of their items by
    the number of their items. The order of the items does not matter. With a handful of clusters, or none
    wrong, the interval is too narrow: the sample itself shows no more spread.

    Raises:
        ValueError: there is no item, or the two arrays differ in length.
    """
    means = bootstrap_means(correct, clusters, resamples, seed)
    low, high = np.percentile(means, [2.5, 97.5])
    values = np.asarray(correct, dtype=np.float64)
    return Estimate(float(values.sum() / len(values)), float(low), float(high), len(values))


def bootstrap_means(values: npt.ArrayLike, clusters: npt.ArrayLike, resamples: int, seed: int) -> Floats:
    """The means [resamples] behind `cluster_bootstrap`, for other levels than 95 % and for sums of several.

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
    """Mean of a − b over the same items, with the interval of resampled clusters.

    Pairing removes what both share (the difficulty of a scene), which unpaired intervals count twice.
    """
    difference = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    found = cluster_bootstrap(difference, clusters, resamples, seed)
    return Difference(found.value, found.low, found.high, found.n)


def paired_test(a: npt.ArrayLike, b: npt.ArrayLike, clusters: npt.ArrayLike, resamples: int, seed: int) -> float:
    """Two-sided p-value of "a and b are equally good": signs of whole clusters' differences are flipped at random.

    Under the null hypothesis a cluster's summed difference is as likely as its negative; the observed sum counts as
    one of the permutations, so that the p-value is never 0 (Phipson & Smyth 2010).
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
    """Holm's adjusted p-values: as many tests, the chance of even one false finding stays at the level.

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
    """Wilson's 95 % interval of a share seen in n rows.

    >>> [round(bound, 3) for bound in wilson(0.1, 100)]
    [0.055, 0.174]
    """
    centre = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def pass_at_k(samples: int, right: int, k: int) -> float:
    """Chance that at least one of k samples drawn from `samples` is right (Chen et al. 2021, eq. 1, unbiased).

    Raises:
        ValueError: fewer samples than k.
    """
    if not 0 < k <= samples:
        raise ValueError(f"pass@{k} from {samples} samples")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def majority(items: Iterable[Record]) -> float:
    """Accuracy of the best constant answer per question kind, chosen on these very items.

    It is an upper bound of a guesser who knows the kind of a question and nothing else, neither its words
    nor its image. Open answers (category DES) are compared as they stand, so theirs is nearly nothing.
    """
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        answers[item["kind"]][str(item["answer"]).strip()] += 1
    total = sum(counts.total() for counts in answers.values())
    return sum(max(counts.values()) for counts in answers.values()) / total if total else 0.0


def summarise(records: list[Record], resamples: int, seed: int) -> dict[str, Any]:
    """Everything the evaluation says, from its records (one per item, checkpoint, temperature and pixels).

    Overall and per source, category, kind and ability: an entry for each checkpoint (by its name), the
    majority baseline and the paired differences of SFT − base and GRPO − SFT. A source is `at_majority` if
    neither SFT nor GRPO is shown to beat the majority there: both intervals reach down to it.

    Raises:
        UserError: a record occurs twice or holds an unknown verdict.
    """
    _check(records)

    def grouped(names: Callable[[Record], Iterable[str]]) -> dict[str, dict[str, Any]]:
        groups: dict[str, list[Record]] = defaultdict(list)
        for record in records:
            for name in sorted(set(names(record))):
                groups[name].append(record)
        return {name: _group(groups[name], resamples, seed) for name in sorted(groups)}

    sources = grouped(lambda record: [record["source"]])
    for group in sources.values():
        lows = [group[name]["low"] for name in ("sft", "grpo") if name in group]
        group["at_majority"] = bool(lows) and all(low is not None and low <= group["majority"] for low in lows)
    summary = _group(records, resamples, seed) | {
        "records": len(records),
        "sources": sources,
        "categories": grouped(lambda record: [record["category"]]),
        "kinds": grouped(lambda record: [record["kind"]]),
        "abilities": grouped(lambda record: record["abilities"]),
    }
    rounded: dict[str, Any] = _rounded(summary)
    return rounded


def _check(records: list[Record]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for record in records:
        key = tuple(record[name] for name in ("id", "checkpoint", "temperature", "pixels"))
        if key in seen:
            raise UserError(f"evaluation record {key} occurs twice; run `python -m wethink evaluate` again.")
        if record["verdict"] not in VERDICTS:
            raise UserError(f"evaluation record {key}: verdict {record['verdict']!r} is none of {', '.join(VERDICTS)}.")
        seen.add(key)


def _group(records: list[Record], resamples: int, seed: int) -> dict[str, Any]:
    """Entries per checkpoint, baseline and paired differences of some records."""
    items = {record["id"]: record for record in records}
    names = sorted({record["checkpoint"] for record in records})
    settings = {
        (name, setting): chosen
        for name in names
        for setting, chosen in by_setting([record for record in records if record["checkpoint"] == name]).items()
    }
    group: dict[str, Any] = {
        "items": len(items),
        "scenes": len({record["scene"] for record in records}),
        "majority": majority(items.values()),
    }
    for name in names:
        if greedy := settings.get((name, "greedy")):
            group[name] = _accuracy(greedy, resamples, seed) | {
                "unknown": sum(record["verdict"] == "unknown" for record in greedy) / len(greedy),
                "format": sum(bool(record["strict"]) for record in greedy) / len(greedy),
                "mean_tokens": sum(record["tokens"] for record in greedy) / len(greedy),
            }
            for setting in ("sampled", "blank", "shuffled"):
                if chosen := settings.get((name, setting)):
                    group[name][setting] = _accuracy(chosen, resamples, seed)
    for after, before in (("sft", "base"), ("grpo", "sft")):
        if after in group and before in group:
            pairs = [
                difference(settings.get((after, setting), []), settings.get((before, setting), []), resamples, seed)
                for setting in ("greedy", "sampled")
            ]
            group[f"{after}_minus_{before}"] = pairs[0] | {"sampled": pairs[1]}
    return group


def by_setting(records: list[Record]) -> dict[str, list[Record]]:
    """One checkpoint's records by how they were made; the controls are greedy."""
    settings: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record["pixels"] != "true":
            settings[record["pixels"]].append(record)
        else:
            settings["sampled" if record["temperature"] > 0 else "greedy"].append(record)
    return settings


def _accuracy(records: list[Record], resamples: int, seed: int) -> dict[str, Any]:
    known = [record for record in records if record["verdict"] != "unknown"]
    if not known:
        return {"accuracy": None, "low": None, "high": None, "n": 0}
    right = [record["verdict"] == "correct" for record in known]
    found = cluster_bootstrap(right, [record["scene"] for record in known], resamples, seed)
    return {"accuracy": found.value, "low": found.low, "high": found.high, "n": found.n}


def difference(after: list[Record], before: list[Record], resamples: int, seed: int) -> dict[str, Any]:
    """Paired by item and temperature, over the pairs in which both verdicts are known."""
    earlier = {(record["id"], record["temperature"]): record for record in before}
    pairs = [
        (record, other)
        for record in after
        if (other := earlier.get((record["id"], record["temperature"])))
        and "unknown" not in (record["verdict"], other["verdict"])
    ]
    if not pairs:
        return {"mean": None, "low": None, "high": None, "n": 0}
    found = paired_bootstrap(
        [record["verdict"] == "correct" for record, _ in pairs],
        [other["verdict"] == "correct" for _, other in pairs],
        [record["scene"] for record, _ in pairs],
        resamples,
        seed,
    )
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    return value
