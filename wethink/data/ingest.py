"""Stage `ingest`: image collections to content-addressed Parquet shards.

Every candidate image ends as stored, as a duplicate of a stored image, or in quarantine with a reason.
Photos, whose scenes are unknown, are clustered by near-duplicates before they are written.
A configured source may lie anywhere; paths inside its data must stay within the source.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, write_json, write_jsonl
from wethink.common.processes import THREADS
from wethink.common.progress import say, track
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.data.duplicates.signatures import BYTES, SIGNATURES, Signatures, save_signatures, signature
from wethink.data.given_rows import GivenRows
from wethink.data.image_decoding import Unusable, accept
from wethink.data.image_readers import Found, Reading, candidates
from wethink.data.image_shards import Shards, Spool
from wethink.data.image_store import GIVEN_ROWS, NAMES, PICTURES, ImageRecord
from wethink.data.linked import linked
from wethink.data.photo_clusters import HELD_OUT, Photo, clusters, placed, placed_text
from wethink.data.schema import SPLITS


@dataclass
class Tally:
    """Outcomes of one source's images: found = stored + duplicates + quarantined."""

    found: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)  # of the stored and duplicates, by repair


@dataclass(frozen=True)
class Ready:
    """An image to store, decoded once: its id, bytes, size in pixels and repairs, and its signature if it is wanted."""

    id: str
    data: bytes
    size: tuple[int, int]
    repairs: tuple[str, ...]
    signature: bytes


@dataclass
class Outcomes:
    """Outcomes of every image, filled source by source; `stored` is in the order of the shards."""

    tallies: dict[str, Tally]
    quarantine: list[Record] = field(default_factory=list)
    repaired: list[Record] = field(default_factory=list)
    stored: dict[str, ImageRecord] = field(default_factory=dict)
    photos: list[Photo] = field(default_factory=list)
    given: GivenRows = field(default_factory=GivenRows)  # rows that the sources bring
    names: list[Record] = field(default_factory=list)  # of the images, beside their origins
    signatures: bytearray = field(default_factory=bytearray)  # of the photos, one after another


def ingest(*, drawn: Path, run: StageRun[Ingest]) -> dict[str, Any]:
    """Write `data/images` (docs/data.md) and return its metrics.

    Raises:
        UserError: a source is missing, empty, without the named column or without a single usable image,
            or an image is held out by one source and was given to training by an earlier one.
    """
    config, out, seed = run.config, run.out, run.seed
    names = [source.name for source in config.sources]
    if not names or len(set(names)) != len(names):
        raise UserError("params.yaml, ingest.sources: name at least one source, and each name once.")
    outcomes, shards = Outcomes({name: Tally() for name in names}), Shards(out, config.shard_images)
    with Spool(run.scratch) as waiting:
        for index, source in enumerate(config.sources):
            _read(source, f"params.yaml, ingest.sources[{index}]", drawn, config, outcomes, shards, waiting)
        near = _clusters(outcomes, waiting.open, config)
        of = _joined(near, outcomes.given.rows)
        shares = {source.name: {split: getattr(source, split) for split in HELD_OUT} for source in config.sources}
        for image, change in placed(outcomes.photos, of, shares, seed).items():
            if isinstance(change, str):
                _withdraw(outcomes.stored.pop(image), change, outcomes)
            else:
                outcomes.stored[image] = change
        for image, record in outcomes.stored.items():
            if image in waiting:
                shards.add(record, waiting.bytes(image))
    shards.close()
    _keep_signatures(outcomes, config, out)
    for row in outcomes.given.rows:
        if row.get("images") == []:
            row["split"] = row["split"] or placed_text(row["scene"], shares[row["source"]], seed)
    write_jsonl(out / "quarantine.jsonl", outcomes.quarantine)
    write_jsonl(out / "repaired.jsonl", outcomes.repaired)
    pictures = _pictures(near, of, outcomes)
    for name, lines in ((GIVEN_ROWS, outcomes.given.rows), (NAMES, outcomes.names), (PICTURES, pictures)):
        if lines:
            write_jsonl(out / name, lines)
    _tell(outcomes.quarantine, outcomes.repaired)
    records = outcomes.stored.values()
    metrics = {
        "images": len(records),
        "splits": {split: sum(record.split == split for record in records) for split in SPLITS},
        "clusters": len({record.cluster for record in records}),
        "sources": {name: _figures(tally) for name, tally in outcomes.tallies.items()},
    }
    if rows := outcomes.given.rows:
        metrics["rows"] = dict(Counter(row["source"] for row in rows))
    write_json(out / "metrics.json", metrics)
    return metrics


