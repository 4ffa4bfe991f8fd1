"""Stage `ingest`: image collections to content-addressed Parquet shards.

Every candidate image ends as stored, as a duplicate of a stored image, or in quarantine with a reason.
Photos, whose scenes are unknown, are clustered by near-duplicates before they are published.
A configured source may lie anywhere; paths inside its data must stay within the source.
"""

import hashlib
import io
import shutil
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, write_json, write_jsonl
from wethink.common.progress import say, track
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.data.image_decoding import Unusable, accept
from wethink.data.image_hashing import hashes
from wethink.data.image_readers import Found, _candidates
from wethink.data.image_shards import Shards
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.data.photo_clusters import HELD_OUT, Photo, placed
from wethink.data.schema import SPLITS


@dataclass
class Tally:
    """Outcomes of one source's images: found = stored + duplicates + quarantined."""

    found: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def ingest(*, drawn: Path, run: StageRun[Ingest]) -> dict[str, Any]:
    """Write `data/images` (docs/data.md) and return its metrics.

    Raises:
        UserError: a source is missing, empty, without the named column or without a single usable image,
            or an image is held out by one source and was given to training by an earlier one.
    """
    config, out, scratch, seed = run.config, run.out, run.scratch, run.seed
    names = [source.name for source in config.sources]
    if not names or len(set(names)) != len(names):
        raise UserError("params.yaml, ingest.sources: name at least one source, and each name once.")
    tallies = {name: Tally() for name in names}
    quarantine: list[Record] = []
    stored: dict[str, ImageRecord] = {}
    photos: list[Photo] = []
    shards = Shards(out, config.shard_images)
    for index, source in enumerate(config.sources):
        key, tally = f"params.yaml, ingest.sources[{index}]", tallies[source.name]
        total, candidates = _candidates(source, drawn, key, config.max_file_mb)
        for found in track(candidates, f"ingest {source.name}", total):
            tally.found += 1
            try:
                split = found.split or "train"
                if split not in SPLITS:
                    raise Unusable(f"unknown split: '{split}' is none of {', '.join(SPLITS)}")
                accepted = accept(found.read(), config.max_pixels)
            except Unusable as reason:
                tally.quarantined += 1
                tally.reasons[str(reason).split(":")[0]] += 1
                quarantine.append({"source": source.name, "origin": found.origin, "reason": str(reason)})
                continue
            image = hashlib.sha256(accepted.data).hexdigest()
            if image in stored:
                _refuse_leak(found, source, stored[image], key)
                tally.duplicates += 1
                continue
            size = (accepted.width, accepted.height)
            record = ImageRecord(image, source.name, split, found.cluster or image, *size, found.origin)
            stored[image] = record
            if found.cluster is None:
                with Image.open(io.BytesIO(accepted.data)) as opened:
                    photos.append(Photo(record, hashes(opened), given=found.split is not None))
            shards.add(record, accepted.data)
            tally.stored += 1
        if not tally.stored + tally.duplicates:
            top = "; ".join(f"{reason} ({count})" for reason, count in tally.reasons.most_common(3))
            raise UserError(f"{key}: source '{source.name}' has no usable image: {top}.")
    shards.close()
    shares = {source.name: {split: getattr(source, split) for split in HELD_OUT} for source in config.sources}
    for image, change in (placed(photos, ImageSet(out).open, shares, seed) if photos else {}).items():
        if isinstance(change, str):
            _withdraw(stored.pop(image), change, tallies, quarantine)
        else:
            stored[image] = change
    if photos:
        _rewrite(out, scratch / "clustered", stored, config.shard_images)
    write_jsonl(out / "quarantine.jsonl", quarantine)
    if quarantine:
        why = Counter(str(entry["reason"]).split(":")[0] for entry in quarantine).most_common(3)
        reasons = "; ".join(f"{reason} ({count})" for reason, count in why)
        say(f"ingest: {len(quarantine)} images cannot be used: {reasons}. data/images/quarantine.jsonl names each.")
    metrics = {
        "images": len(stored),
        "splits": {split: sum(record.split == split for record in stored.values()) for split in SPLITS},
        "clusters": len({record.cluster for record in stored.values()}),
        "sources": {name: asdict(tally) | {"reasons": dict(tally.reasons)} for name, tally in tallies.items()},
    }
    write_json(out / "metrics.json", metrics)
    return metrics


def _refuse_leak(found: Found, source: Source, first: ImageRecord, key: str) -> None:
    """Check that a held-out image is no duplicate of a training image.

    Raises:
        UserError: it is.
    """
    if found.split in HELD_OUT and first.split not in HELD_OUT:
        raise UserError(
            f"{key}: image {found.origin} is held out ({found.split}), but source '{first.source}' has it for "
            f"{first.split} ({first.origin}); list '{source.name}' first, or remove the image from one of them."
        )


def _withdraw(record: ImageRecord, reason: str, tallies: dict[str, Tally], quarantine: list[Record]) -> None:
    """Move a stored photo to quarantine."""
    tally = tallies[record.source]
    tally.stored -= 1
    tally.quarantined += 1
    tally.reasons[reason.split(":")[0]] += 1
    quarantine.append({"source": record.source, "origin": record.origin, "reason": reason})


def _rewrite(out: Path, scratch: Path, stored: dict[str, ImageRecord], shard_images: int) -> None:
    """Rewrite the shards if the records have changed."""
    old = ImageSet(out)
    if list(old.records) == list(stored.values()):
        return
    scratch.mkdir(parents=True, exist_ok=True)
    shards = Shards(scratch, shard_images)
    for record in stored.values():
        shards.add(record, old.bytes(record.id))
    shards.close()
    for path in out.glob("shard-*.parquet"):
        path.unlink()
    for path in sorted(scratch.glob("shard-*.parquet")):
        shutil.move(path, out / path.name)
