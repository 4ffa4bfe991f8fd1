"""Alignment of two pictures that may be slight crops of one another, and their largest local difference.

The alignment is that of Lucas and Kanade (1981): Gauss-Newton steps over scale and shift of each axis. The difference
is local and relative to the local contrast, as in SSIM (Wang et al. 2004): a window counts by its mean squared
difference over its variance. So the noise of a JPEG file counts for little, and a circle in the place of a square, or
another word on a page, counts for as much as its window holds.

Planes are `[n, side, side]` from 0 to 1. A frame is `[scale x, shift x, scale y, shift y]`, coordinates from -1 to 1.
"""

from functools import cache

import numpy as np
import numpy.typing as npt

from wethink.data.duplicates.signatures import Floats

WHOLE = (1.0, 0.0, 1.0, 0.0)
SCALES, SHIFT = (0.87, 1.15), 0.13  # largest crop that is looked for: about a tenth of a side
STEP = 0.06  # largest change of a parameter in one iteration
GAIN, OFFSET = (0.9, 1.11), 0.06  # limits of a change in colour, per channel: a tint, not another colour
CONTRAST = 0.08  # of the range of brightness: differences far below it do not count
WINDOW, STRIDE = 8, 4  # pixels
CALM_GRADIENT = 0.004  # of the range of brightness, between neighbouring pixels


def blurred(planes: Floats) -> Floats:
    """Blur by (1, 2, 1) / 4 along both sides, which suppresses aliases of resampling."""
    for _ in range(2):
        result = planes * 2
        result[:, 1:] += planes[:, :-1]
        result[:, :-1] += planes[:, 1:]
        result[:, 0] += planes[:, 0]
        result[:, -1] += planes[:, -1]
        planes = (result / 4).swapaxes(1, 2)
    return np.ascontiguousarray(planes)


def halved(planes: Floats) -> Floats:
    """Return the means of 2 × 2 pixels, `[n, side / 2, side / 2]`."""
    means: Floats = (planes[:, ::2, ::2] + planes[:, ::2, 1::2] + planes[:, 1::2, ::2] + planes[:, 1::2, 1::2]) / 4
    return means


def align(one: Floats, other: Floats, frames: Floats, iterations: int) -> Floats:
    """Return the frames of `one` that fit `other` best.

    Args:
        one: planes of brightness.
        other: planes of brightness.
        frames: [n, 4], first guess.
        iterations: Gauss-Newton steps.

    Returns:
        [n, 4].
    """
    squared, best, least = other * other, frames.copy(), np.full(len(one), np.inf)
    for iteration in range(iterations + 1):
        moved, inside = warp(one, frames)
        mean, spread = _moments(moved, moved * moved, inside)
        wanted, wanted_spread = _moments(other, squared, inside)
        gain = np.clip(np.sqrt(wanted_spread / (spread + 1e-6)), *GAIN)
        moved = moved * gain + (wanted - mean * gain)
        error = other - moved
        loss = _mean(error * error, inside)[:, 0, 0]
        better = loss < least
        best[better], least = frames[better], np.where(better, loss, least)
        if iteration < iterations:
            frames = frames + np.clip(_gauss_newton(moved, error, inside), -STEP, STEP)
            frames[:, 0::2] = np.clip(frames[:, 0::2], *SCALES)
            frames[:, 1::2] = np.clip(frames[:, 1::2], -SHIFT, SHIFT)
    return best


def warp(planes: Floats, frames: Floats) -> tuple[Floats, Floats]:
    """Sample planes at frames (bilinear).

    Returns:
        The sampled planes, and whether each column and each row lies inside (1 or 0), [n, 2, side].
    """
    side = planes.shape[1]
    position = (frames[:, 0::2, None] * _coordinates(side) + frames[:, 1::2, None] + 1) * (side / 2) - 0.5
    low = np.clip(np.floor(position), 0, side - 2).astype(np.int64)  # [n, 2, side]
    part = np.clip(position - low, 0, 1).astype(np.float32)
    member = np.arange(len(planes))[:, None]
    for axis in (1, 0):  # rows (y), then columns (x)
        near = planes[member, low[:, axis]]
        planes = (near + (planes[member, low[:, axis] + 1] - near) * part[:, axis, :, None]).swapaxes(1, 2)
    return planes, ((position > -0.5) & (position < side - 0.5)).astype(np.float32)


def largest_difference(one: Floats, other: Floats, frames: Floats) -> tuple[Floats, Floats]:
    """Return the largest difference of any window of aligned pictures, and their difference in hue.

    Args:
        one: [n · channels, side, side], blurred; the planes of a picture follow one another.
        other: as `one`.
        frames: [n, 4], from `align`.

    Returns:
        [n], the largest mean squared difference over variance; 0 = equal, above 1 = unrelated; and
        [n], how much the mean of any channel changes more than that of the others, from 0 to 1.
    """
    side, channels = one.shape[1], len(one) // len(frames)
    moved, inside = warp(one, np.repeat(frames, channels, axis=0))
    mean, spread = _moments(moved, moved * moved, inside)
    wanted = _mean(other, inside)
    covariance = _mean(moved * other, inside) - mean * wanted
    gain = np.clip(covariance / (spread + 1e-6), *GAIN)
    moved = moved * gain + np.clip(wanted - gain * mean, -OFFSET, OFFSET)
    hue = _hue(wanted - mean, channels)
    apart = moved - other
    apart = _by_picture(apart * apart, channels)
    bright = [_by_picture(planes, channels) for planes in (moved, other)]
    squares = [planes * planes for planes in bright]
    variances = [_windows(square) - _windows(plane) ** 2 for square, plane in zip(squares, bright, strict=True)]
    inside = inside[::channels]
    apart = apart * inside[:, 1, :, None] * inside[:, 0, None, :]
    covered = inside @ _averaging(side).T > 0.5 - 1e-4  # [n, 2, windows]
    known = covered[:, 1, :, None] & covered[:, 0, None, :]
    ratio: Floats = np.where(known, _windows(apart) / (np.maximum(*variances).clip(0) + CONTRAST**2), 0).max(
        axis=(1, 2)
    )
    return ratio, hue


