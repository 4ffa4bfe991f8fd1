"""Stage `synthesize`: questions, answers and reasoning paths from an annotator team or existing rows.

The stage runs `pipeline.annotate_image` over all images: one after the other for the embedded team, in a window of
concurrent calls for models behind endpoints, whose responses stay in a store outside the run (docs/synthesis.md). The
published rows are a function of images, parameters, prompts and responses.

Questions about held-out images become items, on which no model is trained (wethink/evaluation/evaluate.py). Those about
drawn images are written by `draw`, from the truth.

Only rows of a hash-chosen `path_share` of the train images get a reasoning path; the others have an answer only and
are for GRPO. Paths are costly to write, answers are cheap, and GRPO needs only answers.

Given rows, which sources or a file bring, are used whatever the annotator; it writes rows about the images of the other
sources only.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_jsonl, write_json
from wethink.common.progress import say, track
from wethink.common.stage_run import StageRun
from wethink.config.launch import Launch
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Synthesize
from wethink.data.image_store import GIVEN_ROWS, NAMES, ImageRecord, ImageSet
from wethink.data.schema import TRAINING_SPLITS, row_images
from wethink.synthesis.embedded_team import EmbeddedTeam
from wethink.synthesis.funnel import Outputs, funnel, summary
from wethink.synthesis.import_rows import Declared, declared, import_given, import_rows
from wethink.synthesis.paths import UNASKED, divide_paths, lacking
from wethink.synthesis.pipeline import Annotated, annotate_image, drawn_images, has_path, to_annotate
from wethink.synthesis.rejections import are_unusable, unusable
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
    given, written, pathless = shares(stored, records, drawn_images(stored, drawn), config, rewards, seed)
    paths: Record = {}
    with Outputs(out) as outputs:
        if pathless:
            paths = _written_paths(stored, pathless, config, rewards, seed, launch)
        if config.annotator == "endpoints" and written:
            from wethink.synthesis.api_run import AnnotationJob, annotate_all

            assert launch is not None
            annotate_all(AnnotationJob(stored, written, config, rewards, seed, launch), outputs.add)
        elif config.annotator == "embedded" and written:
            team, written = EmbeddedTeam(drawn, config.embedded, seed), sorted(written, key=lambda record: record.id)
            asyncio.run(_annotate(written, team, config, rewards, seed, outputs.add))
        for row in given:
            outputs.add_candidate(row)
        metrics = (
            outputs.figures() if written else outputs.funnel.figures() | {"images": _splits(records), "unasked": 0}
        )
    if given:
        metrics["given"] = sum(row["reason"] is None for row in given)
    if config.write_paths:
        metrics["paths"] = paths | {"unasked": sum(str(row["decisions"]["path"]).startswith(UNASKED) for row in given)}
    write_json(out / "metrics.json", metrics)
    say(f"synthesize: {summary(metrics)}; data/rows names each.")
    return metrics


def shares(
    stored: ImageSet,
    records: Sequence[ImageRecord],
    drawn: set[str],
    config: Synthesize,
    rewards: Rewards,
    seed: int,
) -> tuple[list[Record], list[ImageRecord], list[Record]]:
    """Divide the work between given rows and the annotator.

    Returns:
        The given rows; the images about which the annotator writes rows; the given rows that get a path.

    Raises:
        UserError: as `_given`.
    """
    given = _given(stored, config, declared(rewards.functions), seed, drawn)
    bringing = {row["source"] for row in given}
    written = [] if config.annotator == "rows" else [one for one in records if one.source not in bringing]
    if not config.write_paths:
        return given, written, []
    return given, written, lacking(given, lambda image: has_path(image, config.path_share, seed), rewards)


def _written_paths(
    stored: ImageSet, rows: list[Record], config: Synthesize, rewards: Rewards, seed: int, launch: Launch | None
) -> Record:
    """Have the team write the paths of given rows, and tell how many it wrote."""
    from wethink.synthesis.api_run import AnnotationJob, write_paths

    assert launch is not None
    found = write_paths(AnnotationJob(stored, [], config, rewards, seed, launch, rows=rows))
    most = (Counter[str](found["rejected"]) + Counter(found["failed"])).most_common(1)
    why = f"; the others keep their answer and serve GRPO, most often: {most[0][0]} ({most[0][1]:,})" if most else ""
    say(f"synthesize: {found['written']:,} of {found['asked']:,} given rows got a reasoning path{why}.")
    return found


def _given(stored: ImageSet, config: Synthesize, own: Declared, seed: int, drawn: set[str]) -> list[Record]:
    """Import the rows that sources bring, and those of the configured file.

    Raises:
        UserError: the file is unusable, or `annotator: rows` has no rows at all, or none of them is usable.
    """
    # All images are passed, so that a row about a held-out image is told from one about no ingested image.
    lines = _lines(stored.folder / GIVEN_ROWS)
    rows = import_given(lines, stored.records, own)
    if config.rows is not None:
        names = _lines(stored.folder / NAMES)
        rows += import_rows(Path(config.rows), stored.records, names, config.columns, own)
    for row in rows:  # `draw` has written the items of held-out drawn images
        if row["reason"] is None and row["split"] not in TRAINING_SPLITS and drawn.intersection(row_images(row)):
            row["reason"] = f"image is held out ({row['split']})"
    if config.annotator == "rows" and not rows:
        raise UserError(
            "params.yaml, synthesize.annotator is 'rows', and there are none: name a file in synthesize.rows, or a "
            "source whose table has question and answer columns (`wethink preview` shows how sources are read)."
        )
    if are_unusable(rows):
        raise UserError(f"{unusable(rows)} Nothing is published; `wethink preview` shows how each row is read.")
    if told := divide_paths(rows, lambda image: has_path(image, config.path_share, seed)):
        say(f"synthesize: {told}.")
    return rows


def _lines(path: Path) -> list[Record]:
    return list(read_jsonl(path)) if path.is_file() else []


def _splits(records: Sequence[ImageRecord]) -> dict[str, int]:
    return dict(sorted(Counter(record.split for record in records).items()))


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
