"""`sft`: the warm start on reasoning paths that synthesis and validation kept."""

from pathlib import Path
from typing import Any

from wethink.config import Launch, Sft
from wethink.context import fitting
from wethink.errors import UserError
from wethink.images import ImageSet
from wethink.models.policy import load_model, load_processor, model_card
from wethink.records import Record, read_jsonl, write_json
from wethink.rewards.grammar import render
from wethink.supervised import Sample, train


def path_rows(rows: Path) -> list[Record]:
    """Train rows with a reasoning path; GRPO trains on the train rows without one."""
    return [row for row in read_jsonl(rows / "rows.jsonl") if row["split"] == "train" and row["refined_cot"]]


def sft(
    *, images: Path, rows: Path, base: Path, out: Path, scratch: Path, config: Sft, launch: Launch, seed: int
) -> dict[str, Any]:
    """Train the base policy on the reasoning paths and publish it to `out`.

    Raises:
        UserError: no validated row has a reasoning path.
    """
    chosen = path_rows(rows)
    if not chosen:
        raise UserError(
            f"{rows / 'rows.jsonl'} has no train row with a 'refined_cot'; raise synthesize.path_share above 0."
        )
    model, processor, dataset = load_model(base), load_processor(base), ImageSet(images)
    written = {row["id"]: render(row["refined_cot"], row["answer"]) for row in chosen}
    kept = fitting(chosen, dataset, processor, model, 1, written)  # 1: the stop token
    if not kept:
        raise UserError(
            f"{rows / 'rows.jsonl'}: all {len(chosen)} paths are too long for the model's context; shorten them."
        )
    samples = [Sample(row["problem"], row["image"], written[row["id"]]) for row in kept]
    metrics = {"samples": len(samples), "steps": config.optim.steps, "dropped_overlong": len(chosen) - len(kept)}
    card = model_card("sft", str(base))
    if train(model, processor, samples, dataset, config.optim, launch, scratch, out, seed, "sft", card):
        write_json(out / "metrics.json", metrics)
    return metrics
