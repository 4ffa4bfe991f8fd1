"""Comparison of pixels: whether two pictures are the same, re-encoded, resized, tinted or slightly cropped.

Candidates are compared by their signatures first, many at once, and then at up to 192 × 192 pixels. Flat pictures
(drawings, charts, pages of text) have a stricter threshold of their own, as their differences are small and sharp: a
circle for a square, one bar of a chart, one line of a page. A difference of a letter or two is below the resolution.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from threadpoolctl import ThreadpoolController

from wethink.common.processes import THREADS
from wethink.common.progress import track
from wethink.data.duplicates.alignment import (
    WHOLE,
    align,
    blurred,
    calm_share,
    halved,
    hue_difference,
    largest_difference,
)
from wethink.data.duplicates.neighbours import Pairs
from wethink.data.duplicates.signatures import LUMINANCE, Floats, Signatures, brightness, colours, signature

# Chosen on the tuning half of `make duplicates`, then loosened after one pair of its reporting half and two of easy-vqa
# had been given up: that nothing is lost there is partly fitted to them.
COARSE = 1.0  # largest difference at half a signature's side that is worth a comparison at the whole side
LIKELY = 0.8  # largest difference of signatures that is worth a comparison of pixels; of the same pictures at most 0.7
SAME, SAME_FLAT = 0.8, 0.4  # largest difference of the same picture: photos, flat pictures
CALM = 0.4  # of the pixels: a picture with more of them without gradient is flat
ROUGH_HUE, ROUGH_CROP = 0.05, 0.045  # the same by signatures; of the same pictures at most 0.024 and 0.024
CLOSE = 0.2  # difference at half the side below which an alignment that is no crop yet is worth another look
SIDES = (32, 48, 64, 96, 128, 192)  # pixels, of the second comparison; none is larger than the smaller picture
CUT, SLACK = 0.075, 0.02  # of flat pictures: largest crop of a side; error of alignment (1 % of a side)
HUE = 0.025  # of flat pictures: largest change of a channel's mean beyond that of the others
ASPECTS = 1.2  # largest ratio of two pictures' proportions
BATCH = 64  # pairs of signatures at once: a megabyte a plane, which a core keeps close
OPENED = 64  # pairs whose pictures are open at once in a thread, of 0.9 MB at most each
PIXELS = 2**17  # of the pictures that are compared at once
TILE = 2048  # pictures, of which pairs are compared one after another
Open = Callable[[int], Image.Image]
T = TypeVar("T")


class Prepared:
    """A picture's pixels at the sides that comparisons asked for."""

    def __init__(self, image: Image.Image) -> None:
        self.size = image.size
        if max(image.size) > 2 * SIDES[-1]:
            image = image.resize((2 * SIDES[-1], 2 * SIDES[-1]), Image.Resampling.BOX, reducing_gap=2.0)
        self._image = image.convert("RGB")
        self._colours: dict[int, Floats] = {}

    def colours(self, side: int) -> Floats:
        """Return the blurred channels, `[3, side, side]`."""
        if side not in self._colours:
            small = np.asarray(self._image.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)
            self._colours[side] = blurred(small.transpose(2, 0, 1) / 255)
        return self._colours[side]


