"""Stage `synthesize`: questions, answers and reasoning paths from an annotator team or existing rows.

The stage runs `pipeline.annotate_image` over all images: one after the other for the embedded team, in a window of
concurrent calls for models behind endpoints, whose responses stay in a store outside the run (docs/synthesis.md). The
published rows are a function of images, parameters, prompts and responses.

Questions about held-out images become items, on which no model is trained (wethink/evaluation/evaluate.py). Those about
drawn images are written by `draw`, from the truth.

Only rows of a hash-chosen `path_share` of the train images get a reasoning path; the others have an answer only and
are for GRPO. Paths are costly to write, answers are cheap, and GRPO needs only answers.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wethink.common.jsonl import write_json
from wethink.common.progress import say, track
from wethink.common.stage_run import StageRun
from wethink.config.launch import Launch
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Synthesize
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.data.schema import TRAINING_SPLITS
from wethink.synthesis.embedded_team import EmbeddedTeam
from wethink.synthesis.funnel import Outputs, funnel, summary
from wethink.synthesis.import_rows import import_rows
from wethink.synthesis.pipeline import Annotated, annotate_image, drawn_images, has_path, to_annotate
from wethink.synthesis.team import Team

__all__ = ["funnel", "has_path", "synthesize"]


def synthesize(
    *, run: StageRun[Synthesize], images: Path, drawn: Path, rewards: Rewards, launch: Launch | None = None
) -> dict[str, Any]:
    """Write rows, items, rejects, failures, descriptions (docs/data.md); return the funnel.

    Raises:
        UserError: the annotator cannot read an image, the file of existing rows is unusable, there is no image to
            annotate, an endpoint cannot be used, or too many calls failed and can be retried.
    """
    config, out, seed = run.config, run.out, run.seed
    stored = ImageSet(images)
    records = to_annotate(stored, drawn)
    with Outputs(out) as outputs:
        if config.annotator == "rows":
            metrics = _import(stored, records, outputs, config, seed, drawn_images(drawn))
        elif config.annotator == "endpoints":
            from wethink.synthesis.api_run import AnnotationJob, annotate_all

            assert launch is not None
            annotate_all(AnnotationJob(stored, records, config, rewards, seed, launch), outputs.add)
            metrics = outputs.figures()
        else:
            team, records = EmbeddedTeam(drawn, config.embedded, seed), sorted(records, key=lambda record: record.id)
            asyncio.run(_annotate(records, team, config, rewards, seed, outputs.add))
            metrics = outputs.figures()
    write_json(out / "metrics.json", metrics)
    say(f"synthesize: {summary(metrics)}; data/rows names each.")
    return metrics


async def _annotate(
    records: Sequence[ImageRecord],
    team: Team,
    config: Synthesize,
    rewards: Rewards,
    seed: int,
    take: Callable[[ImageRecord, Annotated], None],
) -> None:
    """Annotate one image after the other; pass each result to `take`."""
    for record in track(records, "synthesize"):
        take(record, await annotate_image(record, team, config, rewards, seed))


def _import(
    stored: ImageSet, records: list[ImageRecord], outputs: Outputs, config: Synthesize, seed: int, drawn: set[str]
) -> dict[str, Any]:
    """Import existing rows; those about held-out images become items, but for drawn images, which have theirs."""
    # All images are passed, so that a row about a held-out image is told from one about no ingested image.
    assert config.rows is not None  # the config's own validator
    for row in import_rows(Path(config.rows), stored.records, lambda image: has_path(image, config.path_share, seed)):
        if row["reason"] is None and row["split"] not in TRAINING_SPLITS and row["image"] in drawn:
            row["reason"] = f"image is held out ({row['split']})"
        outputs.add_candidate(row)
    splits = sorted({record.split for record in records})
    images = {split: sum(record.split == split for record in records) for split in splits}
    return outputs.funnel.figures() | {"images": images, "unasked": 0}
