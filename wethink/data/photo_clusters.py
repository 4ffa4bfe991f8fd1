"""Photos: which are near-duplicates of each other, and the splits that must not part them.

A drawn image says which scene it shows. Of a photo nobody knows; so photos that show the same (as
`pictures.same_picture` sees it, directly or through others) form a cluster, which is their unit of splits and
of intervals: held out together or not at all.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from wethink.data.image_hashing import Hashes, candidate_pairs, same_picture
from wethink.data.image_store import ImageRecord

HELD_OUT = ("tuning", "reporting")


@dataclass(frozen=True)
class Photo:
    """A stored photo, its hashes, and whether its source said to which split it belongs."""

    record: ImageRecord
    hashes: Hashes
    given: bool


def clusters(photos: Sequence[Photo], open_image: Callable[[str], Image.Image]) -> dict[str, str]:
    """Image → the smallest id among all that show the same."""
    parent = {photo.record.id: photo.record.id for photo in photos}

    def root(image: str) -> str:
        while parent[image] != image:
            parent[image] = image = parent[parent[image]]
        return image

    if len(photos) > 1:
        for a, b in candidate_pairs(np.stack([photo.hashes for photo in photos])):
            one, other = sorted((root(photos[a].record.id), root(photos[b].record.id)))
            if one != other and same_picture(*(open_image(photos[place].record.id) for place in (a, b))):
                parent[other] = one
    return {image: root(image) for image in parent}


def placed(
    photos: Sequence[Photo],
    open_image: Callable[[str], Image.Image],
    shares: Mapping[str, Mapping[str, float]],
    seed: int,
) -> dict[str, ImageRecord | str]:
    """What changes when the clusters are known: image → its record with cluster and split, or why it must go.

    Args:
        photos: those of all sources together.
        open_image: an image by its id.
        shares: per source, the share of its clusters that each held-out split gets, by the hash of the cluster.
        seed: of the run.

    A cluster of which one member is held out by its source is held out whole: members without a split of their
    own go along, and a member given to training goes, as it would show the policy what it is tested on.
    """
    of = clusters(photos, open_image)
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


def _drawn_lot(cluster: str, shares: Mapping[str, float], seed: int) -> str | None:
    """The held-out split whose range of [0, 1) the hash of the cluster falls into, if any."""
    place = int.from_bytes(hashlib.sha256(f"photos {seed} {cluster}".encode()).digest()[:8]) / 2**64
    low = 0.0
    for split in HELD_OUT:
        if low <= place < low + shares.get(split, 0.0):
            return split
        low += shares.get(split, 0.0)
    return None
