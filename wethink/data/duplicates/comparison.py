"""Comparison of pixels: whether two pictures are the same, re-encoded, resized, tinted or slightly cropped.

Candidates are compared by their signatures first, many at once, and then at up to 192 × 192 pixels. Flat pictures
(drawings, charts, pages of text) have a stricter threshold of their own, as their differences are small and sharp: a
circle for a square, one bar of a chart, one line of a page. A difference of a letter or two is below the resolution.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from wethink.common.progress import track
from wethink.data.duplicates.alignment import WHOLE, align, blurred, calm_share, halved, largest_difference
from wethink.data.duplicates.neighbours import Pairs
from wethink.data.duplicates.signatures import LUMINANCE, Floats, Signatures, brightness, signature

# Chosen on the tuning half of `make duplicates`.
COARSE = 1.0  # largest difference of signatures that is worth a second comparison
SAME, SAME_FLAT = 0.8, 0.4  # largest difference of the same picture: photos, flat pictures
CALM = 0.4  # of the pixels: a picture with more of them without gradient is flat
SIDES = (32, 48, 64, 96, 128, 192)  # pixels, of the second comparison; none is larger than the smaller picture
CUT, SLACK = 0.075, 0.02  # of flat pictures: largest crop of a side; error of alignment (1 % of a side)
HUE = 0.025  # of flat pictures: largest change of a channel's mean beyond that of the others
ASPECTS = 1.2  # largest ratio of two pictures' proportions
BATCH = 256  # pairs of signatures at once
OPENED = 128  # pictures kept for the second comparison, of 0.9 MB at most
TILE = 2048  # pictures, of which pairs are compared one after another
Open = Callable[[int], Image.Image]


class Prepared:
    """A picture's pixels at the sides that comparisons asked for."""

    def __init__(self, image: Image.Image) -> None:
        self.size = image.size
        if max(image.size) > 2 * SIDES[-1]:
            image = image.resize((2 * SIDES[-1], 2 * SIDES[-1]), Image.Resampling.BOX, reducing_gap=2.0)
        self._image = image.convert("RGB")
        self._colours: dict[int, Floats] = {}
        self._bright: dict[int, Floats] = {}

    def colours(self, side: int) -> Floats:
        """Return the blurred channels, `[3, side, side]`."""
        if side not in self._colours:
            small = np.asarray(self._image.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)
            self._colours[side] = blurred(small.transpose(2, 0, 1) / 255)
        return self._colours[side]

    def bright(self, side: int) -> Floats:
        """Return the blurred brightness, `[1, side, side]`."""
        if side not in self._bright:
            self._bright[side] = np.tensordot(LUMINANCE, self.colours(side), 1)[None]
        return self._bright[side]


def coarse_frames(one: Signatures, other: Signatures) -> tuple[Floats, Floats]:
    """Align pictures by their signatures.

    Returns:
        The frames, [n, 4], and the largest differences, [n].
    """
    ours, theirs = blurred(brightness(one)), blurred(brightness(other))
    small = blurred(halved(ours)), blurred(halved(theirs))
    frames = align(small[0], small[1], np.tile(np.array(WHOLE, np.float32), (len(one), 1)), 6)
    apart, _ = largest_difference(small[0], small[1], frames)
    near = np.flatnonzero(apart <= COARSE)
    if len(near):
        ours, theirs = ours[near], theirs[near]
        frames[near] = align(ours, theirs, frames[near], 2)
        apart[near], _ = largest_difference(ours, theirs, frames[near])
    return frames, apart


@dataclass(frozen=True)
class Difference:
    """Of two aligned pictures: the largest of a window, of hue, the frame `[4]`, and whether either is flat."""

    largest: float
    hue: float
    frame: Floats
    flat: bool


def fine_difference(one: Prepared, other: Prepared, frame: Floats) -> Difference:
    """Align two pictures and return their difference.

    Args:
        one: a picture.
        other: another.
        frame: their alignment by signatures, [1, 4].
    """
    smaller = min(max(one.size), max(other.size))
    side = max((side for side in SIDES if side <= smaller * 1.05), default=SIDES[0])
    bright = one.bright(side), other.bright(side)
    if side > 64:
        frame = align(halved(bright[0]), halved(bright[1]), frame, 2)
    frame = align(*bright, frame, 2 if side > 64 else 4)
    largest, hue = largest_difference(one.colours(side), other.colours(side), frame)
    flat = max(calm_share(plane)[0] for plane in bright) > CALM
    return Difference(float(largest[0]), float(hue[0]), frame[0], bool(flat))


def is_same(one: Prepared, other: Prepared, frame: Floats, flat: float) -> bool:
    """Return whether two candidates, aligned by their signatures, are the same picture."""
    shapes = sorted((one.size[0] / one.size[1], other.size[0] / other.size[1]))
    if shapes[1] > ASPECTS * shapes[0]:
        return False
    apart = fine_difference(one, other, frame)
    if apart.flat:
        return apart.largest <= flat and apart.hue <= HUE and is_crop(apart.frame)
    return apart.largest <= SAME


def is_crop(frame: Floats) -> bool:
    """Return whether one picture lies within the other along each side, and is hardly smaller.

    On a plain ground a shape that was moved looks like another part of the same drawing; but a part of the same size
    that shows something else at its edge is no crop.
    """
    scale = frame[0::2]
    cut, shift = 1 - np.minimum(scale, 1 / scale), np.abs(frame[1::2]) / np.maximum(scale, 1)  # of the larger picture
    return bool((cut <= CUT).all() and (shift <= cut + SLACK).all())


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
    for start in _tracked(range(0, len(pairs), BATCH), label, "alignment"):
        block = pairs[start : start + BATCH]
        one, other = ours[0][block[:, 0]], theirs[0][block[:, 1]]
        later = _is_later(one, other)
        found, apart = coarse_frames(np.where(later, other, one), np.where(later, one, other))
        frames[start : start + BATCH], same[start : start + BATCH] = found, apart <= COARSE
        swapped[start : start + BATCH] = later[:, 0]
    opened = [lru_cache(OPENED)(lambda place, side=side: Prepared(side[1](place))) for side in (ours, theirs)]
    likely = np.flatnonzero(same)
    # Pictures that were stored together are opened together, as a read from the store returns many of them.
    tiles, places = pairs[likely] // TILE, pairs[likely]
    likely = likely[np.lexsort((places[:, 1], places[:, 0], tiles[:, 1], tiles[:, 0]))]
    for place in _tracked(likely.tolist(), label, "pixels"):
        two = [prepared(int(index)) for prepared, index in zip(opened, pairs[place], strict=True)]
        first, second = two[::-1] if swapped[place] else two
        same[place] = is_same(first, second, frames[place : place + 1], flat)
    return same


def _is_later(one: Signatures, other: Signatures) -> npt.NDArray[np.bool_]:
    """Return which of `one` follow `other` in the order of bytes, `[n, 1]`.

    The one picture is aligned to the other, so a fixed order makes the comparison symmetric.
    """
    first = (one != other).argmax(axis=1)[:, None]  # byte that differs
    later: npt.NDArray[np.bool_] = np.take_along_axis(one, first, 1) > np.take_along_axis(other, first, 1)
    return later


def _tracked(places: Sequence[int], label: str | None, phase: str) -> Iterable[int]:
    return track(places, f"{label}: {phase}", len(places)) if label else places
