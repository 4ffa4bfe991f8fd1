"""Near-duplicate detection of new images against an existing collection.

A re-encoded, resized or slightly cropped copy counts as known. A known image keeps its role: training on a copy of a
held-out image would contaminate the evaluation, and evaluating on a copy of a training image would inflate it. The
signatures of a collection are kept beside it, so a new source is compared with everything, and only its own images are
read.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence

from PIL import Image

from wethink.common.progress import track
from wethink.data.duplicates.comparison import confirmed
from wethink.data.duplicates.neighbours import Neighbours
from wethink.data.duplicates.signatures import SIGNATURES, Signatures, load_signatures, signature, stacked
from wethink.data.image_store import ImageRecord, ImageSet

Signed = dict[str, Signatures]  # image → [BYTES]
LABEL = "known images"


def is_held_out(cluster: str, share: float) -> bool:
    """Tell whether a cluster's images are held out.

    It depends on the cluster alone, on no run and no order.
    """
    return int.from_bytes(hashlib.sha256(f"held out {cluster}".encode()).digest()[:8]) / 2**64 < share


def signed(images: ImageSet, known: Mapping[str, Signatures] | None = None) -> Signed:
    """Return the signatures of all images; compute those only that are neither in `known` nor beside the images."""
    there = {**load_signatures(images.folder / SIGNATURES), **(known or {})}
    missing = [record.id for record in images.records if record.id not in there]
    new = {image: signature(images.open(image)) for image in track(missing, "signatures", len(missing))}
    return {record.id: there[record.id] if record.id in there else new[record.id] for record in images.records}


def shown_already(
    arrived: Sequence[ImageRecord],
    new: Mapping[str, Signatures],
    open_new: Callable[[str], Image.Image],
    old: Mapping[str, Signatures],
    open_old: Callable[[str], Image.Image],
) -> dict[str, str]:
    """Map each new image to the old one that its cluster shows, if any.

    One duplicate makes all images of its cluster known.

    Args:
        arrived: the new images; those of one cluster show the same.
        new: their signatures.
        open_new: opens one of them by its id.
        old: the signatures of the collection.
        open_old: opens one of its images by its id.
    """
    if not arrived or not old:
        return {}
    ids, known = [record.id for record in arrived], list(old)
    table, stored = stacked([new[image] for image in ids]), stacked(list(old.values()))
    pairs = Neighbours(stored).nearest(table, label=f"{LABEL}: neighbours")
    ours, theirs = (table, lambda place: open_new(ids[place])), (stored, lambda place: open_old(known[place]))
    of_cluster: dict[str, str] = {}
    for place, other in pairs[confirmed(pairs, ours, theirs, LABEL)].tolist():
        of_cluster.setdefault(arrived[place].cluster, known[other])
    return {record.id: of_cluster[record.cluster] for record in arrived if record.cluster in of_cluster}
