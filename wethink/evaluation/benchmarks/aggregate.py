"""Aggregation of benchmark verdicts into figures with cluster-bootstrap intervals.

A unit is an item, a circular group, or a figure or question of HallusionBench. It is right only if all its items are.
One wrong item makes it wrong, whatever is unknown beside it; else one unknown item makes it unknown. Unknown units are
left out of the accuracy and counted; if their share is above a limit, the number is withheld. Intervals resample
images: units about the same image stay together.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record
from wethink.common.statistics import cluster_bootstrap, pass_at_k
from wethink.evaluation.benchmarks.ratings import rated
from wethink.evaluation.benchmarks.registry import Benchmark

UNKNOWN_LIMIT = 0.02  # a larger share of unknown units withholds the number
CIRCLE = 10**6  # rotated copies of an MMBench question have indices equal modulo this
RECOGNITION = (
    "Regular Text Recognition",
    "Irregular Text Recognition",
    "Artistic Text Recognition",
    "Handwriting Recognition",
    "Digit String Recognition",
    "Non-Semantic Text Recognition",
)


@dataclass(frozen=True)
class Unit:
    """One scored unit: right, wrong, a graded score or unknown (None); `cluster` identifies its image."""

    right: float | bool | None
    cluster: str


def all_right(outcomes: Iterable[bool | None]) -> bool | None:
    """Combine outcomes by a three-valued 'and'.

    >>> all_right([True, None]), all_right([None, False]), all_right([True, True])
    (None, False, True)
    """
    known = list(outcomes)
    return False if False in known else None if None in known else True


def outcome(record: Record) -> bool | None:
    verdict = record["verdict"]
    return None if verdict == "unknown" else bool(verdict == "correct")


def grouped(records: Iterable[Record], key: Callable[[Record], str]) -> list[Unit]:
    """Group records into units by `key`.

    A unit has the cluster of its records; clusters that share a unit are merged.
    """
    found: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        found[key(record)].append(record)
    clusters = _joined([sorted({r["cluster"] for r in group}) for group in found.values()])
    return [Unit(_value(group), clusters[group[0]["cluster"]]) for group in found.values()]


def _value(group: Sequence[Record]) -> float | bool | None:
    """Return a unit's outcome, or the score of a single graded record."""
    if len(group) == 1 and group[0].get("score") is not None and outcome(group[0]) is not None:
        return float(group[0]["score"])
    return all_right(map(outcome, group))


