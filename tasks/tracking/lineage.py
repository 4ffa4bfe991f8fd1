"""Where a decision comes from: the data by DVC's hashes, the sources, and who wrote the rows by which prompts.

It stands on the decision's page and in the registry, so that a champion can be traced to what it learned from after
the folder in which it was trained is gone.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tasks.versioning import commits
from wethink.common.jsonl import Record, read_json, read_jsonl
from wethink.config.params import load_yaml

TRACKED = ("union", "challenger")  # what of a retrain DVC keeps


def track(folder: Path) -> None:
    """Let DVC hash and keep a retrain's union and challenger; what it has already is left alone.

    Raises:
        UserError: DVC refuses; its own last words.
    """
    commits.dvc(folder, "add", *(f"retrain/{name}" for name in TRACKED))


def lineage(folder: Path) -> Record:
    """What the challenger in a retrain's folder comes from, in words for a page; `track` comes first."""
    sources = read_json(folder / "retrain/union/sources.json")
    return {
        "data, by DVC": ", ".join(f"{name} {_md5(folder / f'retrain/{name}.dvc')}" for name in TRACKED),
        "sources": ", ".join(f"{name} ({content[:12]})" for name, content in sorted(sources.items())),
        "second look": _second_look(folder / "retrain/rows/metrics.json"),
        "rows written by": "; ".join(writers(read_jsonl(folder / "retrain/union/rows/rows.jsonl"))),
    }


def writers(rows: Iterable[Record]) -> list[str]:
    """Who wrote the rows, with how many: models with the hashes of their prompts, files, the embedded annotator."""
    counts: Counter[str] = Counter()
    for row in rows:
        made = row.get("provenance") or {}
        steps = made.get("steps") or {}
        for name, step in steps.items():
            counts[f"{name} by {step['model']}, prompt {step['prompt'][:12]}"] += 1
        if not steps:
            which = made.get("file") or made.get("rates") or ""
            counts[f"{made.get('annotator', 'unknown')} {which}".strip()] += 1
    return [f"{name} ({count:,} rows)" for name, count in sorted(counts.items())]


def _second_look(metrics: Path) -> str:
    from wethink.retraining.label_check import sentence  # a run that has nothing to do should not pay for its imports

    found = read_json(metrics).get("second_look") if metrics.is_file() else None
    return sentence(found) if found else "none: the configured annotator wrote the rows"


def _md5(pointer: Path) -> str:
    """The hash in a `.dvc` file; 'none' where DVC does not keep it."""
    return str(load_yaml(pointer)["outs"][0]["md5"]) if pointer.is_file() else "none"
