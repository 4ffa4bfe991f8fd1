"""Are two pictures the same one, re-encoded, resized or cropped a little? Hashes propose, pixels decide.

A perceptual hash survives re-encoding and resizing, but a crop moves every block under it; so each picture
is hashed whole and under small crops (`VIEWS`), and a pair is a candidate if the whole of one is near any view
of the other. Hashes alone take two boards that differ in one cell for the same; so a candidate is confirmed by
pixels: the frame of one is moved over the other until they fit best, and then every block must agree, in colour.
What is smaller than a block (1/8 of a side), as a square for a circle in a tiny drawing, may be overlooked: of drawn
images the scene is known and is used instead.
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
NEAR = 10  # of 64 bits: as far as the same picture may be hashed apart
SAME = 0.1  # of the range of brightness: by how much any one block may differ after alignment
SMALL = 128  # pixels: the side to which pictures are brought for alignment
BLOCKS, CELL = 8, 4  # blocks a side, pixels a block's side
BLOCK = 1 << 22  # hash comparisons at once


def hashes(image: Image.Image) -> Hashes:
    """The 64-bit perceptual hash (imagehash.phash) of every view, [views]; the first is the whole picture's."""
    small = image.convert("L").resize((SMALL, SMALL), Image.Resampling.BILINEAR, reducing_gap=2.0)
    views = (
        imagehash.phash(small.resize((32, 32), Image.Resampling.BILINEAR, box=_box(view, SMALL))) for view in VIEWS
    )
    return np.array([np.packbits(view.hash.flatten()).view(">u8")[0] for view in views], dtype=np.uint64)


def distances(whole: Hashes, views: Hashes) -> npt.NDArray[np.uint8]:
    """Differing bits between whole pictures [n] and the nearest view of others [m, views] → [n, m]."""
    bits: npt.NDArray[np.uint8] = np.bitwise_count(whole[:, None, None] ^ views[None])
    nearest: npt.NDArray[np.uint8] = bits.min(axis=2)
    return nearest


def neighbours(query: Hashes, stored: Hashes, limit: int = NEAR) -> npt.NDArray[np.intp]:
    """Places in `stored` [m, views] that may show the same as `query` [views], nearest first."""
    forth, back = distances(query[:1], stored)[0], distances(stored[:, 0], query[None])[:, 0]
    nearest = np.minimum(forth, back)
    found = np.flatnonzero(nearest <= limit)
    return found[np.argsort(nearest[found], kind="stable")]


def candidate_pairs(stored: Hashes, limit: int = NEAR) -> Iterator[tuple[int, int]]:
    """Every pair of places in `stored` [m, views] that may show the same, each once, smaller place first.

    Exhaustive, in blocks: m² · views comparisons of 64 bits, so some seconds for ten thousand pictures.
    """
    rows = max(1, BLOCK // max(1, stored.size))
    found: set[tuple[int, int]] = set()
    for start in range(0, len(stored), rows):
        near = distances(stored[start : start + rows, 0], stored) <= limit
        found |= {(min(a + start, b), max(a + start, b)) for a, b in np.argwhere(near).tolist() if a + start != b}
    yield from sorted(found)


def same_picture(one: Image.Image, other: Image.Image) -> bool:
    """Whether one picture, perhaps slightly cropped, is the other: every block agrees after alignment."""
    return block_difference(one, other) <= SAME


def block_difference(one: Image.Image, other: Image.Image) -> float:
    """The difference of the block that differs most, at the frame (of either) where the pictures fit best.

    In shares of the range of brightness, averaged over a block's pixels and the three colours; 0 = equal.
    """
    pair = [_small(one), _small(other)]
    return min(_fit(pair[0], pair[1]), _fit(pair[1], pair[0]))


def _small(image: Image.Image) -> Image.Image:
    return image.convert("RGB").resize((SMALL, SMALL), Image.Resampling.BOX, reducing_gap=2.0)


def _fit(outer: Image.Image, inner: Image.Image) -> float:
    """The least worst-block difference between `inner` and a frame of `outer`, by descent over the four edges."""
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
    """The frame with one edge moved by a step, where it stays within the picture and keeps 80 % of each side."""
    for edge in range(4):
        for shift in (-step, step):
            moved = [value + shift * (place == edge) for place, value in enumerate(frame)]
            if min(moved) >= 0 and max(moved) <= 1 and moved[2] - moved[0] >= 0.8 and moved[3] - moved[1] >= 0.8:
                yield (moved[0], moved[1], moved[2], moved[3])


def _pixels(image: Image.Image, frame: Frame) -> npt.NDArray[np.float32]:
    """What is within a frame, [BLOCKS · CELL, BLOCKS · CELL, 3]."""
    side = BLOCKS * CELL
    cut = image.resize((side, side), Image.Resampling.BILINEAR, box=_box(frame, SMALL))
    return np.asarray(cut, dtype=np.float32)


def _box(frame: Frame, side: int) -> tuple[float, float, float, float]:
    return (frame[0] * side, frame[1] * side, frame[2] * side, frame[3] * side)