def _joined(groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """Merge clusters that share a unit (union-find), named by the first of them."""
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            name = root[name]
        return name

    for group in groups:
        for other in group:
            a, b = sorted((find(group[0]), find(other)))
            root[b] = a
    return {name: find(name) for name in list(root)}


def units(records: Sequence[Record], benchmark: Benchmark, figure: str) -> list[Unit]:
    """Build the units of one reported figure.

    Raises:
        UserError: the benchmark has no such figure, or an index is not of the family's form.
    """
    if figure in ("accuracy", "sum") and not benchmark.circular:
        return grouped(records, lambda record: str(record["index"]))
    if figure == "accuracy":
        return grouped(records, _circle)
    if figure in ("aAcc", "fAcc", "qAcc"):
        return grouped(records, lambda record: _hallusion_key(record, figure))
    raise UserError(f"{benchmark.name}: no figure '{figure}'.")


def _circle(record: Record) -> str:
    if "g_index" in record["cells"]:
        return str(int(float(record["cells"]["g_index"])))
    try:
        return str(int(record["index"]) % CIRCLE)
    except ValueError:
        raise UserError(f"index '{record['index']}' is no number, as circular evaluation needs.") from None


def _hallusion_key(record: Record, figure: str) -> str:
    """Return the unit of a HallusionBench record (HallusionBench §3).

    The fields 3, 4 and 5 of the index (separated by `_`, from 0) are set, figure and question. fAcc joins a figure's
    questions, qAcc a question's figures.
    """
    parts = record["index"].split("_")
    if figure == "aAcc":
        return str(record["index"])
    if len(parts) < 6:
        raise UserError(f"index '{record['index']}' holds no set, figure and question, as HallusionBench's do.")
    return f"{record['cells'].get('l2-category')}_{parts[3]}_{parts[4 if figure == 'fAcc' else 5]}"


def estimate(found: Sequence[Unit], resamples: int, seed: int, limit: float = UNKNOWN_LIMIT) -> dict[str, Any]:
    """Estimate the share of right units with a cluster-bootstrap interval.

    Returns `value, low, high, n, unknown` (a share) and, if the number is withheld, the reason as `withheld`.
    """
    known = [unit for unit in found if unit.right is not None]
    share = 1 - len(known) / len(found) if found else 0.0
    entry: dict[str, Any] = {"value": None, "low": None, "high": None, "n": len(known), "unknown": share}
    if not known:
        return entry | {"withheld": "no known verdict"}
    if share > limit:
        return entry | {"withheld": f"{share:.1%} unknown, above the limit of {limit:.0%}"}
    result = cluster_bootstrap([float(u.right or 0) for u in known], [u.cluster for u in known], resamples, seed)
    return entry | {"value": result.value, "low": result.low, "high": result.high}


def figures(records: Sequence[Record], benchmark: Benchmark, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Compute every reported figure of one pass, the headline first.

    `records` has one record per item; figures are shares in [0, 1].
    """
    chosen = [r for r in records if benchmark.split is None or r["cells"].get("split") == benchmark.split]
    if "aAcc" in benchmark.figures:
        return _hallusion(chosen, benchmark, resamples, seed)
    if benchmark.rating:
        return rated(chosen, benchmark, resamples, seed, UNKNOWN_LIMIT)
    found = {name: estimate(units(chosen, benchmark, name), resamples, seed) for name in benchmark.figures}
    if "sum" in found:
        hits = Counter(_ocr_part(r["cells"].get("category", "")) for r in chosen if outcome(r))
        found["sum"] |= {"hits": hits.total(), "of": len(chosen), "parts": dict(sorted(hits.items()))}
    return found


def _hallusion(records: Sequence[Record], benchmark: Benchmark, resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Compute HallusionBench's aAcc, fAcc, qAcc and their mean, the board's number.

    The bootstrap resamples sets of figures, as a question's figures and a figure's questions lie within one set. The
    mean's interval resamples all three at once.
    """
    import numpy as np

    by_set = [
        r | {"cluster": "_".join([r["cells"].get("l2-category", ""), *r["index"].split("_")[3:4]])} for r in records
    ]
    parts = {name: units(by_set, benchmark, name) for name in ("aAcc", "fAcc", "qAcc")}
    found = {name: estimate(part, resamples, seed) for name, part in parts.items()}
    mean: dict[str, Any] = {"value": None, "low": None, "high": None, "n": len(records)}
    mean["unknown"] = max(entry["unknown"] for entry in found.values())
    if any(entry["value"] is None for entry in found.values()):
        return {"mean": mean | {"withheld": next(e["withheld"] for e in found.values() if e["value"] is None)}} | found
    clusters = sorted({unit.cluster for part in parts.values() for unit in part})
    place = {name: i for i, name in enumerate(clusters)}
    sums, counts = np.zeros((3, len(clusters))), np.zeros((3, len(clusters)))
    for row, part in enumerate(parts.values()):
        for unit in part:
            if unit.right is not None:
                sums[row, place[unit.cluster]] += unit.right
                counts[row, place[unit.cluster]] += 1
    drawn = np.random.default_rng(seed).integers(0, len(clusters), (resamples, len(clusters)))
    means = np.mean(
        [s[drawn].sum(1) / np.maximum(1, c[drawn].sum(1)) for s, c in zip(sums, counts, strict=True)], axis=0
    )
    low, high = np.percentile(means, [2.5, 97.5])
    value = sum(entry["value"] for entry in found.values()) / 3
    return {"mean": mean | {"value": value, "low": float(low), "high": float(high)}} | found


def _ocr_part(category: str) -> str:
    return "Text Recognition" if category in RECOGNITION else category


def by_group(
    records: Sequence[Record], benchmark: Benchmark, resamples: int, seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Compute the headline accuracy within each value of each grouping column.

    A cell of `abilities` names several groups, separated by commas.
    """
    chosen = [r for r in records if benchmark.split is None or r["cells"].get("split") == benchmark.split]
    figure = "aAcc" if "aAcc" in benchmark.figures else benchmark.figures[0]
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for column in benchmark.groups:
        members: dict[str, list[Record]] = defaultdict(list)
        for record in chosen:
            cell = record["cells"].get(column, "")
            names = cell.split(",") if column == "abilities" or benchmark.rating else [cell]
            for name in {name.strip() for name in names} - {""}:
                members[name].append(record)
        if members:
            found[column] = {
                name: _group(part, benchmark, figure, (column, name), resamples, seed)
                for name, part in sorted(members.items())
            }
    return found


def _group(
    part: Sequence[Record], benchmark: Benchmark, figure: str, group: tuple[str, str], resamples: int, seed: int
) -> dict[str, Any]:
    if not benchmark.rating:
        return estimate(units(part, benchmark, figure), resamples, seed)
    column, name = group
    alone = [record | {"cells": record["cells"] | {column: name}} for record in part]  # in this group it counts once
    return rated(alone, benchmark, resamples, seed, UNKNOWN_LIMIT)[figure]


def sampled(records: Sequence[Record], ks: Sequence[int], resamples: int, seed: int) -> dict[str, dict[str, Any]]:
    """Compute pass@k over items with several samples each.

    An item with an unknown sample is unknown.
    """
    items: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        items[record["index"]].append(record)
    known = [group for group in items.values() if None not in map(outcome, group)]
    result: dict[str, dict[str, Any]] = {}
    for k in ks:
        usable = [group for group in known if len(group) >= k]
        if usable:
            values = [pass_at_k(len(g), sum(map(bool, map(outcome, g))), k) for g in usable]
            found = cluster_bootstrap(values, [g[0]["cluster"] for g in usable], resamples, seed)
            share = 1 - len(usable) / len(items)
            entry: dict[str, Any] = {"value": found.value, "low": found.low, "high": found.high}
            if share > UNKNOWN_LIMIT:
                entry = dict.fromkeys(entry) | {"withheld": f"{share:.1%} unknown"}
            result[f"pass@{k}"] = entry | {"n": len(usable), "unknown": share}
    return result


def dyna_math(rows: Sequence[Mapping[str, Any]]) -> tuple[list[bool], list[bool], list[str]]:
    """Compute DynaMath outcomes from VLMEvalKit's rows (`qid`, `correct`).

    Returns whether each item is right, whether each question is right in all its variants, and the questions' ids. The
    board's number is the mean of the second (worst case).
    """
    variants: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        variants[str(row["qid"])].append(truth(row["correct"]))
    return (
        [right for group in variants.values() for right in group],
        [all(g) for g in variants.values()],
        list(variants),
    )


def we_math(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Compute We-Math's Score (Strict) from VLMEvalKit's rows (`ID`, `key`, `hit`).

    Sub-steps are joined with their whole problem. strict = (N − ½·IG − RM − IK) / N over N composed problems: IG all
    steps right and the whole wrong, IK a step and the whole wrong, RM (rote memorisation) a step wrong, yet the whole
    right (We-Math §3.3; N = 525 in the full set).
    """
    problems: dict[str, dict[str, bool]] = defaultdict(dict)
    for row in rows:
        if str(row["key"]).startswith(("2steps", "3steps")):
            problems[f"{str(row['key'])[:6]} {row['ID']}"][str(row["key"])] = truth(row["hit"])
    counts = Counter[str]()
    points: list[float] = []
    for answers in problems.values():
        steps = [right for key, right in answers.items() if not key.endswith("_multi")]
        whole = next((right for key, right in answers.items() if key.endswith("_multi")), None)
        if whole is None or not steps:
            continue
        kind = {(True, True): "CM", (True, False): "IG", (False, True): "RM", (False, False): "IK"}[all(steps), whole]
        counts[kind] += 1
        points.append({"CM": 1.0, "IG": 0.5, "RM": 0.0, "IK": 0.0}[kind])
    return {"points": points, "counts": dict(counts), "strict": sum(points) / len(points) if points else None}


def truth(cell: Any) -> bool:
    """Parse a verdict of VLMEvalKit's files: 1, 1.0 or True."""
    return str(cell).strip().lower() in ("1", "1.0", "true")
