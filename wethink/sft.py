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


def samples_of(rows: Path, config: Sft) -> list[Sample]:
    """What SFT imitates: the refined paths; or, as ablations, raw ones or answers alone.

    A raw path stands in for an unrefined chain: what the text reasoner had before it (its description, errors
    included), then the path, then the path again. Answers alone are learned without tags and system prompt.
    """
    chosen = [row for row in path_rows(rows) if config.sources is None or row["source"] in config.sources]
    if config.paths == "answers":
        return [Sample(row["problem"], row["image"], row["answer"], system="") for row in chosen]
    read: dict[str, str] = {}
    if config.paths == "raw":
        read = {record["image"]: record["text"] for record in read_jsonl(rows / "descriptions.jsonl")}
    return [
        Sample(row["problem"], row["image"], render(_path(row, read.get(row["image"])), row["answer"]))
        for row in chosen
    ]


def _path(row: Record, description: str | None) -> str:
    path = str(row["refined_cot"])
    return path if description is None else f"{description} . {path} . {path}"


def sft(
    *, images: Path, rows: Path, base: Path, out: Path, scratch: Path, config: Sft, launch: Launch, seed: int
) -> dict[str, Any]:
    """Train the base policy on the reasoning paths and publish it to `out`.

    Raises:
        UserError: no validated row has a reasoning path.
    """
    samples = samples_of(rows, config)
    if not samples:
        raise UserError(
            f"{rows / 'rows.jsonl'} has no train row with a 'refined_cot'; raise synthesize.path_share above 0."
        )
    model, processor = load_model(base), load_processor(base)
    if train(model, processor, samples, ImageSet(images), config.optim, launch, scratch, out, seed, "sft"):
        save_policy(model, None, processor, out, model_card("sft", str(base)))
        write_json(out / "metrics.json", {"samples": len(samples), "steps": config.optim.steps})
    return {"samples": len(samples)}