def _read(
    source: Source, key: str, drawn: Path, config: Ingest, outcomes: Outcomes, shards: Shards, waiting: Spool
) -> None:
    """Read a source's images to the shards; from the first photo of all sources on, to the spool.

    A photo's cluster and split depend on later photos, and images keep the order of their sources.

    Raises:
        UserError: as `ingest`.
    """
    tally = outcomes.tallies[source.name]
    reading = candidates(source, drawn, key, config.max_file_mb)
    if source.path is not None:
        _tell_roles(source, reading)
    rows = outcomes.given.rows
    before = len(rows)
    for found, ready in track(_ahead(reading.found, source, config), f"ingest {source.name}", reading.steps):
        image, fault = None, ""
        if found.read is None:
            outcomes.given.add(found, source.name, None, fault)
            continue
        tally.found += 1 + len(found.again)
        try:
            image = _stored(found, ready.result(), source, key, outcomes, shards, waiting)
            tally.duplicates += len(found.again)
        except Unusable as reason:
            fault = str(reason).split(":")[0]
            for origin in (found.origin, *found.again):
                tally.quarantined += 1
                tally.reasons[str(reason).split(":")[0]] += 1
                outcomes.quarantine.append({"source": source.name, "origin": origin, "reason": str(reason)})
        if source.path is not None:
            _note(found, source, image, fault, outcomes)
    place = {table: number for number, table in enumerate(reading.roles)}
    rows[before:] = sorted(rows[before:], key=lambda row: (place[row["table"]], row["number"]))
    texts = sum(row.get("images") == [] for row in rows[before:])
    if not tally.stored + tally.duplicates:
        top = "; ".join(f"{reason} ({count})" for reason, count in tally.reasons.most_common(3))
        top = top or f"its {texts:,} rows are about none; add them to a table with rows about images"
        raise UserError(f"{key}: source '{source.name}' has no usable image: {top}.")
    if texts:
        say(
            f"ingest {source.name}: {texts:,} of {len(rows) - before:,} rows are about no image; they are read as text."
        )


