"""Perceptual hashes of pictures under small crops, to find similar ones (another brightness, another crop).

A perceptual hash survives re-encoding and resizing, but a crop shifts every block under it; so each picture is hashed
whole and under small crops (`VIEWS`), and two pictures are near if the whole of one is near any view of the other.
Near is not the same: boards that differ in one cell are near. `wethink/data/duplicates` tells the same from the near.
"""

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

Hashes = npt.NDArray[np.uint64]
Frame = tuple[float, float, float, float]  # left, top, right, bottom as shares of the picture

# Whole; 2.5 and 5 % off every side; 5 and 10 % off two sides that meet; 5 % off one side.
VIEWS: tuple[Frame, ...] = (
    (0, 0, 1, 1),
    (0.025, 0.025, 0.975, 0.975),
    (0.05, 0.05, 0.95, 0.95),
    *((x, y, x + 0.95, y + 0.95) for x in (0, 0.05) for y in (0, 0.05)),
    *((x, y, x + 0.9, y + 0.9) for x in (0, 0.1) for y in (0, 0.1)),
    *((0.05, 0, 1, 1), (0, 0.05, 1, 1), (0, 0, 0.95, 1), (0, 0, 1, 0.95)),
)
SMALL = 128  # pixels: side from which the views are cut


def hashes(image: Image.Image) -> Hashes:
    """Return the 64-bit perceptual hash (imagehash.phash) of every view, `[views]`.

    The first is the hash of the whole picture.
    """
    small = image.convert("L").resize((SMALL, SMALL), Image.Resampling.BILINEAR, reducing_gap=2.0)
    views = (
        imagehash.phash(small.resize((32, 32), Image.Resampling.BILINEAR, box=_box(view, SMALL))) for view in VIEWS
    )
    return np.array([np.packbits(view.hash.flatten()).view(">u8")[0] for view in views], dtype=np.uint64)


def distances(whole: Hashes, views: Hashes) -> npt.NDArray[np.uint8]:
    """Return the Hamming distances of whole pictures to the nearest view of others.

    Args:
        whole: [n].
        views: [m, views].

    Returns:
        [n, m], in bits.
    """
    bits: npt.NDArray[np.uint8] = np.bitwise_count(whole[:, None, None] ^ views[None])
    nearest: npt.NDArray[np.uint8] = bits.min(axis=2)
    return nearest


def neighbours(query: Hashes, stored: Hashes, limit: int) -> npt.NDArray[np.intp]:
    """Return indices of the pictures near `query`, nearest first.

    Args:
        query: [views].
        stored: [m, views].
        limit: largest Hamming distance, in bits.
    """
    forth, back = distances(query[:1], stored)[0], distances(stored[:, 0], query[None])[:, 0]
    nearest = np.minimum(forth, back)
    found = np.flatnonzero(nearest <= limit)
    return found[np.argsort(nearest[found], kind="stable")]


def _box(frame: Frame, side: int) -> tuple[float, float, float, float]:
    return (frame[0] * side, frame[1] * side, frame[2] * side, frame[3] * side)
