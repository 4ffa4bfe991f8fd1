"""Benchmark results as data: own runs, VLMEvalKit's result files and published scores.

A run counts when every item has an answer in every pass; else its row has the number of missing answers and no score.
Checkpoints are compared in pairs on the same items, by a sign-flip test over clusters; p-values are adjusted (Holm)
over all comparisons on the page. The number of runs on a table is printed beside it: a table that was evaluated often
is no fresh evidence.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json
from wethink.common.statistics import holm, paired_bootstrap, paired_test
from wethink.evaluation.benchmarks.aggregate import by_group, figures, outcome, sampled
from wethink.evaluation.benchmarks.baselines import constant
from wethink.evaluation.benchmarks.published_scores import PUBLISHED
from wethink.evaluation.benchmarks.registry import BENCHMARKS, Benchmark, entry_for, has_kit_protocol
from wethink.evaluation.benchmarks.run import HOME, Pass, as_kit, expected, records_of
from wethink.evaluation.benchmarks.vlmevalkit import official_figures

RESAMPLES = 2000
TRUE = Pass("true", 0.0)
CONTROLS = {"blank": Pass("blank", 0.0), "shuffled": Pass("shuffled", 0.0)}


def board(home: Path = HOME, order: Sequence[str] = ("base", "sft", "grpo"), seed: int = 0) -> dict[str, Any]:
    """Collect the rows of all benchmarks for the report.

    Tables on no board come first, then the boards' benchmarks, each with rows or with the reason why there are none.
    """
    found = sorted(path.name for path in home.iterdir() if path.is_dir()) if home.is_dir() else []
    names = [name for name in found if name not in BENCHMARKS] + list(BENCHMARKS)
    benchmarks = [_benchmark(home / name, order, seed) for name in names]
    raw = {
        (b["name"], c["after"], c["before"]): c["p"] for b in benchmarks for c in b["comparisons"] if c["p"] is not None
    }
    adjusted = holm({" / ".join(key): p for key, p in raw.items()})
    for entry in benchmarks:
        for comparison in entry["comparisons"]:
            key = " / ".join((entry["name"], comparison["after"], comparison["before"]))
            comparison["holm"] = adjusted.get(key)
    return {"benchmarks": benchmarks, "tests": len(raw), "resamples": RESAMPLES}


def _benchmark(folder: Path, order: Sequence[str], seed: int) -> dict[str, Any]:
    runs = {path.parent: read_json(path) for path in sorted(folder.glob("*/run.json"))}
    families = {path.name: about["family"] for path, about in runs.items()}
    entry = entry_for(folder.name, next(iter(families.values()), None))
    rows, passes = [], dict[str, dict[Pass, list[Record]]]()
    for path, about in sorted(runs.items(), key=lambda run: (_rank(run[1]["label"], order), str(run[0]))):
        by_pass = _by_pass(records_of(path))
        row = _row(path, about, by_pass, entry_for(folder.name, about["family"]), seed)
        rows.append(row)
        if "missing" not in row:
            passes[row["run"]] = by_pass
    rows += official_figures(folder, entry, seed)
    compared = [
        _comparison(entry, after, before, passes[after][TRUE], passes[before][TRUE], seed)
        for before, after in pairwise(passes)
        if _table_of(runs, before) == _table_of(runs, after) and families[before] == families[after]
    ]
    labels = {path.name: about["label"] for path, about in runs.items()}
    for comparison in compared:
        comparison |= {"labels": [labels[comparison["after"]], labels[comparison["before"]]]}
    missing = ""
    if not rows:
        missing = f"not run: {folder.name}.tsv was not given to the command `benchmark`"
        if entry.family == "kit":
            missing = f"not run: it needs {folder.name}.tsv, {entry.missing}"
    published = {
        model: values[entry.published]
        for model, values in PUBLISHED.items()
        if entry.published and entry.published in values
    }
    return {
        "name": folder.name,
        "title": entry.title,
        "figures": list(entry.figures),
        "looks": len(runs),
        "rows": rows,
        "missing": missing,
        "published": published,
        "comparisons": compared,
    }


def _table_of(runs: dict[Path, dict[str, Any]], run: str) -> str:
    return next(str(about["table_sha256"]) for path, about in runs.items() if path.name == run)


def _rank(label: str, order: Sequence[str]) -> tuple[int, str]:
    return (order.index(label) if label in order else len(order), label)


def _by_pass(records: Sequence[Record]) -> dict[Pass, list[Record]]:
    found: dict[Pass, list[Record]] = {}
    for record in records:
        found.setdefault(Pass(record["pixels"], record["temperature"], record["sample"]), []).append(record)
    return found


def _row(
    folder: Path, about: dict[str, Any], by_pass: dict[Pass, list[Record]], entry: Benchmark, seed: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"run": folder.name, "label": about["label"], "about": about, "folder": str(folder)}
    lacking = sum(about["items"] - len(by_pass.get(one, ())) for one in expected(about))
    if lacking:
        return row | {"missing": f"{lacking} answers are missing; start the same command again"}
    greedy = by_pass[TRUE]
    row["figures"] = figures(greedy, entry, RESAMPLES, seed)
    kit = [as_kit(record) for record in greedy if record["kit_verdict"] is not None]
    row["kit"] = figures(kit, entry, RESAMPLES, seed) if kit and has_kit_protocol(entry) else {}
    row["constant"] = constant(greedy, entry)
    row["controls"] = {
        name: figures(by_pass[one], entry, RESAMPLES, seed)[entry.figures[0]]
        for name, one in CONTROLS.items()
        if one in by_pass
    }
    row["groups"] = by_group(greedy, entry, RESAMPLES, seed)
    draws = [record for one, records in by_pass.items() if one.temperature > 0 for record in records]
    if draws:
        count = about["settings"]["samples"]
        row["sampled"] = sampled(draws, sorted({1, count}), RESAMPLES, seed)
    return row


def spoken(folder: Path, seed: int = 0) -> list[str]:
    """Format a run's headline and unknown verdicts, a line per temperature.

    Missing shards are left out.
    """
    about = read_json(folder / "run.json")
    entry, lines = entry_for(about["benchmark"], about["family"]), []
    by_pass = {one: records for one, records in _by_pass(records_of(folder)).items() if one.pixels == "true"}
    for temperature in sorted({one.temperature for one in by_pass}):
        records = [r for one, part in by_pass.items() if one.temperature == temperature for r in part]
        name = entry.figures[0] if temperature == 0 else "accuracy"
        if temperature == 0:
            figure = figures(records, entry, RESAMPLES, seed)[name]
        else:
            figure = sampled(records, [1], RESAMPLES, seed).get("pass@1", {"value": None})
        said = f"withheld ({figure.get('withheld', 'no known verdict')})"
        if figure["value"] is not None:
            said = "{:.1f} % [{:.1f}, {:.1f}]".format(*(100 * figure[key] for key in ("value", "low", "high")))
            said += f" of {figure['n']}"
            said += f" ({figure['points']:.1f} of {figure['of']:.0f} points)" if "points" in figure else ""
        hidden = sum(outcome(record) is None for record in records)
        lines.append(f"temperature {temperature:g}: {name} {said}; {hidden} of {len(records)} verdicts unknown")
        if temperature == 0 and (best := constant(records, entry)):
            lines.append(_constant(name, best))
    return lines


def _constant(name: str, best: dict[str, Any]) -> str:
    said = f"without a model: always '{best['answer']}' has {name} {100 * best['value']:.1f} %"
    return said if best["chance"] is None else f"{said}, chance {100 * best['chance']:.1f} %"


def _comparison(
    entry: Benchmark, after: str, before: str, new: Sequence[Record], old: Sequence[Record], seed: int
) -> dict[str, Any]:
    """Compute one run's item accuracy minus another's, over items known in both."""
    earlier = {record["index"]: outcome(record) for record in old}
    pairs = [
        (record["cluster"], outcome(record), earlier.get(record["index"]))
        for record in new
        if outcome(record) is not None and earlier.get(record["index"]) is not None
    ]
    names = {"after": after, "before": before, "n": len(pairs)}
    if not pairs:
        return names | {"mean": None, "low": None, "high": None, "p": None}
    clusters, a, b = (list(column) for column in zip(*pairs, strict=True))
    found = paired_bootstrap(a, b, clusters, RESAMPLES, seed)
    p = paired_test(a, b, clusters, RESAMPLES, seed)
    return names | {"mean": found.mean, "low": found.low, "high": found.high, "p": p}


def run_items(folder: Path) -> list[Record]:
    """Read a run's greedy records about the true pictures, sorted by index.

    Raises:
        UserError: the folder is no run.
    """
    if not (folder / "run.json").is_file():
        raise UserError(f"{folder} is no benchmark run (no run.json).")
    return sorted(_by_pass(records_of(folder)).get(Pass("true", 0.0), []), key=lambda record: str(record["index"]))