def _ahead(candidates: Iterable[Found], source: Source, config: Ingest) -> Iterator[tuple[Found, "Future[Ready]"]]:
    """Yield the candidates in order, while threads read and decode the next few."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[tuple[Found, Future[Ready]]] = deque()
        for found in candidates:
            waiting.append((found, pool.submit(_ready, found, source, config)))
            if len(waiting) > 2 * THREADS:
                yield waiting.popleft()
        yield from waiting


def _ready(found: Found, source: Source, config: Ingest) -> Ready:
    """Read and decode an image.

    Raises:
        Unusable: it cannot be used.
    """
    data = found.read() if found.read is not None else b""
    if found.split is not None and found.split not in SPLITS:
        raise Unusable(f"unknown split: '{found.split}' is none of {', '.join(SPLITS)}")
    accepted = accept(data, config.max_pixels, source.animated == "first")
    wanted = config.near_duplicates and found.cluster is None
    return Ready(
        id=hashlib.sha256(accepted.data).hexdigest(),
        data=accepted.data,
        size=accepted.image.size,
        repairs=accepted.repairs,
        signature=signature(accepted.image).tobytes() if wanted else b"",
    )


def _stored(
    found: Found,
    ready: Ready,
    source: Source,
    key: str,
    outcomes: Outcomes,
    shards: Shards,
    waiting: Spool,
) -> str:
    """Store an image, unless it is there already; return its id.

    Raises:
        UserError: as `ingest`.
    """
    tally, image = outcomes.tallies[source.name], ready.id
    if ready.repairs:
        tally.repaired.update(ready.repairs)
        repairs = list(ready.repairs)
        outcomes.repaired.append({"source": source.name, "origin": found.origin, "repairs": repairs})
    if image in outcomes.stored:
        _refuse_leak(found, source, outcomes.stored[image], key)
        tally.duplicates += 1
        return image
    record = ImageRecord(image, source.name, found.split or "train", found.cluster or image, *ready.size, found.origin)
    outcomes.stored[image] = record
    if found.cluster is None:
        outcomes.photos.append(Photo(record, given=found.split is not None))
        outcomes.signatures += ready.signature
    if outcomes.photos:
        waiting.add(image, ready.data)
    else:
        shards.add(record, ready.data)
    tally.stored += 1
    return image


def _tell_roles(source: Source, reading: Reading) -> None:
    """Print which columns of a table are read as what."""
    for table, roles in list(reading.roles.items())[:3]:
        rows = roles.lack() if source.rows else "its rows are not read (rows: false)"
        say(f"ingest {source.name}: {table}: {roles.shown()}; {rows or 'rows are read'}.")


def _note(found: Found, source: Source, image: str | None, fault: str, outcomes: Outcomes) -> None:
    """Keep the rows about an image, and the names by which other rows may call it."""
    outcomes.given.add(found, source.name, image, fault)
    if image:
        record = outcomes.stored[image]
        ours = () if (record.source, record.origin) == (source.name, found.origin) else (found.origin,)
        names = (*ours, *found.names, *found.again)
        outcomes.names += [{"image": image, "source": source.name, "name": name} for name in names]


def _figures(tally: Tally) -> dict[str, Any]:
    return asdict(tally) | {"reasons": dict(tally.reasons), "repaired": dict(tally.repaired)}


def _tell(quarantine: list[Record], repaired: list[Record]) -> None:
    """Print how many images cannot be used and how many were repaired, with the most frequent reasons."""
    if quarantine:
        why = Counter(str(entry["reason"]).split(":")[0] for entry in quarantine).most_common(3)
        reasons = "; ".join(f"{reason} ({count})" for reason, count in why)
        say(f"ingest: {len(quarantine)} images cannot be used: {reasons}. data/images/quarantine.jsonl names each.")
    if repaired:
        repairs = Counter(repair for entry in repaired for repair in entry["repairs"]).most_common(3)
        words = "; ".join(f"{repair} ({count})" for repair, count in repairs)
        say(f"ingest: {len(repaired)} images are used after a repair: {words}. data/images/repaired.jsonl names each.")


def _clusters(outcomes: Outcomes, open_image: Callable[[str], Image.Image], config: Ingest) -> dict[str, str]:
    """Map each photo to its cluster of near-duplicates; tell how many there are."""
    photos = outcomes.photos
    if not config.near_duplicates:
        return {photo.record.id: photo.record.id for photo in photos}
    of = clusters(photos, _table(outcomes), open_image)
    different = len(set(of.values()))
    if different < len(photos):
        say(
            f"ingest: {len(photos):,} photos show {different:,} different pictures; {len(photos) - different:,} are "
            "near-duplicates and share another's cluster (ingest.near_duplicates: false compares nothing)."
        )
    return of


def _keep_signatures(outcomes: Outcomes, config: Ingest, out: Path) -> None:
    """Write the signatures of the stored photos, which a retrain reads instead of the photos."""
    kept = [place for place, photo in enumerate(outcomes.photos) if photo.record.id in outcomes.stored]
    if config.near_duplicates and kept:
        ids = [outcomes.photos[place].record.id for place in kept]
        save_signatures(out / SIGNATURES, ids, _table(outcomes)[kept])


def _table(outcomes: Outcomes) -> Signatures:
    """Return the signatures of the photos, `[photos, BYTES]`."""
    return np.frombuffer(outcomes.signatures, np.uint8).reshape(-1, BYTES)


def _joined(of: dict[str, str], rows: list[Record]) -> dict[str, str]:
    """Join the clusters of photos that one row is about, so that its images are of one split."""
    together = [[of[image] for image in row["images"] if image in of] for row in rows if len(row.get("images", ())) > 1]
    joined = linked(names for names in together if names)
    return {image: joined.get(cluster, cluster) for image, cluster in of.items()}


def _pictures(near: dict[str, str], of: dict[str, str], outcomes: Outcomes) -> list[Record]:
    """List the near-duplicate clusters of the images that rows joined with others; tell how many there are."""
    joined = {of[image] for image, cluster in near.items() if of[image] != cluster}
    found = [{"image": image, "picture": near[image]} for image in outcomes.stored if of.get(image) in joined]
    if found:
        say(
            f"ingest: rows about several images join {len(found):,} of {len(outcomes.stored):,} images into "
            f"{len(joined):,} scene{'s' * (len(joined) != 1)}, each held out or trained on as a whole."
        )
    return found


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


def _withdraw(record: ImageRecord, reason: str, outcomes: Outcomes) -> None:
    """Move a stored photo to quarantine."""
    tally = outcomes.tallies[record.source]
    tally.stored -= 1
    tally.quarantined += 1
    tally.reasons[reason.split(":")[0]] += 1
    outcomes.quarantine.append({"source": record.source, "origin": record.origin, "reason": reason})
