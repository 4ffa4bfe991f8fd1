"""Safe image decoding: a file's bytes become a training image or a rejection with a reason."""

import io
import math
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps, UnidentifiedImageError

# Common formats only. Others are excluded for safety: an EPS file, for one, is a program.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
KEPT = ("PNG", "JPEG", "WEBP")  # formats whose bytes may be stored unchanged
Image.init()  # registers every decoder: `formats=` knows only those that are loaded
MAX_ASPECT = 200  # Qwen's image processor refuses a longer one
ORIENTATION = 0x0112  # EXIF tag


class Unusable(Exception):
    """An image cannot be used; the message is `reason: detail`."""


@dataclass(frozen=True)
class Accepted:
    """Bytes to store, with the image's size in pixels."""

    data: bytes
    width: int
    height: int


def accept(data: bytes, max_pixels: int) -> Accepted:
    """Return an image's bytes unchanged, or converted to a PNG fit for training.

    PNG, JPEG and WebP files that are upright, opaque 8-bit RGB of at most `max_pixels` stay as they are; all others
    are converted to that.

    Raises:
        Unusable: not an image, damaged, animated, a decompression bomb, or of a kind that has no RGB meaning.
    """
    if not data:
        raise Unusable("empty file: it has no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # faulty metadata is harmless: pixels alone are kept
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return _accept(data, max_pixels)
        except (Unusable, MemoryError):
            raise
        except UnidentifiedImageError:
            raise Unusable(f"not an image: or none of {', '.join(FORMATS)}") from None
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise Unusable(f"decompression bomb: it would unfold to over {Image.MAX_IMAGE_PIXELS} pixels") from None
        except Exception as error:  # decoders raise exceptions of any type on damaged files
            kind = "truncated" if "truncated" in str(error) else "damaged"
            raise Unusable(f"{kind}: {' '.join(str(error).split()) or type(error).__name__}") from None


def _accept(data: bytes, max_pixels: int) -> Accepted:
    image: Image.Image = Image.open(io.BytesIO(data), formats=FORMATS)  # reads the header only
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a phone's JPEG with a second view is no animation
        raise Unusable(f"animated: {frames} frames, one is wanted")
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise Unusable(f"too long: {image.width} × {image.height} pixels, over {MAX_ASPECT} times as long as wide")
    image.load()
    deep = image.format == "PNG" and data[24] == 16  # the header's bit depth, which Pillow hides
    upright = image.getexif().get(ORIENTATION, 1) == 1
    clear = "transparency" in image.info
    small = image.width * image.height <= max_pixels
    if image.format in KEPT and image.mode == "RGB" and upright and small and not deep and not clear:
        return Accepted(data, image.width, image.height)
    image = _rgb(ImageOps.exif_transpose(image))
    if not small:
        scale = math.sqrt(max_pixels / (image.width * image.height))
        size = (max(1, math.floor(image.width * scale)), max(1, math.floor(image.height * scale)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # From pixels alone, so that no colour profile or other metadata of the source file is copied.
    Image.frombytes("RGB", image.size, image.tobytes()).save(buffer, "PNG")
    return Accepted(buffer.getvalue(), image.width, image.height)


def _rgb(image: Image.Image) -> Image.Image:
    """Convert to 8-bit RGB: transparency becomes white, 16-bit grey is scaled.

    Raises:
        Unusable: the pixels have no agreed range (float, or integers over 16 bits).
    """
    if image.mode == "F":
        raise Unusable("no colours: floating-point pixels have no agreed range")
    if image.mode.startswith("I"):
        low, high = image.getextrema()
        if not (0 <= float(low) <= float(high) <= 65535):  # type: ignore[arg-type]
            raise Unusable("no colours: 32-bit pixels have no agreed range")
        import numpy as np

        return Image.fromarray((np.asarray(image).astype(np.uint32) // 257).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
