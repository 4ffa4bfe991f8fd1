"""Pictures that arrive: which of them a collection shows already, if only re-encoded, resized or slightly cropped.

A picture that is there already stays where it was. If it is held out, learning from its like would spoil what it is
asked; if it was learned from, asking its like would flatter. The hashes of a collection are kept beside it, so that
an arrival is compared with everything, and only the arrival is hashed.
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
    """Whether images of this cluster only answer; a function of the cluster alone, so of no run and no order."""
    return int.from_bytes(hashlib.sha256(f"held out {cluster}".encode()).digest()[:8]) / 2**64 < share


def hashed(images: ImageSet, known: Mapping[str, Hashes]) -> Hashed:
    """The hashes of all images, those in `known` taken from there."""
    return {
        record.id: known[record.id] if record.id in known else hashes(images.open(record.id))
        for record in images.records
    }


def save_hashes(path: Path, found: Mapping[str, Hashes]) -> None:
    """Write `hashes.parquet`: image, and its hash under every view."""
    views = pa.array([value.tolist() for value in found.values()], pa.list_(pa.uint64()))
    pq.write_table(pa.table({"id": pa.array(list(found), pa.string()), "hashes": views}), path, compression="none")


def load_hashes(path: Path) -> Hashed:
    """What `save_hashes` wrote; nothing where there is no file, or one of other views."""
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
    """Arrived image → the old image that it, or another image of its cluster, shows.

    Args:
        arrived: the images that arrive; those of one cluster show the same.
        new: their hashes.
        open_new: one of them by its id.
        old: the hashes of the collection.
        open_old: one of its images by its id.
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
