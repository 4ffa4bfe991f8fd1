"""Signatures of pictures for near-duplicate search (4.6 KB a picture), and their embeddings.

A signature is a small picture: brightness at 64 × 64 pixels, two colour differences at 16 × 16. Its embedding is a
discrete cosine transform, as in a perceptual hash, but of real numbers and with colour. Distances between embeddings
change little when a picture is re-encoded or resized. A crop moves its content, so a search embeds the query under
several small crops (`VIEWS`).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from scipy.fft import dct

Signatures = npt.NDArray[np.uint8]  # [n, BYTES]
Floats = npt.NDArray[np.floating]  # float32
Frame = tuple[float, float, float, float]  # left, top, right, bottom as shares of the picture

SIDE, COLOUR_SIDE = 64, 16  # pixels
SIGNATURES = "signatures.parquet"  # in a folder of images, of those that were compared
GROUP = 4096  # signatures read or written at once
BYTES = SIDE**2 + 2 * COLOUR_SIDE**2
# Whole, and 4 % off two sides that meet: a crop of up to 5 % at any sides is near one of them.
VIEWS: tuple[Frame, ...] = ((0, 0, 1, 1), *((x, y, x + 0.96, y + 0.96) for x in (0.0, 0.04) for y in (0.0, 0.04)))
GRID = 16  # samples a side before the transform
BRIGHT_TERMS, COLOUR_TERMS = 10, 4  # frequencies a side
TILT = 0.5  # exponent of the frequency's weight: fine structure tells pages of text apart
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def signature(image: Image.Image) -> Signatures:
    """Return a picture's signature, `[BYTES]`; proportions are not kept."""
    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=3.0)
    bright = np.asarray(small.convert("L"))
    pixels = np.asarray(small.resize((COLOUR_SIDE, COLOUR_SIDE), Image.Resampling.BOX), dtype=np.float32)
    colour = (pixels[..., 0::2] - (pixels @ LUMINANCE)[..., None]) / 2 + 128  # red and blue less brightness
    return np.concatenate([bright.ravel(), np.rint(colour.transpose(2, 0, 1)).astype(np.uint8).ravel()])


def stacked(signatures: Sequence[Signatures]) -> Signatures:
    """Stack signatures, `[n, BYTES]`."""
    return np.stack(signatures) if signatures else np.zeros((0, BYTES), np.uint8)


def save_signatures(path: Path, ids: Sequence[str], signatures: Signatures) -> None:
    """Write the signatures of pictures.

    Args:
        path: the Parquet file, of the columns id and signature.
        ids: the pictures.
        signatures: [n, BYTES], of the pictures.
    """
    values = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(BYTES), len(ids), [None, pa.py_buffer(np.ascontiguousarray(signatures))]
    )
    table = pa.table({"id": pa.array(ids, pa.string()), "signature": values})
    options = {"use_dictionary": False, "write_statistics": False, "row_group_size": GROUP}
    pq.write_table(table, path, compression="zstd", **options)


def load_signatures(path: Path) -> dict[str, Signatures]:
    """Read the signatures of pictures, `[BYTES]` each.

    Returns {} if there is no file, or one of another size of signatures.
    """
    if not path.is_file():
        return {}
    with pq.ParquetFile(path) as file:
        if file.schema_arrow.field("signature").type != pa.binary(BYTES):
            return {}
        found: dict[str, Signatures] = {}
        for batch in file.iter_batches(GROUP, use_threads=False):
            first = batch["signature"].offset * BYTES
            values = np.frombuffer(batch["signature"].buffers()[1], np.uint8)[first : first + len(batch) * BYTES]
            found |= zip(batch["id"].to_pylist(), values.reshape(-1, BYTES), strict=True)
    return found


def brightness(signatures: Signatures) -> Floats:
    """Return the brightness from 0 to 1, `[n, SIDE, SIDE]`."""
    return signatures[:, : SIDE**2].reshape(-1, SIDE, SIDE).astype(np.float32) / 255


def colours(signatures: Signatures) -> Floats:
    """Return red, green and blue from about 0 to 1, `[n · 3, COLOUR_SIDE, COLOUR_SIDE]`."""
    step = SIDE // COLOUR_SIDE
    bright = brightness(signatures).reshape(-1, COLOUR_SIDE, step, COLOUR_SIDE, step).mean(axis=(2, 4))
    beyond = (
        signatures[:, SIDE**2 :].reshape(-1, 2, COLOUR_SIDE, COLOUR_SIDE).astype(np.float32) * (2 / 255) - 256 / 255
    )
    red, blue = bright + beyond[:, 0], bright + beyond[:, 1]
    green = (bright - LUMINANCE[0] * red - LUMINANCE[2] * blue) / LUMINANCE[1]
    planes: Floats = np.stack([red, green, blue], axis=1).reshape(-1, COLOUR_SIDE, COLOUR_SIDE)
    return planes


def embed(signatures: Signatures, view: Frame = VIEWS[0]) -> Floats:
    """Return the embeddings of signatures under a view.

    Args:
        signatures: [n, BYTES].
        view: the part of the picture that is embedded.

    Returns:
        [n, 87]: 55 frequencies of brightness, 16 of each of two colour differences.
    """
    down, across = (_transform(view[place], view[place + 2], SIDE) for place in (1, 0))
    terms = down @ brightness(signatures) @ across.T  # [n, BRIGHT_TERMS, BRIGHT_TERMS]
    rows, columns = np.indices(terms.shape[1:])
    low = rows + columns < BRIGHT_TERMS
    weights = np.power(np.hypot(rows, columns) + 0.5, TILT).astype(np.float32)[low]
    colour = signatures[:, SIDE**2 :].reshape(-1, 2, COLOUR_SIDE, COLOUR_SIDE).astype(np.float32) * (2 / 255)
    few = [_transform(view[place], view[place + 2], COLOUR_SIDE)[:COLOUR_TERMS] for place in (1, 0)]
    tints = (few[0] @ colour @ few[1].T).reshape(len(signatures), 2 * COLOUR_TERMS**2)
    result: Floats = np.concatenate([terms[:, low] * weights, tints], axis=1) / np.float32(GRID)
    return result


def _transform(low: float, high: float, side: int) -> Floats:
    """Return the matrix from a side's pixels to the frequencies of a view, `[BRIGHT_TERMS, side]`."""
    centres = (low + (np.arange(GRID) + 0.5) / GRID * (high - low)) * side - 0.5
    width = max(1.0, (high - low) * side / GRID)
    sampled = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(side)) / width)
    sampled /= sampled.sum(axis=1, keepdims=True)
    frequencies = dct(np.eye(GRID), axis=0, norm="ortho")[:BRIGHT_TERMS]
    matrix: Floats = (frequencies @ sampled).astype(np.float32)
    return matrix
