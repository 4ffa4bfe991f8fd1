"""CLI commands `synthesize --dry-run` (cost estimate) and `synthesize --fill` (LLM requests by shard)."""

import re
from pathlib import Path

from wethink.common.errors import UserError
from wethink.config.params import Params
from wethink.dag.workspace import stage_lock
from wethink.data.image_store import ImageSet
from wethink.synthesis.api_run import AnnotationJob, annotate_all, write_paths
from wethink.synthesis.pipeline import drawn_images, to_annotate
from wethink.synthesis.synthesize import shares


def fill(work: AnnotationJob, number: int, parts: int) -> None:
    """Send the LLM requests of one shard and cache the responses for the stage.

    Raises:
        UserError: as `annotate_all` raises it.
    """
    part = work.part(number, parts)
    part.team()
    if part.rows:
        write_paths(part)
    if part.records:
        annotate_all(part, lambda record, found: None)


def prepare(params: Params, part: str | None, dry_run: bool) -> None:
    """Run `synthesize --fill I/N` or `synthesize --dry-run` on data/images.

    Raises:
        UserError: as `annotate_all` raises it, `part` is not I/N with 1 ≤ I ≤ N, or another process holds the lock.
    """
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", part or "1/1")
    number, parts = (int(group) for group in found.groups()) if found else (0, 0)
    if not 1 <= number <= parts:
        raise UserError(f"--fill {part}: write it as I/N, with I from 1 to N, for instance 1/4.")
    stored = ImageSet(Path("data/images"))
    config, drawn, seed = params.synthesize, Path("data/drawn"), params.seed
    records, known = to_annotate(stored, drawn), drawn_images(stored, drawn)
    _, written, pathless = shares(stored, records, known, config, params.rewards, seed)
    written = written if config.annotator == "endpoints" else []
    work = AnnotationJob(stored, written, config, params.rewards, seed, params.launch, rows=pathless)
    if dry_run:
        from wethink.synthesis.dry_run import estimate, show

        print(show(estimate(work)))
        return
    with stage_lock(f"synthesize-{number}-of-{parts}"):
        fill(work, number, parts)
