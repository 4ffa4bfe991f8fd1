"""Lineage of a promotion decision: DVC hashes, sources, and the models and prompts of the rows.

The decision page and the registry hold it, so a champion can be traced to its training data after the worktree is gone.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tasks.versioning import commits
from wethink.common.jsonl import Record, read_json
from wethink.config.params import load_yaml
from wethink.data.schema import Row, read_rows

TRACKED = ("union", "challenger")  # outputs of a retrain that DVC tracks


def track(folder: Path) -> None:
    """Add a retrain's union and challenger to DVC; idempotent.

    Raises:
        UserError: DVC failed; the message has its last line.
    """
    commits.dvc(folder, "add", *(f"retrain/{name}" for name in TRACKED))


def lineage(folder: Path) -> Record:
    """Describe a challenger's lineage for the decision page; call `track` first."""
    sources = read_json(folder / "retrain/union/sources.json")
    return {
        "data, by DVC": ", ".join(f"{name} {_md5(folder / f'retrain/{name}.dvc')}" for name in TRACKED),
        "sources": ", ".join(f"{name} ({content[:12]})" for name, content in sorted(sources.items())),
        "label check": _label_check(folder / "retrain/rows/metrics.json"),
        "rows written by": "; ".join(writers(read_rows(folder / "retrain/union/rows/rows.jsonl"))),
    }


def writers(rows: Iterable[Row]) -> list[str]:
    """Count the rows by writer: model and prompt hash, file, or embedded annotator."""
    counts: Counter[str] = Counter()
    for row in rows:
        made = row.get("provenance") or {}
        steps = made.get("steps") or {}
        for name, step in steps.items():
            counts[f"{name} by {step['model']}, prompt {step['prompt'][:12]}"] += 1
        if not steps:
            which = made.get("file") or made.get("given") or made.get("rates") or ""
            counts[f"{made.get('annotator', 'unknown')} {which}".strip()] += 1
    return [f"{name} ({count:,} rows)" for name, count in sorted(counts.items())]


def _label_check(metrics: Path) -> str:
    from wethink.retraining.label_check import sentence  # lazy: a run without work should not load it

    found = read_json(metrics).get("label_check") if metrics.is_file() else None
    return sentence(found) if found else "none: the configured annotator wrote the rows"


def _md5(pointer: Path) -> str:
    """Read the hash in a `.dvc` file; 'none' if there is no such file."""
    return str(load_yaml(pointer)["outs"][0]["md5"]) if pointer.is_file() else "none"
