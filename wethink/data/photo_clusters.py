"""Clusters of photos that show the same picture, and splits that keep a cluster together.

A drawn image's scene is known, a photo's is not. A cluster of near-duplicates (wethink/data/duplicates) is the unit of
splits and of confidence intervals.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from wethink.data.duplicates.clusters import representatives
from wethink.data.duplicates.signatures import Signatures
from wethink.data.image_store import ImageRecord

HELD_OUT = ("tuning", "reporting")


@dataclass(frozen=True)
class Photo:
    """A stored photo; `given`: its source names its split."""

    record: ImageRecord
    given: bool


def clusters(
    photos: Sequence[Photo], signatures: Signatures, open_image: Callable[[str], Image.Image]
) -> dict[str, str]:
    """Map each image id to its cluster, the id of its representative.

    Args:
        photos: [n].
        signatures: [n, BYTES], of the photos.
        open_image: returns an image by its id.
    """
    ids = [photo.record.id for photo in photos]
    order = sorted(range(len(ids)), key=ids.__getitem__)  # the order of ingestion does not matter
    leaders = representatives(signatures, lambda place: open_image(ids[place]), order)
    return {image: ids[leader] for image, leader in zip(ids, leaders, strict=True)}


def placed(
    photos: Sequence[Photo], of: Mapping[str, str], shares: Mapping[str, Mapping[str, float]], seed: int
) -> dict[str, ImageRecord | str]:
    """Assign clusters and splits to photos and return the changed ones.

    If a source holds out one member, the whole cluster is held out: members without a given split join it, and
    members given to training are removed, as they would leak a test image.

    Args:
        photos: the photos of all sources.
        of: image id → its cluster.
        shares: source → held-out split → share of the source's clusters, by the hash of the cluster.
        seed: the seed of the run.

    Returns:
        Image id → its new record, or the reason for its removal.
    """
    claimed: dict[str, str] = {}
    for photo in sorted(photos, key=lambda photo: photo.record.id):
        if photo.given and photo.record.split in HELD_OUT:
            claimed.setdefault(of[photo.record.id], photo.record.split)
    changes: dict[str, ImageRecord | str] = {}
    for photo in photos:
        cluster, split = of[photo.record.id], photo.record.split
        if cluster in claimed and not photo.given:
            split = claimed[cluster]
        elif cluster in claimed and split not in HELD_OUT:
            changes[photo.record.id] = f"near-duplicate of a held-out image: cluster {cluster[:12]}"
            continue
        elif not photo.given:
            split = _drawn_lot(cluster, shares.get(photo.record.source, {}), seed) or split
        record = replace(photo.record, cluster=cluster, split=split)
        if record != photo.record:
            changes[record.id] = record
    return changes


def placed_text(scene: str, shares: Mapping[str, float], seed: int) -> str:
    """Return the split of a question about no image, by the hash of its words."""
    return _drawn_lot(scene, shares, seed) or "train"


def _drawn_lot(cluster: str, shares: Mapping[str, float], seed: int) -> str | None:
    """Return the held-out split chosen by the hash of the cluster, or None."""
    place = int.from_bytes(hashlib.sha256(f"photos {seed} {cluster}".encode()).digest()[:8]) / 2**64
    low = 0.0
    for split in HELD_OUT:
        if low <= place < low + shares.get(split, 0.0):
            return split
        low += shares.get(split, 0.0)
    return None
