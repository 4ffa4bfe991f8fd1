"""Near-duplicate images (re-encoded, resized, slightly cropped): perceptual hashes and alignment.

A perceptual hash survives re-encoding and resizing, but a crop shifts every block under it; so each picture
is hashed whole and under small crops (`VIEWS`), and a pair is a candidate if the whole of one is near any view
of the other. Hashes alone match two boards that differ in one cell; so pixels confirm a candidate: the frame of one
picture is moved over the other to the best fit, and then every block must agree in colour. A difference smaller than
a block (1/8 of a side), such as a square for a circle in a tiny drawing, may be missed; drawn images are clustered by
their known scene instead.
"""

from collections.abc import Iterable, Iterator

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
NEAR = 10  # of 64 bits: largest Hamming distance of a candidate pair
SAME = 0.1  # of the range of brightness: largest difference of any block after alignment
SMALL = 128  # pixels: side to which pictures are resized for alignment
BLOCKS, CELL = 8, 4  # blocks a side, pixels a block's side
BLOCK = 1 << 22  # hash comparisons at once


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


def neighbours(query: Hashes, stored: Hashes, limit: int = NEAR) -> npt.NDArray[np.intp]:
    """Return indices of near-duplicate candidates of `query`, nearest first.

    Args:
        query: [views].
        stored: [m, views].
        limit: largest Hamming distance, in bits.
    """
    forth, back = distances(query[:1], stored)[0], distances(stored[:, 0], query[None])[:, 0]
    nearest = np.minimum(forth, back)
    found = np.flatnonzero(nearest <= limit)
    return found[np.argsort(nearest[found], kind="stable")]


def candidate_pairs(stored: Hashes, limit: int = NEAR) -> Iterator[tuple[int, int]]:
    """Yield every candidate pair of indices in `stored`, smaller index first.

    The search is exhaustive, in blocks: m² · views comparisons of 64 bits, some seconds for ten thousand pictures.

    Args:
        stored: [m, views].
        limit: largest Hamming distance, in bits.
    """
    rows = max(1, BLOCK // max(1, stored.size))
    found: set[tuple[int, int]] = set()
    for start in range(0, len(stored), rows):
        near = distances(stored[start : start + rows, 0], stored) <= limit
        found |= {(min(a + start, b), max(a + start, b)) for a, b in np.argwhere(near).tolist() if a + start != b}
    yield from sorted(found)


def same_picture(one: Image.Image, other: Image.Image) -> bool:
    """Return whether two pictures agree in every block after alignment."""
    return block_difference(one, other) <= SAME


def block_difference(one: Image.Image, other: Image.Image) -> float:
    """Return the largest block difference of two pictures at their best alignment.

    It is a share of the range of brightness, averaged over a block's pixels and the three colours; 0 = equal.
    """
    pair = [_small(one), _small(other)]
    return min(_fit(pair[0], pair[1]), _fit(pair[1], pair[0]))


def _small(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize((SMALL, SMALL), Image.Resampling.BOX, reducing_gap=2.0)


def _fit(outer: Image.Image, inner: Image.Image) -> float:
    """Return the largest block difference at the best frame of `outer` for `inner`.

    The frame is found by descent over its four edges.
    """
    wanted = _pixels(inner, (0, 0, 1, 1))

    def loss(frame: Frame) -> float:
        return float(np.abs(_pixels(outer, frame) - wanted).mean())

    best = min(VIEWS, key=loss)
    least = loss(best)
    for step in (0.02, 0.01, 0.005, 0.0025):
        improved = True
        while improved:
            improved = False
            for frame in _moved(best, step):
                if (found := loss(frame)) < least:
                    best, least, improved = frame, found, True
    apart = _pixels(outer, best) - wanted
    blocks = apart.reshape(BLOCKS, CELL, BLOCKS, CELL, 3).mean(axis=(1, 3))  # [BLOCKS, BLOCKS, 3]
    return float(np.abs(blocks).mean(axis=2).max()) / 255


def _moved(frame: Frame, step: float) -> Iterable[Frame]:
    """Yield frames with one edge moved, within the picture, sides at least 80 %."""
    for edge in range(4):
        for shift in (-step, step):
            moved = [value + shift * (place == edge) for place, value in enumerate(frame)]
            if min(moved) >= 0 and max(moved) <= 1 and moved[2] - moved[0] >= 0.8 and moved[3] - moved[1] >= 0.8:
                yield (moved[0], moved[1], moved[2], moved[3])


def _pixels(image: Image.Image, frame: Frame) -> npt.NDArray[np.float32]:
    """Return a frame's pixels, `[BLOCKS · CELL, BLOCKS · CELL, 3]`."""
    side = BLOCKS * CELL
    cut = image.resize((side, side), Image.Resampling.BILINEAR, box=_box(frame, SMALL))
    return np.asarray(cut, dtype=np.float32)


def _box(frame: Frame, side: int) -> tuple[float, float, float, float]:
    return (frame[0] * side, frame[1] * side, frame[2] * side, frame[3] * side)
