"""Safe image decoding: a file's bytes become a training image or a rejection with a reason."""

import io
import math
import threading
import warnings
from dataclasses import dataclass

from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError

from wethink.data.image_pixels import NoColours, to_rgb
from wethink.data.image_repair import END, JPEG, METADATA, ORIENTATION, PNG, lacks_end, repaired

# Common formats only. Others are excluded for safety: an EPS file, for one, is a program. HEIF stands last: its decoder
# is loaded for files that need it.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")
KEPT = ("PNG", "JPEG", "WEBP")  # formats whose bytes may be stored unchanged
Image.init()  # registers every decoder: `formats=` knows only those that are loaded
MAX_ASPECT = 200  # Qwen's image processor refuses a longer one
FIRST_FRAME, REDUCED = "first of several frames", "decoded at a reduced size"
# A baseline JPEG spends at least about a byte on 16 × 16 pixels; one that claims more is no photo.
PIXELS_PER_BYTE = 256
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_REDUCED_PAGE = (254, 1)  # TIFF tag and bit: a thumbnail or a level of a pyramid
_POINTERS = {  # what lies in a picture's place where a tool has not fetched it
    b"version https://git-lfs": "a pointer of Git LFS; run `git lfs pull`",
    b"/annex/objects/": "a pointer of git-annex; run `git annex get .`",
    b"../.git/annex/": "a pointer of git-annex; run `git annex get .`",
    b"outs:\n- md5:": "DVC's note about a file; run `dvc pull`",
    b"<!doctype html": "a web page under a picture's name; download the picture again",
    b"<html": "a web page under a picture's name; download the picture again",
}
_SIGNATURES = {PNG: "PNG", JPEG: "JPEG", b"GIF8": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"RIFF": "WebP"}


class Unusable(Exception):
    """An image cannot be used; the message is `reason: detail`."""


