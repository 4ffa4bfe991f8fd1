"""`sft`: the warm start on reasoning paths that synthesis and validation kept."""

from pathlib import Path
from typing import Any

from wethink.config import Launch, Sft
from wethink.errors import UserError
from wethink.images import ImageSet
from wethink.models.policy import load_model, load_processor, model_card, save_policy
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
    samples = [Sample(row["problem"], row["image"], render(row["refined_cot"], row["answer"])) for row in chosen]
    model, processor = load_model(base), load_processor(base)
    if train(model, processor, samples, ImageSet(images), config.optim, launch, scratch, out, seed, "sft"):
        save_policy(model, None, processor, out, model_card("sft", str(base)))
        write_json(out / "metrics.json", {"samples": len(samples), "steps": config.optim.steps})
    return {"samples": len(samples)}