def coarse_frames(one: Signatures, other: Signatures) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Align pictures by their signatures.

    Returns:
        The frames, [n, 4], and whether a comparison of pixels is worth it, [n].
    """
    ours, theirs = blurred(brightness(one)), blurred(brightness(other))
    small = blurred(halved(ours)), blurred(halved(theirs))
    frames = align(small[0], small[1], np.tile(np.array(WHOLE, np.float32), (len(one), 1)), 6)
    apart, _ = largest_difference(small[0], small[1], frames)
    # Pixels have smaller gradients than a signature, so what is flat by signature is flat.
    is_flat = np.maximum(calm_share(ours), calm_share(theirs)) > CALM
    hue = hue_difference(colours(one), colours(other), frames)
    is_crop = are_crops(frames, ROUGH_CROP) | (apart <= CLOSE)
    likely = (apart <= COARSE) & ~(is_flat & ((hue > ROUGH_HUE) | ~is_crop))
    near = np.flatnonzero(likely)
    if len(near):
        ours, theirs = ours[near], theirs[near]
        frames[near] = align(ours, theirs, frames[near], 2)
        apart, _ = largest_difference(ours, theirs, frames[near])
        likely[near] = (apart <= LIKELY) & ~(is_flat[near] & ~are_crops(frames[near], ROUGH_CROP))
    return frames, likely


@dataclass(frozen=True)
class Aligned:
    """Two pictures, the frame of the first in the second by their signatures, [4], and their place among the pairs."""

    one: Prepared
    other: Prepared
    frame: Floats
    place: int

    @property
    def side(self) -> int:
        """Return the side at which they are compared, in pixels."""
        smaller = min(max(self.one.size), max(self.other.size))
        return max((side for side in SIDES if side <= smaller * 1.05), default=SIDES[0])

    @property
    def have_one_shape(self) -> bool:
        """Return whether the proportions are about the same."""
        shapes = sorted(size[0] / size[1] for size in (self.one.size, self.other.size))
        return shapes[1] <= ASPECTS * shapes[0]


def are_same(aligned: Sequence[Aligned], side: int, flat: float) -> npt.NDArray[np.bool_]:
    """Return which candidates are the same picture, `[n]`.

    Args:
        aligned: [n], pairs of one side.
        side: the side, in pixels.
        flat: largest difference of flat pictures.
    """
    colours = [
        np.concatenate(planes)
        for planes in zip(*((a.one.colours(side), a.other.colours(side)) for a in aligned), strict=True)
    ]
    bright = [(LUMINANCE @ planes.reshape(-1, 3, side * side)).reshape(-1, side, side) for planes in colours]
    frames = np.stack([pair.frame for pair in aligned])
    if side > 64:
        frames = align(halved(bright[0]), halved(bright[1]), frames, 2)
    frames = align(bright[0], bright[1], frames, 2 if side > 64 else 4)
    largest, hue = largest_difference(colours[0], colours[1], frames)
    is_flat = np.maximum(*map(calm_share, bright)) > CALM
    alike_flat = (largest <= flat) & (hue <= HUE) & are_crops(frames)
    return np.where(is_flat, alike_flat, largest <= SAME)


def are_crops(frames: Floats, slack: float = 0.0) -> npt.NDArray[np.bool_]:
    """Return whether one picture of each pair lies within the other along each side, and is hardly smaller, `[n]`.

    On a plain ground a shape that was moved looks like another part of the same drawing; but a part of the same size
    that shows something else at its edge is no crop.
    """
    scale, shift = frames[:, 0::2], np.abs(frames[:, 1::2])
    cut, moved = 1 - np.minimum(scale, 1 / scale), shift / np.maximum(scale, 1)  # of the larger picture
    inside: npt.NDArray[np.bool_] = np.all((cut <= CUT + slack) & (moved <= cut + SLACK + slack), axis=1)
    return inside


def same_picture(one: Image.Image, other: Image.Image) -> bool:
    """Return whether two pictures are the same, re-encoded, resized, tinted or slightly cropped.

    The order of the two does not matter.
    """
    sides = [(signature(picture)[None], lambda place, picture=picture: picture) for picture in (one, other)]
    return bool(confirmed(np.zeros((1, 2), np.int64), sides[0], sides[1])[0])


def confirmed(
    pairs: Pairs,
    ours: tuple[Signatures, Open],
    theirs: tuple[Signatures, Open],
    label: str | None = None,
    flat: float = SAME_FLAT,
) -> npt.NDArray[np.bool_]:
    """Return which candidate pairs are the same picture; the order within a pair does not matter.

    Args:
        pairs: [n, 2], indices into `ours` and `theirs`.
        ours: the signatures, and a function that opens a picture by its index.
        theirs: as `ours`; may be the same.
        label: of the progress bars; None = no bar.
        flat: largest difference of flat pictures.
    """
    same, swapped = np.zeros(len(pairs), dtype=bool), np.zeros(len(pairs), dtype=bool)
    frames = np.zeros((len(pairs), 4), np.float32)

    def coarse(start: int) -> None:
        block = slice(start, start + BATCH)
        one, other = ours[0][pairs[block, 0]], theirs[0][pairs[block, 1]]
        later = _is_later(one, other)
        frames[block], same[block] = coarse_frames(np.where(later, other, one), np.where(later, one, other))
        swapped[block] = later[:, 0]

    with _threads(len(pairs) > BATCH) as run:
        starts = range(0, len(pairs), BATCH)
        for _ in _tracked(run(coarse, starts), len(starts), label, "alignment"):
            pass
        likely = np.flatnonzero(same)
        # Pictures that were stored together are opened together, as a read from the store returns many of them.
        tiles, places = pairs[likely] // TILE, pairs[likely]
        likely = likely[np.lexsort((places[:, 1], places[:, 0], tiles[:, 1], tiles[:, 0]))]
        chunks = [likely[start : start + OPENED] for start in range(0, len(likely), OPENED)]
        fine = partial(_confirmed_by_pixels, pairs, (ours[1], theirs[1]), frames, swapped, flat)
        for chunk, found in _tracked(zip(chunks, run(fine, chunks), strict=True), len(chunks), label, "pixels"):
            same[chunk] = found
    return same


@contextmanager
def _threads(many: bool) -> Iterator[Callable[..., Iterable[Any]]]:
    """Yield a `map` over threads, or the plain one where there is little to do.

    NumPy and Pillow release the interpreter's lock, so threads use every core. BLAS has one thread meanwhile, as its
    own would only wait for these.
    """
    if not many:
        yield map
        return
    with ThreadPoolExecutor(THREADS) as pool, _libraries().limit(limits=1, user_api="blas"):
        yield pool.map


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()


def _confirmed_by_pixels(
    pairs: Pairs,
    opens: tuple[Open, Open],
    frames: Floats,
    swapped: npt.NDArray[np.bool_],
    flat: float,
    chunk: npt.NDArray[np.int64],
) -> npt.NDArray[np.bool_]:
    """Open the pictures of some candidates, each once, and return which candidates are the same, `[chunk]`."""
    opened: dict[tuple[Open, int], Prepared] = {}
    by_side: dict[int, list[Aligned]] = defaultdict(list)
    for number, place in enumerate(chunk.tolist()):
        for key in zip(opens, pairs[place].tolist(), strict=True):
            if key not in opened:
                opened[key] = Prepared(key[0](key[1]))
        one, other = (opened[key] for key in zip(opens, pairs[place].tolist(), strict=True))
        if swapped[place]:
            one, other = other, one
        pair = Aligned(one, other, frames[place], number)
        if pair.have_one_shape:
            by_side[pair.side].append(pair)
    same = np.zeros(len(chunk), dtype=bool)
    for side, aligned in by_side.items():
        step = max(1, PIXELS // side**2)
        for few in (aligned[start : start + step] for start in range(0, len(aligned), step)):
            same[[pair.place for pair in few]] = are_same(few, side, flat)
    return same


def _is_later(one: Signatures, other: Signatures) -> npt.NDArray[np.bool_]:
    """Return which of `one` follow `other` in the order of bytes, `[n, 1]`.

    The one picture is aligned to the other, so a fixed order makes the comparison symmetric.
    """
    first = (one != other).argmax(axis=1)[:, None]  # byte that differs
    later: npt.NDArray[np.bool_] = np.take_along_axis(one, first, 1) > np.take_along_axis(other, first, 1)
    return later


def _tracked(steps: Iterable[T], count: int, label: str | None, phase: str) -> Iterable[T]:
    return track(steps, f"{label}: {phase}", count) if label else steps
