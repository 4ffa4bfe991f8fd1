"""Stands in for `evaluate` in the projects of the fault suite: verdicts follow from what a checkpoint has learned."""

import hashlib
from pathlib import Path
from typing import Any

from wethink.common.jsonl import read_json, read_jsonl, write_json, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.evaluation import Evaluate
from wethink.config.launch import Launch
from wethink.config.rewards import Rewards


def evaluate_checkpoints(
    checkpoints: dict[str, Path],
    images: Path,
    drawn: Path,
    rewards: Rewards,
    launch: Launch,
    run: StageRun[Evaluate],
    valid: Path | None = None,
) -> dict[str, Any]:
    """One greedy record per item and checkpoint, of the form that the gate reads."""
    items = list(read_jsonl(drawn / "items" / f"{run.config.split}.jsonl"))
    records = []
    for name, folder in checkpoints.items():
        learned = read_json(folder / "learned.json")["steps"] if (folder / "learned.json").is_file() else 0
        for item in items:
            luck = int.from_bytes(hashlib.sha256(f"{learned} {item['id']}".encode()).digest()[:4]) / 2**32
            verdict = "correct" if luck < min(0.9, 0.3 + learned / 40) else "wrong"
            known = item | {"checkpoint": name, "temperature": 0.0, "extracted": item["answer"]}
            records.append(known | {"pixels": "true", "verdict": verdict})
            blind = {"verdict": "wrong", "extracted": ""}
            records += [known | blind | {"pixels": pixels} for pixels in ("blank", "shuffled")]
    write_jsonl(run.out / "items.jsonl", records)
    write_json(run.out / "metrics.json", {"items": len(items)})
    return {"items": len(items)}
