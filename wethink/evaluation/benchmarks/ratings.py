"""Ratings of yes/no benchmarks that are no share of right items: F1, MME's sums, AMBER's mean over categories.

They are computed as VLMEvalKit does: an answer that is neither yes nor no counts as not-yes in precision and recall,
and as wrong in the accuracy; an item of POPE counts once in each of its categories. Intervals resample images: a
resample draws weights of clusters, and every rating is a function of weighted counts.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from wethink.common.jsonl import Record
from wethink.evaluation.benchmarks.registry import Benchmark

Floats = npt.NDArray[np.float64]
PERCEPTION = ("OCR", "artwork", "celebrity", "color", "count", "existence", "landmark", "position", "posters", "scene")
COGNITION = ("code_reasoning", "commonsense_reasoning", "numerical_calculation", "text_translation")
MME_POINTS = 200  # of a category: 100 for all questions, 100 for all images with both questions right
_AMBER = {
    "discriminative-attribute-state": "Attribute",
    "discriminative-attribute-number": "Attribute",
    "discriminative-attribute-action": "Attribute",
    "discriminative-hallucination": "Existence",
    "discriminative-relation": "Relation",
    "relation": "Relation",
}
BLOCK = 1 << 22  # cluster weights held in memory at once


def rated(
    records: Sequence[Record], benchmark: Benchmark, resamples: int, seed: int, limit: float
) -> dict[str, dict[str, Any]]:
    """Compute every figure of a rated benchmark, the headline first, as shares in [0, 1].

    MME's sums have `points` and `of` beside the share. Figures are withheld if the share of unknown records is above
    `limit`.
    """
    known = [record for record in records if record["verdict"] != "unknown"]
    share = 1 - len(known) / len(records) if records else 0.0
    empty: dict[str, Any] = {"value": None, "low": None, "high": None, "n": len(known), "unknown": share}
    if not known or share > limit:
        why = f"{share:.1%} unknown, above the limit of {limit:.0%}" if known else "no known verdict"
        return {name: empty | {"withheld": why} for name in benchmark.figures}
    measured = {"f1": _f1, "mme": _mme, "amber": _amber}[benchmark.rating](known)
    found = {}
    for name in benchmark.figures:
        counts, statistic, points = measured[name]
        value, low, high = _interval(counts, statistic, resamples, seed)
        found[name] = empty | {"value": value, "low": low, "high": high}
        if points:
            found[name] |= {"points": value * points, "of": points}
    return found


Measure = tuple[
    Floats, Callable[[Floats], Floats], float
]  # counts [clusters, k]; statistic of [..., k]; maximum points


def _interval(
    counts: Floats, statistic: Callable[[Floats], Floats], resamples: int, seed: int
) -> tuple[float, float, float]:
    """Return a statistic of summed counts and its 95 % cluster-bootstrap interval."""
    rng, clusters = np.random.default_rng(seed), len(counts)
    block = max(1, BLOCK // clusters)
    drawn = [
        statistic(rng.multinomial(clusters, np.full(clusters, 1 / clusters), min(block, resamples - start)) @ counts)
        for start in range(0, resamples, block)
    ]
    low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5])
    return float(statistic(counts.sum(axis=0))), float(low), float(high)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Divide; 0 where there is nothing to divide by, as VLMEvalKit has it."""
    return np.divide(above, below, out=np.zeros_like(above, dtype=np.float64), where=below > 0)


def _summed(records: Sequence[Record], row: Callable[[Record], Floats]) -> Floats:
    """Sum the counts of the records of each cluster, `[clusters, k]`."""
    found: dict[str, Floats] = {}
    for record in records:
        found[record["cluster"]] = found.get(record["cluster"], 0) + row(record)
    return np.stack([found[name] for name in sorted(found)]).astype(np.float64)


def _f1(records: Sequence[Record]) -> dict[str, Measure]:
    def row(record: Record) -> Floats:
        gold, said = record.get("gold") == "Yes", record["extracted"] == "Yes"
        hit = record["verdict"] == "correct"
        times = len(record["cells"].get("category", "").split(","))
        return times * np.array([gold and said, said and not gold, gold and not said, hit, 1], dtype=np.float64)

    counts = _summed(records, row)  # true and false positives, false negatives, hits, items
    return {
        "F1": (counts, lambda c: _ratio(2 * c[..., 0], 2 * c[..., 0] + c[..., 1] + c[..., 2]), 0.0),
        "accuracy": (counts, lambda c: _ratio(c[..., 3], c[..., 4]), 0.0),
        "precision": (counts, lambda c: _ratio(c[..., 0], c[..., 0] + c[..., 1]), 0.0),
        "recall": (counts, lambda c: _ratio(c[..., 0], c[..., 0] + c[..., 2]), 0.0),
    }


def _mme(records: Sequence[Record]) -> dict[str, Measure]:
    """Sum accuracy and accuracy+ (both questions on an image right) over the categories (MME, arXiv 2306.13394 §2)."""
    images: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        cells = record["cells"]
        images[cells.get("category", ""), cells.get("image_path") or record["cluster"]].append(record)
    names = sorted({category for category, _ in images})
    place = {name: column for column, name in enumerate(names)}
    found: dict[str, Floats] = {}  # cluster → hits, items, images all right, images; each by category
    for (category, _), group in images.items():
        hits = [record["verdict"] == "correct" for record in group]
        row = found.setdefault(group[0]["cluster"], np.zeros((4, len(names))))
        row[:, place[category]] += [sum(hits), len(hits), all(hits[:2]), 1]
    counts = np.stack([found[name].ravel() for name in sorted(found)])

    def mean_over(chosen: Sequence[int]) -> Callable[[Floats], Floats]:
        def statistic(c: Floats) -> Floats:
            parts = c.reshape(*c.shape[:-1], 4, len(names))[..., list(chosen)]
            shares: Floats = _ratio(parts[..., 0, :], parts[..., 1, :]) + _ratio(parts[..., 2, :], parts[..., 3, :])
            return np.asarray(shares.mean(-1) / 2)

        return statistic

    def sum_of(wanted: Sequence[str]) -> Measure:
        chosen = [place[name] for name in names if name in wanted]
        if not chosen:
            return counts, lambda c: np.zeros(c.shape[:-1]), 0.0
        return counts, mean_over(chosen), float(MME_POINTS * len(chosen))

    listed = [name for name in names if name in PERCEPTION + COGNITION] or names
    return {"total": sum_of(listed), "perception": sum_of(PERCEPTION), "cognition": sum_of(COGNITION)}


def _amber(records: Sequence[Record]) -> dict[str, Measure]:
    """Average the accuracies of AMBER's kinds of hallucination, beside the items' F1."""

    def kind(record: Record) -> str:
        category = str(record["cells"].get("category", ""))
        return _AMBER.get(category, category)

    names = sorted({kind(record) for record in records})

    def row(record: Record) -> Floats:
        found = np.zeros((2, len(names)))
        found[:, names.index(kind(record))] = [record["verdict"] == "correct", 1]
        return found.ravel()

    def mean(c: Floats) -> Floats:
        parts = c.reshape(*c.shape[:-1], 2, len(names))
        drawn = parts[..., 1, :] > 0  # a resample may lack a small kind
        return _ratio(_ratio(parts[..., 0, :], parts[..., 1, :]).sum(-1), drawn.sum(-1).astype(np.float64))

    return {"mean": (_summed(records, row), mean, 0.0)} | _f1(records)
