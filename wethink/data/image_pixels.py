"""Conversion of decoded images of any pixel type to 8-bit RGB."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageFile

DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras, scanners and microscopes write into 16-bit files
WHITE_IS_ZERO = (262, 0)  # TIFF tag and value: photometric interpretation


class NoColours(Exception):
    """The pixels have no agreed range or no plain RGB meaning; the message is the reason."""


def to_rgb(image: Image.Image, again: Callable[[], ImageFile.ImageFile]) -> tuple[Image.Image, str | None]:
    """Convert a loaded image to 8-bit RGB; transparent parts become white.

    Args:
        again: opens the same file anew, for the low bytes of 16-bit colours, which Pillow drops.

    Returns:
        The image, and the bits that the file uses of its 16, if these are fewer.

    Raises:
        NoColours: the pixels have no agreed range (integers over 16 bits, floats outside 0…1) or no RGB meaning.
    """
    if image.mode == "F":
        return _floats(image), None
    if image.mode.startswith("I"):
        return _integers(image)
    image, bits = _deep_colours(image, again)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"), bits
    try:
        return image.convert("RGB"), bits
    except ValueError:
        raise NoColours(f"pixels of the kind {image.mode} are not made RGB; save it as RGB") from None


def _floats(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise NoColours("floating-point pixels have an agreed range only from 0 to 1; scale them to it")
    return Image.fromarray(np.round(values * 255).astype(np.uint8)).convert("RGB")


def _integers(image: Image.Image) -> tuple[Image.Image, str | None]:
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if not 0 <= low <= high <= 65535:
        raise NoColours(f"32-bit pixels have no agreed range (here {low} to {high}); scale them to 0…65535")
    bits = _bits(high)
    scaled = (values * 255 // (2**bits - 1)).astype(np.uint8)
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(WHITE_IS_ZERO[0]) == WHITE_IS_ZERO[1]:  # Pillow inverts 8-bit pixels only
        scaled = 255 - scaled
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        scaled[values == clear] = 255
    return Image.fromarray(scaled).convert("RGB"), _remark(bits)


def _bits(high: int) -> int:
    return next(bits for bits in DEPTHS if high < 2**bits)


def _remark(bits: int) -> str | None:
    return None if bits == 16 else f"{bits} bits of 16"


def _deep_colours(image: Image.Image, again: Callable[[], ImageFile.ImageFile]) -> tuple[Image.Image, str | None]:
    """Scale 16-bit colours that use few of their bits; Pillow keeps the high byte, which is nearly black."""
    clear = image.info.get("transparency")
    if isinstance(clear, tuple) and max(clear) > 255:  # a PNG's 16-bit colour; the pixels have its high byte
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    colours = np.asarray(image)[..., :3] if image.mode in ("RGB", "RGBA") else None
    if colours is None or colours.max() >= 64:
        return image, None
    opened = again()
    tiles = [tile._replace(args=swapped) for tile in opened.tile if (swapped := _low_byte_first(tile.args)) is not None]
    if not tiles or len(tiles) != len(opened.tile):
        return image, None
    opened.tile = tiles
    opened.load()
    values = colours.astype(np.uint32) * 256 + np.asarray(opened)[..., :3]
    bits = _bits(int(values.max()))
    scaled = Image.fromarray((values * 255 // (2**bits - 1)).astype(np.uint8))
    if image.mode == "RGBA":
        scaled.putalpha(image.getchannel("A"))
    return scaled, _remark(bits)


def _low_byte_first(arguments: Any) -> Any:
    """Return a tile's decoder arguments with the byte order swapped; None: the pixels are not of 16 bits."""
    raw = arguments if isinstance(arguments, str) else arguments[0] if arguments else ""
    kind, order = str(raw)[:-1], str(raw)[-1:]
    if not kind.endswith("GB;16") and not kind.endswith("GBA;16") and not kind.endswith("GBX;16"):
        return None
    if order == "N":
        order = "L" if sys.byteorder == "little" else "B"
    swapped = kind + {"B": "L", "L": "B"}[order]
    return swapped if isinstance(arguments, str) else (swapped, *arguments[1:])