@dataclass(frozen=True)
class Accepted:
    """Bytes to store, their pixels as RGB, and what was repaired for them."""

    data: bytes
    image: Image.Image
    repairs: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Return the width in pixels."""
        return self.image.width

    @property
    def height(self) -> int:
        """Return the height in pixels."""
        return self.image.height


class _Warnings:
    """Filters of warnings while images are decoded.

    They belong to the process, not to a thread: the first thread inside sets them, the last one resets them.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.simplefilter("ignore")  # faulty metadata is harmless: pixels alone are kept
                warnings.simplefilter("error", Image.DecompressionBombWarning)

    def __exit__(self, *raised: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


_WARNINGS = _Warnings()


def accept(data: bytes, max_pixels: int, first_frame: bool = False) -> Accepted:
    """Return an image's bytes unchanged, or converted to a PNG fit for training.

    PNG, JPEG and WebP files that are whole, upright, opaque 8-bit RGB of at most `max_pixels` stay as they are; all
    others are converted to that. Damaged metadata and a missing end marker are repaired where all pixels are there.

    Args:
        first_frame: take the first frame of an animation or of a file of several pages; else these are rejected.

    Raises:
        Unusable: not an image, damaged, animated, a decompression bomb, or of a kind that has no RGB meaning.
    """
    if not data:
        raise Unusable("empty file: it has no bytes")
    with _WARNINGS:
        try:
            return _accept(data, max_pixels, first_frame, (END,) if lacks_end(data) else ())
        except (Unusable, MemoryError):
            raise
        except Exception as error:  # decoders raise exceptions of any type on damaged files
            reason = _reason(data, error)  # the error itself would keep this frame, and so the file, in memory
        try:
            if mended := repaired(data):
                return _accept(mended[0], max_pixels, first_frame, (mended[1],))
        except (Unusable, MemoryError):
            raise
        except Exception:
            pass
        raise Unusable(reason)


def _reason(data: bytes, error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, NoColours):
        return f"no colours: {words}"
    if not isinstance(error, UnidentifiedImageError):
        return f"{'truncated' if 'truncated' in words else 'damaged'}: {words}"
    start = data[:200].lstrip().lower()
    if pointer := next((words for mark, words in _POINTERS.items() if start.startswith(mark)), None):
        return f"not an image: {pointer}"
    if kind := next((kind for mark, kind in _SIGNATURES.items() if data.startswith(mark)), None):
        return f"damaged: it begins as a {kind}, but its header is broken or of an unknown kind"
    return f"not an image: or none of {', '.join(FORMATS)}"


def _open(data: bytes) -> tuple[ImageFile.ImageFile, bool]:
    """Read an image's header; pixels are decoded on `load`.

    A JPEG of more than Pillow's limit is set to be decoded at a half, a quarter or an eighth of its size: then the
    second value is true.

    Raises:
        Unusable: it claims more pixels than may be decoded.
    """
    container = data[4:8] == b"ftyp"  # of HEIC, and of AVIF, for which Pillow has a decoder of its own
    if container:
        import pillow_heif

        pillow_heif.register_heif_opener()
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS if container else FORMATS[:-1]), False
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        pass
    limit = Image.MAX_IMAGE_PIXELS or 0
    if data.startswith(JPEG):
        large = JpegImagePlugin.JpegImageFile(io.BytesIO(data))  # `Image.open` would refuse it before `draft`
        pixels = large.width * large.height
        # Of a progressive JPEG, libjpeg holds every coefficient in memory, whatever the size that is asked for.
        if pixels <= PIXELS_PER_BYTE * len(data) and (pixels <= 2 * limit or not large.info.get("progressive")):
            for scale in (2, 4, 8):
                if pixels <= limit * scale**2:
                    large.draft(None, (large.width // scale, large.height // scale))
                    return large, True
    raise Unusable(
        f"decompression bomb: it would unfold to over {limit} pixels; if it is a photo, save it at half the size"
    )


def _accept(data: bytes, max_pixels: int, first_frame: bool, repairs: tuple[str, ...]) -> Accepted:
    image, reduced = _open(data)
    repairs += (FIRST_FRAME,) if check_shape(image, first_frame) > 1 else ()
    repairs += (REDUCED,) if reduced else ()
    image.load()
    turn = _orientation(image)
    if turn is None:
        repairs += (METADATA,)
    deep = image.format == "PNG" and data[24] == 16  # the header's bit depth, which Pillow hides
    clear = "transparency" in image.info
    small = image.width * image.height <= max_pixels
    if image.format in KEPT and image.mode == "RGB" and turn == 1 and small and not deep and not clear and not repairs:
        return Accepted(data, image)
    pixels, remark = to_rgb(image, lambda: _open(data)[0])
    repairs += (remark,) if remark else ()
    if turn in _TURNS:
        pixels = pixels.transpose(_TURNS[turn])
    if not small:
        scale = math.sqrt(max_pixels / (pixels.width * pixels.height))
        size = (max(1, math.floor(pixels.width * scale)), max(1, math.floor(pixels.height * scale)))
        pixels = pixels.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # From pixels alone, so that no colour profile or other metadata of the source file is copied.
    pixels = Image.frombytes("RGB", pixels.size, pixels.tobytes())
    pixels.save(buffer, "PNG")
    return Accepted(buffer.getvalue(), pixels, repairs)


def check_shape(image: ImageFile.ImageFile, first_frame: bool) -> int:
    """Check frames and proportions of an opened image, whose pixels need not be read; return its number of frames.

    Raises:
        Unusable: it is an animation or has several pages, or is far longer than wide.
    """
    frames = _frames(image)
    if frames > 1 and not first_frame:
        raise Unusable(
            f"animated: {frames} frames or pages, one is wanted; `animated: first` at the source takes the first"
        )
    if max(image.size) > MAX_ASPECT * min(image.size):
        raise Unusable(f"too long: {image.width} × {image.height} pixels, over {MAX_ASPECT} times as long as wide")
    return frames


def _frames(image: ImageFile.ImageFile) -> int:
    """Count frames or pages; a phone's second view and the levels of a pyramid are none."""
    frames: int = getattr(image, "n_frames", 1)
    if image.format == "MPO":
        return 1
    if frames > 1 and image.format == "TIFF":
        frames = 0
        for page in range(getattr(image, "n_frames", 1)):
            image.seek(page)
            tags = getattr(image, "tag_v2", {})
            frames += page == 0 or not tags.get(_REDUCED_PAGE[0], 0) & _REDUCED_PAGE[1]
        image.seek(0)
    return frames


def _orientation(image: Image.Image) -> int | None:
    """Return the EXIF orientation, 1 if there is none; None: the metadata cannot be read."""
    try:
        turn = image.getexif().get(ORIENTATION, 1)
    except Exception:  # any type, on damaged metadata
        return None
    return turn if turn in _TURNS else 1