def hue_difference(one: Floats, other: Floats, frames: Floats) -> Floats:
    """Return the difference in hue alone, as `largest_difference` does."""
    channels = len(one) // len(frames)
    moved, inside = warp(one, np.repeat(frames, channels, axis=0))
    return _hue(_mean(other, inside) - _mean(moved, inside), channels)


def calm_share(bright: Floats) -> npt.NDArray[np.float64]:
    """Return the shares of pixels without a gradient, `[n]`: large in drawings, charts and pages of text."""
    down, across = np.abs(np.diff(bright, axis=1))[:, :, 1:], np.abs(np.diff(bright, axis=2))[:, 1:]
    share: npt.NDArray[np.float64] = (np.maximum(down, across) < CALM_GRADIENT).mean(axis=(1, 2))
    return share


@cache
def _coordinates(side: int) -> Floats:
    return ((np.arange(side) + 0.5) / side * 2 - 1).astype(np.float32)


@cache
def _averaging(side: int) -> Floats:
    """Return the matrix from pixels of a side to means over its windows, `[windows, side]`."""
    starts = np.arange(0, side - WINDOW + 1, STRIDE)[:, None]
    pixels = np.arange(side)
    return ((pixels >= starts) & (pixels < starts + WINDOW)).astype(np.float32) / WINDOW


def _hue(change: Floats, channels: int) -> Floats:
    """Return how much a channel's mean changes more than that of the others, `[n]`."""
    change = change.reshape(-1, channels)
    hue: Floats = np.abs(change - change.mean(axis=1, keepdims=True)).max(axis=1)
    return hue


def _windows(planes: Floats) -> Floats:
    """Return the means over windows, `[n, windows, windows]`."""
    matrix = _averaging(planes.shape[1])
    means: Floats = matrix @ planes @ matrix.T
    return means


def _by_picture(planes: Floats, channels: int) -> Floats:
    """Average the planes of each picture."""
    grouped = planes.reshape(-1, channels, *planes.shape[1:])
    return planes if channels == 1 else np.einsum("ncij->nij", grouped) / channels


def _mean(planes: Floats, inside: Floats) -> Floats:
    """Return the means of the samples inside, `[n, 1, 1]`."""
    sums = inside[:, 1, None, :] @ planes @ inside[:, 0, :, None]
    means: Floats = sums / (inside.sum(axis=2).prod(axis=1)[:, None, None])
    return means


def _moments(planes: Floats, squared: Floats, inside: Floats) -> tuple[Floats, Floats]:
    """Return mean and variance of the samples inside, `[n, 1, 1]` each."""
    mean = _mean(planes, inside)
    return mean, (_mean(squared, inside) - mean * mean).clip(0)


def _gauss_newton(moved: Floats, error: Floats, inside: Floats) -> Floats:
    """Return the change of frames that reduces the error, `[n, 4]`."""
    side = moved.shape[1]
    x = _coordinates(side)
    down, across = np.zeros(moved.shape, np.float32), np.zeros(moved.shape, np.float32)
    down[:, 1:-1] = (moved[:, 2:] - moved[:, :-2]) * (side / 4)
    across[:, :, 1:-1] = (moved[:, :, 2:] - moved[:, :, :-2]) * (side / 4)
    columns, rows = inside[:, 0], inside[:, 1]
    powers = [np.stack([mask, mask * x, mask * x * x], axis=1) for mask in (rows, columns)]  # [n, 3, side] each

    def sums(planes: Floats) -> Floats:
        """Sum y^i · x^j · plane over the samples inside, `[n, i, j]`."""
        result: Floats = powers[0] @ planes @ powers[1].swapaxes(1, 2)
        return result

    xx, xy, yy = sums(across * across), sums(across * down), sums(down * down)
    pulled = sums(across * error), sums(down * error)
    normal = np.empty((len(moved), 4, 4), np.float64)
    normal[:, 0, 0], normal[:, 0, 1], normal[:, 1, 1] = xx[:, 0, 2], xx[:, 0, 1], xx[:, 0, 0]
    normal[:, 2, 2], normal[:, 2, 3], normal[:, 3, 3] = yy[:, 2, 0], yy[:, 1, 0], yy[:, 0, 0]
    normal[:, 0, 2], normal[:, 0, 3] = xy[:, 1, 1], xy[:, 0, 1]
    normal[:, 1, 2], normal[:, 1, 3] = xy[:, 1, 0], xy[:, 0, 0]
    for row in range(4):
        normal[:, row, :row] = normal[:, :row, row]
    # Damping (Levenberg): a flat picture has no gradient, and then its frame stays.
    normal += np.eye(4) * (np.trace(normal, axis1=1, axis2=2)[:, None, None] * 2.5e-4 + 1e-4)
    right = np.stack([pulled[0][:, 0, 1], pulled[0][:, 0, 0], pulled[1][:, 1, 0], pulled[1][:, 0, 0]], axis=1)
    change: Floats = np.linalg.solve(normal, right[..., None])[..., 0].astype(np.float32)
    return change
