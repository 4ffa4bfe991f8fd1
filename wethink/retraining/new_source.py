"""Import of a new source: its images ingested, its rows imported or synthesised.

A source is a folder with `images/` and, if it has them, `rows.jsonl` (image, question, answer; docs/data.md). Without
rows, the configured annotator writes them. A hash-chosen share of its images is held out: their rows become items that
no model learns from.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id, file_sha256, read_jsonl, write_json, write_jsonl
from wethink.common.progress import say
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.config.launch import Launch
from wethink.config.retraining import Retrain
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Synthesize
from wethink.data.image_files import walk
from wethink.data.image_store import NAMES, ImageRecord, ImageSet
from wethink.data.ingest import ingest
from wethink.data.schema import Row, as_item
from wethink.retraining.known_images import is_held_out
from wethink.retraining.label_check import check_labels, sentence
from wethink.synthesis.import_rows import declared, import_rows
from wethink.synthesis.paths import divide_paths, set_aside
from wethink.synthesis.pipeline import has_path
from wethink.synthesis.rejections import unusable


def new_images(*, source: Path, retrain: Retrain, run: StageRun[Ingest]) -> dict[str, Any]:
    """Ingest the images of the new source only.

    Raises:
        UserError: it has no `images` folder, or no usable image in it.
    """
    if not (source / "images").is_dir():
        raise UserError(f"source '{retrain.source}' has no folder 'images'; put its images there, beside rows.jsonl.")
    if (source / "rows.jsonl").is_file():
        _refuse_unusable(source, retrain)
    only = Source(name=str(retrain.source), kind="folder", path=str(source / "images"), tuning=0.0, reporting=0.0)
    return ingest(drawn=source, run=replace(run, config=run.config.model_copy(update={"sources": (only,)})))


def new_rows(
    *, source: Path, images: Path, synthesize: Synthesize, rewards: Rewards, launch: Launch, run: StageRun[Retrain]
) -> dict[str, Any]:
    """Import or synthesise the source's rows; those of held-out images become items.

    Raises:
        UserError: the file of rows is unusable, there is neither one nor an annotator for these images, none of the
            rows is usable, or the label check stops the source.
    """
    config, out, scratch, seed = run.config, run.out, run.scratch, run.seed
    imported = (source / "rows.jsonl").is_file()
    if imported:
        candidates = _imported(source, ImageSet(images), rewards)
        if not config.sft_steps:
            for row in candidates:
                set_aside(row)
        elif told := divide_paths(candidates, lambda image: has_path(image, synthesize.path_share, seed)):
            say(f"paths of '{config.source}': {told}.")
    else:
        candidates = _annotated(source, images, scratch / "written", config, synthesize, rewards, launch, seed)
    kept = [_accepted(row) for row in candidates if row["reason"] is None]
    rejected = [row for row in candidates if row["reason"] is not None]
    if not kept:
        raise UserError(f"source '{config.source}': {unusable(rejected)}")
    looked = None
    if imported:
        given = (config.label_check, synthesize, rewards, launch, seed)
        try:
            looked = check_labels(kept, ImageSet(images), source, *given)
        except UserError as refusal:
            raise UserError(f"source '{config.source}': {refusal}", exit_code=refusal.exit_code) from None
        say(f"label check of '{config.source}': {sentence(looked)}")
    held = [row for row in kept if is_held_out(row["scene"], config.held_out)]
    learned = [row for row in kept if not is_held_out(row["scene"], config.held_out)]
    write_jsonl(out / "rows.jsonl", learned)
    write_jsonl(out / "items.jsonl", map(as_item, held))
    write_jsonl(out / "rejected.jsonl", rejected)
    write_json(out / "source.json", {"name": config.source, "content": content_of(source)})
    metrics: dict[str, Any] = {
        "candidates": len(candidates),
        "rows": len(learned),
        "items": len(held),
        "rejected": len(rejected),
    }
    if looked is not None:
        metrics["label_check"] = looked
    write_json(out / "metrics.json", metrics)
    return metrics


def _refuse_unusable(source: Path, retrain: Retrain) -> None:
    """Check in seconds that some row of the source can be used, before its images are read and compared.

    Raises:
        UserError: none can.
    """
    home = source / "images"
    names = [os.fsencode(path.relative_to(home)).decode("utf-8", "backslashreplace") for path in walk(home)]
    there = [ImageRecord(name, str(retrain.source), "train", name, 1, 1, name) for name in names]
    # Routes and categories of the user's own are known to `new_rows` alone: a row of one is not refused here.
    found = import_rows(source / "rows.jsonl", there)
    unknown = ("unknown category", "unknown reward")
    if all(row["reason"] is not None and not row["reason"].startswith(unknown) for row in found):
        raise UserError(f"source '{retrain.source}': {unusable(found)} Mend rows.jsonl and close the source again.")


def _imported(source: Path, images: ImageSet, rewards: Rewards) -> list[Record]:
    """Import the source's rows."""
    names = images.folder / NAMES
    further = read_jsonl(names) if names.is_file() else ()
    return import_rows(source / "rows.jsonl", images.records, further, own=declared(rewards.functions))


def _annotated(
    source: Path,
    images: Path,
    written: Path,
    config: Retrain,
    synthesize: Synthesize,
    rewards: Rewards,
    launch: Launch,
    seed: int,
) -> list[Record]:
    """Annotate the images; return every candidate as `import_rows` does.

    Held-out images are annotated, too: a model is compared with their answers. Paths are requested for SFT only. The
    embedded annotator reads the `truth/` folder of a drawn source.

    Raises:
        UserError: the configured annotator cannot write rows.
    """
    from wethink.synthesis.synthesize import synthesize as write

    if synthesize.annotator == "rows":
        raise UserError(
            f"source '{config.source}' has no rows.jsonl, and synthesize.annotator is 'rows'; put the file beside "
            "images/, or set the annotator to 'endpoints' to have models write them (docs/synthesis.md)."
        )
    written.mkdir(parents=True, exist_ok=True)
    asked = synthesize if config.sft_steps else synthesize.model_copy(update={"path_share": 0.0})
    write(
        images=images,
        drawn=source,
        rewards=rewards,
        launch=launch,
        run=StageRun(asked, out=written, scratch=written, seed=seed),
    )
    kept = [row | {"reason": None} for row in read_jsonl(written / "rows.jsonl")]
    return kept + [row for name in ("rejected", "failed") for row in read_jsonl(written / f"{name}.jsonl")]


def _accepted(candidate: Record) -> Row:
    """Return a candidate that no filter rejected as a row, without its `reason`."""
    return cast(Row, {key: value for key, value in candidate.items() if key != "reason"})


def content_of(source: Path) -> str:
    """Return a content hash of a source: of its rows or, without any, its images."""
    if (source / "rows.jsonl").is_file():
        return file_sha256(source / "rows.jsonl")
    images = source / "images"
    found = sorted(path for path in images.rglob("*") if path.is_file())
    return content_id([(str(path.relative_to(images)), file_sha256(path)) for path in found])
