"""CLI commands `synthesize --dry-run` (cost estimate) and `synthesize --fill` (LLM requests by shard)."""

import re
from pathlib import Path

from wethink.common.errors import UserError
from wethink.config.params import Params
from wethink.dag.workspace import stage_lock
from wethink.data.image_store import ImageSet
from wethink.synthesis.api_run import AnnotationJob, annotate_all
from wethink.synthesis.pipeline import to_annotate


def fill(work: AnnotationJob, number: int, parts: int) -> None:
    """Send the LLM requests of one shard and cache the responses for the stage.

    Raises:
        UserError: as `annotate_all` raises it.
    """
    part = work.part(number, parts)
    part.team()
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
    records = to_annotate(stored, Path("data/drawn"))
    work = AnnotationJob(stored, records, params.synthesize, params.rewards, params.seed, params.launch)
    if dry_run:
        from wethink.synthesis.dry_run import estimate, show

        print(show(estimate(work)))
        return
    with stage_lock(f"synthesize-{number}-of-{parts}"):
        fill(work, number, parts)
