"""Stage `synthesize`: images → questions, answers and reasoning paths, by an annotator team or from existing rows.

The steps stand in `annotators/steps.py`; here they run over all images: at once for the embedded team, in a window
of concurrent calls for models behind endpoints, whose answers are kept in a store that outlives every run
(docs/synthesis.md). The published rows are a function of images, parameters, prompts and answers.

Few rows get a path: those of a hash-chosen `path_share` of the train images. The others keep their
answer alone, and are GRPO's. A reasoning path is the costly thing to write, an answer the cheap one,
and reinforcement learning needs only the latter.
"""

from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

from wethink.common.jsonl import Record, write_json
from wethink.common.progress import say, track
from wethink.config.launch import Launch
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Synthesize
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.synthesis.embedded_team import EmbeddedAnnotator
from wethink.synthesis.funnel import Outputs, funnel, summary
from wethink.synthesis.import_rows import import_rows
from wethink.synthesis.pipeline import annotate_image, has_path, to_annotate
from wethink.synthesis.team import Annotator, SyncTeamAdapter

__all__ = ["annotate", "funnel", "has_path", "synthesize"]

T = TypeVar("T")


def synthesize(
    *,
    images: Path,
    drawn: Path,
    out: Path,
    scratch: Path,
    config: Synthesize,
    rewards: Rewards,
    seed: int,
    launch: Launch | None = None,
) -> dict[str, Any]:
    """Write rows, rejected and failed candidates and descriptions (docs/data.md) and return the funnel.

    Raises:
        UserError: an image that the annotator cannot read, a file of existing rows that is unusable, nothing to
            annotate, endpoints that cannot be used, or too much that failed for a passing reason.
    """
    stored = ImageSet(images)
    records = to_annotate(stored)
    with Outputs(out) as outputs:
        if config.annotator == "rows":
            metrics = _import(stored, records, outputs, config, seed)
        elif config.annotator == "endpoints":
            from wethink.synthesis.api_run import AnnotationJob, annotate_all

            assert launch is not None
            annotate_all(AnnotationJob(stored, records, config, rewards, seed, launch), outputs.add)
            metrics = outputs.figures()
        else:
            records = sorted(records, key=lambda record: record.id)
            team = EmbeddedAnnotator(drawn, config.embedded, seed)
            for record in track(records, "synthesize"):
                outputs.add(record, _at_once(annotate_image(record, SyncTeamAdapter(team), config, rewards, seed)))
            metrics = outputs.figures()
    write_json(out / "metrics.json", metrics)
    say(f"synthesize: {summary(metrics)}; data/rows names each.")
    return metrics


def annotate(
    record: ImageRecord, team: Annotator, config: Synthesize, rewards: Rewards, seed: int, descriptions: list[Record]
) -> Iterator[Record]:
    """Yield every candidate of one image, each with its `reason` (None: kept); append the image's description."""
    found = _at_once(annotate_image(record, SyncTeamAdapter(team), config, rewards, seed))
    if found.description is not None:
        descriptions.append(found.description)
    yield from found.candidates


def _at_once(steps: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        steps.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    raise RuntimeError("a team that answers at once has waited")


def _import(
    stored: ImageSet, records: list[ImageRecord], outputs: Outputs, config: Synthesize, seed: int
) -> dict[str, Any]:
    """Existing rows instead of an annotator; those of held-out images are told from those of none."""
    assert config.rows is not None  # the config's own validator
    for row in import_rows(Path(config.rows), stored.records, lambda image: has_path(image, config.path_share, seed)):
        outputs.add_candidate(row)
    splits = sorted({record.split for record in records})
    images = {split: sum(record.split == split for record in records) for split in splits}
    return outputs.funnel.figures() | {"images": images, "unasked": 0}
