"""Stage `sft`: supervised warm start on validated reasoning paths."""

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl, write_json
from wethink.common.progress import say
from wethink.common.stage_run import StageRun
from wethink.config.launch import Launch
from wethink.config.response_format import ResponseFormat
from wethink.config.training import Sft
from wethink.data.image_store import ImageSet
from wethink.data.schema import Row, read_rows, row_images, split_train_rows
from wethink.models.context_length import context_of, drop_overlong, tell_overlong
from wethink.models.policy import check_template, load_model, load_processor, model_card
from wethink.models.vocabulary import tell_unknown
from wethink.rewards.format import Unwritable, render
from wethink.training.engine import precision
from wethink.training.ranks import is_first_rank, join
from wethink.training.supervised import Sample, train


def path_rows(rows: Path) -> list[Row]:
    """Read the train rows with a reasoning path; GRPO trains on the others."""
    return split_train_rows(read_rows(rows / "rows.jsonl"))[0]


def chosen_rows(rows: Path, config: Sft) -> list[Row]:
    """Read the rows with a reasoning path from the configured sources."""
    return [row for row in path_rows(rows) if config.sources is None or row["source"] in config.sources]


def completions(chosen: Sequence[Row], rows: Path, config: Sft, form: ResponseFormat) -> dict[str, str]:
    """Return each row's target text by row id, chosen by `config.paths`.

    A row whose texts hold the format's own marks has none: what a policy learned from it would earn no reward.

    Targets are the refined paths or, as ablations, raw paths or answers alone. A raw path stands in for an unrefined
    chain of thought: the text reasoner's input (a description, errors included), then the path, then the path again.
    Answers alone are learned without format and system prompt.
    """
    if config.paths == "answers":
        return {row["id"]: row["answer"] for row in chosen}
    read: dict[str, str] = {}
    if config.paths == "raw":
        read = {record["image"]: record["text"] for record in read_jsonl(rows / "descriptions.jsonl")}
    written: dict[str, str] = {}
    for row in chosen:
        with suppress(Unwritable):
            written[row["id"]] = render(_path(row, read.get(" ".join(row_images(row)))), row["answer"], form)
    return written


def samples_of(chosen: Sequence[Row], written: Mapping[str, str], config: Sft) -> list[Sample]:
    """Build training samples from the rows that have a target text."""
    system = "" if config.paths == "answers" else None
    return [
        Sample(row["problem"], row_images(row), written[row["id"]], system) for row in chosen if row["id"] in written
    ]


def _path(row: Row, description: str | None) -> str:
    path = str(row["refined_cot"])
    return path if description is None else f"{description} . {path} . {path}"


def sft(
    *,
    images: Path,
    rows: Path,
    base: Path,
    format: ResponseFormat,
    launch: Launch,
    run: StageRun[Sft],
    start: str = "sft",
) -> dict[str, Any]:
    """Train the base policy on the reasoning paths and publish it to `out`.

    Without any path, and where GRPO starts from the base policy (`start`), that is published unchanged.

    Raises:
        UserError: no validated row has a reasoning path, the format holds none of them, all are too long for the
            model's context, or the base policy was made for another format.
    """
    config = run.config
    chosen = chosen_rows(rows, config)
    if not chosen and start == "base":
        return passed_on(base, run.out, format, launch, "no row has a reasoning path")
    if not chosen:
        raise UserError(
            f"{rows / 'rows.jsonl'} has no train row with a reasoning path, so SFT has nothing to learn. Skip it with "
            "grpo.start: base, give paths in a column of your rows (columns.path), let a model write them for your "
            "answers (synthesize.write_paths: true; docs/synthesis.md), or raise synthesize.path_share above 0 if an "
            "annotator writes them."
        )
    model, processor, dataset = load_model(base, dtype=precision(launch)), load_processor(base), ImageSet(images)
    if join(launch).first:
        tell_unknown(processor, chosen, "sft")
    check_template(processor, format, base)
    written = completions(chosen, rows, config, format)
    writable = [row for row in chosen if row["id"] in written]
    if not writable:
        raise UserError(
            f"{rows / 'rows.jsonl'}: each of {len(chosen)} paths or its answer holds marks of the format "
            f"'{format.kind}'; choose another rewards.format."
        )
    kept = drop_overlong(writable, dataset, processor, model, 1, written)  # 1: the stop token
    _tell_left_out(writable, kept, dataset, processor, model)
    if not kept:
        raise UserError(
            f"{rows / 'rows.jsonl'}: all {len(writable)} paths are too long for the model's context; shorten them."
        )
    samples = samples_of(kept, written, config)
    metrics = {
        "samples": len(samples),
        "steps": config.optim.max_steps,
        "dropped_overlong": len(writable) - len(kept),
        "dropped_unwritable": len(chosen) - len(writable),
    }
    card = model_card("sft", str(base), format)
    if train(model, processor, samples, dataset, config.optim, launch, run, "sft", card, config.share_images):
        write_json(run.out / "metrics.json", metrics)
    return metrics


def _tell_left_out(rows: Sequence[Row], kept: Sequence[Row], images: ImageSet, processor: Any, model: Any) -> None:
    """Print on one rank how many rows are too long, and why."""
    if is_first_rank():
        ids = {row["id"] for row in kept}
        left_out = [row for row in rows if row["id"] not in ids]
        key = "the context, with another base.model,"
        tell_overlong(left_out, images, processor, "sft", context_of(model), 1, key)


def passed_on(base: Path, out: Path, format: ResponseFormat, launch: Launch, why: str) -> dict[str, Any]:
    """Publish the base policy as it is, and say `why`."""
    metrics = {"samples": 0, "steps": 0, "dropped_overlong": 0}
    if join(launch).first:
        say(f"sft: {why}; the policy is passed on as it is, and GRPO starts from it.")
        left_out = shutil.ignore_patterns("manifest.json", "metrics.json", "curves.csv", "README.md")
        shutil.copytree(base, out, dirs_exist_ok=True, ignore=left_out)
        (out / "README.md").write_text(model_card("sft", str(base), format), encoding="utf-8")
        write_json(out / "metrics.json", metrics)
    return metrics
