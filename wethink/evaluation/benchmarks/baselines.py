"""Scores that need no model: the best constant answer to a benchmark, and chance.

A number near either of them shows no ability. Both are computed from the golds of a run's records, by the figure that
heads the benchmark.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from wethink.common.jsonl import Record
from wethink.evaluation.benchmarks.aggregate import figures, units
from wethink.evaluation.benchmarks.registry import Benchmark
from wethink.evaluation.benchmarks.scoring import open_verdict
from wethink.evaluation.benchmarks.short_answers import SCORES, gold_list, vqa_score

CANDIDATES = 5  # the most frequent golds that are tried where answers are free


def constant(records: Sequence[Record], benchmark: Benchmark) -> dict[str, Any] | None:
    """Return the best constant `answer`, its `value` by the headline figure, and `chance` (None if undefined).

    None: the records have no golds.
    """
    chosen = [r for r in records if benchmark.split is None or r["cells"].get("split") == benchmark.split]
    golds = [[g.strip() for g in gold_list(str(r.get("gold") or "")) if g.strip()] for r in chosen]
    counts = Counter(gold for found in golds for gold in dict.fromkeys(found))
    names = sorted(counts, key=lambda gold: (-counts[gold], gold))
    if benchmark.family not in ("choice", "yes_no"):
        names = names[:CANDIDATES]
    best: dict[str, Any] | None = None
    for name in names:
        value = figures(_answered(chosen, golds, name, benchmark), benchmark, 1, 0)[benchmark.figures[0]]["value"]
        if value is not None and (best is None or value > best["value"]):
            best = {"answer": name[:60], "value": value}
    return None if best is None else best | {"chance": chance(chosen, benchmark)}


def _answered(
    records: Sequence[Record], golds: Sequence[Sequence[str]], answer: str, benchmark: Benchmark
) -> list[Record]:
    """Return the records as if every response had been `answer`."""
    rule = _rule(benchmark)
    found = []
    for record, wanted in zip(records, golds, strict=True):
        value = rule(answer, wanted) if wanted else 0.0
        verdict = "correct" if value >= 0.5 else "wrong"
        faked = record | {"verdict": verdict if wanted else "unknown", "extracted": answer}
        found.append(faked | {"score": value if wanted and record.get("score") is not None else None})
    return found


def _rule(benchmark: Benchmark) -> Callable[[str, Sequence[str]], float]:
    if benchmark.family == "vqa":
        return lambda answer, golds: vqa_score(answer, golds, few=True)
    if benchmark.family == "open":
        return lambda answer, golds: open_verdict(answer, "", golds).score or 0.0
    return SCORES.get(benchmark.family, SCORES["exact"])


def chance(records: Sequence[Record], benchmark: Benchmark) -> float | None:
    """Return the expected accuracy of a uniform random choice; None where that is not defined."""
    if benchmark.figures[0] != "accuracy" or not records:
        return None
    if benchmark.family == "yes_no":
        return 0.5
    if benchmark.family != "choice" or not all("options" in record for record in records):
        return None
    if not benchmark.circular:
        return float(sum(1 / record["options"] for record in records if record["options"]) / len(records))
    # A circular unit is right only if every rotation is.
    rotations = len(records) / max(1, len(units(records, benchmark, "accuracy")))
    options = sum(record["options"] for record in records) / len(records)
    return float((1 / options) ** rotations) if options else None
