"""Near-duplicate detection of new images against an existing collection.

A re-encoded, resized or slightly cropped copy counts as known. A known image keeps its role: training on a copy of a
held-out image would contaminate the evaluation, and evaluating on a copy of a training image would inflate it. The
hashes of a collection are kept beside it, so a new source is compared with everything, and only its own images are
hashed.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from wethink.data.image_hashing import VIEWS, Hashes, hashes, neighbours, same_picture
from wethink.data.image_store import ImageRecord, ImageSet

HASHES = "hashes.parquet"
Hashed = dict[str, Hashes]  # image → [views]


def is_held_out(cluster: str, share: float) -> bool:
    """Tell whether a cluster's images are held out.

    It depends on the cluster alone, on no run and no order.
    """
    return int.from_bytes(hashlib.sha256(f"held out {cluster}".encode()).digest()[:8]) / 2**64 < share


def hashed(images: ImageSet, known: Mapping[str, Hashes]) -> Hashed:
    """Return the hashes of all images; reuse those in `known`."""
    return {
        record.id: known[record.id] if record.id in known else hashes(images.open(record.id))
        for record in images.records
    }


def save_hashes(path: Path, found: Mapping[str, Hashes]) -> None:
    """Write `hashes.parquet`: image, and its hash under every view."""
    views = pa.array([value.tolist() for value in found.values()], pa.list_(pa.uint64()))
    pq.write_table(pa.table({"id": pa.array(list(found), pa.string()), "hashes": views}), path, compression="none")


def load_hashes(path: Path) -> Hashed:
    """Read the hashes that `save_hashes` wrote.

    Returns {} if there is no file, or one of other views.
    """
    if not path.is_file():
        return {}
    table = pq.read_table(path)
    found = {
        image: np.array(views, dtype=np.uint64)
        for image, views in zip(table["id"].to_pylist(), table["hashes"].to_pylist(), strict=True)
    }
    return found if all(len(views) == len(VIEWS) for views in found.values()) else {}


def shown_already(
    arrived: Sequence[ImageRecord],
    new: Mapping[str, Hashes],
    open_new: Callable[[str], Image.Image],
    old: Mapping[str, Hashes],
    open_old: Callable[[str], Image.Image],
) -> dict[str, str]:
    """Map each new image to the old one that its cluster shows, if any.

    One duplicate makes all images of its cluster known.

    Args:
        arrived: the new images; those of one cluster show the same.
        new: their hashes.
        open_new: opens one of them by its id.
        old: the hashes of the collection.
        open_old: opens one of its images by its id.
    """
    ids = list(old)
    stored = np.stack([old[image] for image in ids]) if ids else np.zeros((0, len(VIEWS)), np.uint64)
    of_cluster: dict[str, str] = {}
    for record in arrived:
        if record.cluster in of_cluster:
            continue
        picture: Image.Image | None = None
        for place in neighbours(new[record.id], stored):
            picture = picture or open_new(record.id)
            if same_picture(picture, open_old(ids[place])):
                of_cluster[record.cluster] = ids[place]
                break
    return {record.id: of_cluster[record.cluster] for record in arrived if record.cluster in of_cluster}
