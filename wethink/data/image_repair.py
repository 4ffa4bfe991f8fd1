"""Repair of image files: damaged metadata and a missing end marker beside whole pixels.

A decoder that stumbles over metadata, which training throws away, refuses a picture whose pixels are whole. Metadata is
therefore cut out of the container (PNG, JPEG, WebP), and an absent end marker is put back. Whether a JPEG without its
end marker has all pixels is tested, since libjpeg fills missing ones with grey and raises nothing.
"""

import hashlib
import io
import re
import struct
import zlib
from collections.abc import Iterator
from random import Random

from PIL import Image, JpegImagePlugin

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
METADATA, END = "metadata dropped", "end marker restored"
ORIENTATION = 0x0112  # EXIF tag
_END_OF_IMAGE, _START_OF_SCAN = b"\xff\xd9", b"\xff\xda"
_NEXT_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # a marker behind a scan; restart markers belong to the scan
_PNG_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"eXIf")
_WEBP_PIXELS = (b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")


def lacks_end(data: bytes) -> bool:
    """Return whether a PNG, JPEG or GIF has no end marker; Pillow decodes some such files without a remark."""
    if data.startswith(PNG):
        return all(kind != b"IEND" or len(checksum) < 4 for kind, _, checksum in _chunks(data))
    if data.startswith(JPEG):
        return data.rfind(_END_OF_IMAGE) < data.rfind(_START_OF_SCAN)
    return data.startswith(b"GIF8") and not data.rstrip(b"\0").endswith(b";")


def repaired(data: bytes) -> tuple[bytes, str] | None:
    """Return a refused file without its metadata and with an end marker, and the repair's name.

    None: the file is of another kind, or some of its pixels are missing.
    """
    if data.startswith(PNG):
        return _png(data)
    if data.startswith(JPEG):
        return _jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    return None


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield kind, body and checksum of each PNG chunk; the last body may be cut short."""
    place = len(PNG)
    while place + 8 <= len(data):
        size, kind = struct.unpack(">I4s", data[place : place + 8])
        if not kind.isalpha():
            return
        end = place + 8 + size
        yield kind, data[place + 8 : end], data[end : end + 4]
        place = end + 4


def _png(data: bytes) -> tuple[bytes, str]:
    """Keep the chunks that make the pixels; the orientation's checksum is no reason to refuse them."""
    parts = [PNG]
    for kind, body, checksum in _chunks(data):
        if kind in _PNG_KEPT:
            own = checksum if kind in (b"IHDR", b"PLTE", b"IDAT") else struct.pack(">I", zlib.crc32(kind + body))
            parts += [struct.pack(">I", len(body)), kind, body, own.ljust(4, b"\0")]
    return b"".join(parts), METADATA


def _webp(data: bytes) -> tuple[bytes, str]:
    """Keep the chunks that make the pixels, under a header that states their size."""
    place, parts = 12, []
    while place + 8 <= len(data):
        kind, size = struct.unpack("<4sI", data[place : place + 8])
        body = data[place + 8 : place + 8 + size]
        if len(body) < size:  # cut short: nothing behind it can be read
            break
        if kind == b"VP8X" and body:
            body = bytes([body[0] & 0b0001_0010]) + body[1:]  # alpha and animation; no ICC profile, EXIF or XMP
        if kind == b"VP8X" or kind in _WEBP_PIXELS:
            parts += [kind, struct.pack("<I", size), body, b"\0" * (size % 2)]
        place += 8 + size + size % 2
    inside = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(inside)) + inside, METADATA


def _segments(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield marker, body and (behind a start of scan) coded pixels of each complete JPEG segment."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        if data[place + 1] == 0xFF:  # a fill byte
            place += 1
            continue
        marker = data[place + 1]
        if marker == 0xD9:
            yield marker, b"", b""
            return
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        if end > len(data):
            return
        body = data[place + 4 : end]
        pixels = b""
        if marker == 0xDA:
            found = _NEXT_MARKER.search(data, end)
            pixels = data[end : found.start() if found else len(data)]
        yield marker, body, pixels
        place = end + len(pixels)
    if data[place : place + 2] == _END_OF_IMAGE:
        yield 0xD9, b"", b""


def _jpeg(data: bytes) -> tuple[bytes, str] | None:
    segments = list(_segments(data))
    parts = [b"\xff\xd8"]
    for marker, body, pixels in segments:
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            body = _orientation_only(body)
        # JFIF and Adobe (E0, EE) decide how colours are read, EXIF how the picture is turned.
        if marker == 0xD9 or marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in (0xE0, 0xE1, 0xEE)):
            continue
        if (marker == 0xE1 and not body) or (marker == 0xE0 and len(body) < 14):
            continue
        parts += [bytes([0xFF, marker]), struct.pack(">H", len(body) + 2), body, pixels]
    pure = b"".join(parts)
    if any(marker == 0xD9 for marker, _, _ in segments):
        return pure + _END_OF_IMAGE, METADATA
    pure = pure.removesuffix(b"\xff")  # half an end marker
    return (pure + _END_OF_IMAGE, END) if _all_scans(segments) and _last_scan_is_whole(pure) else None


def _orientation_only(body: bytes) -> bytes:
    """Return an EXIF block with the orientation alone, or nothing."""
    try:
        exif = Image.Exif()
        exif.load(body)
        turned = exif.get(ORIENTATION)
    except Exception:  # as `Image.getexif`: any type, on damaged blocks
        return b""
    if not isinstance(turned, int) or not 2 <= turned <= 8:
        return b""
    only = Image.Exif()
    only[ORIENTATION] = turned
    return only.tobytes()


def _all_scans(segments: list[tuple[int, bytes, bytes]]) -> bool:
    """Return whether every coefficient of every component was sent to its last bit.

    The rule of libjpeg's `coef_bits`: a baseline scan has Ss = 0, Se = 63, Al = 0; progressive scans refine in turn.
    """
    wanted: set[tuple[int, int]] = set()
    sent: set[tuple[int, int]] = set()
    for marker, body, _ in segments:
        if 0xC0 <= marker <= 0xC2 and len(body) >= 6:
            wanted = {(body[place], k) for place in range(6, len(body) - 2, 3) for k in range(64)}
        if marker == 0xDA and body and len(body) >= 4 + 2 * body[0]:
            first, last, bits = body[1 + 2 * body[0] :][:3]
            if bits & 0x0F == 0:
                components = body[1 : 1 + 2 * body[0] : 2]
                sent |= {(component, k) for component in components for k in range(first, min(last, 63) + 1)}
    return bool(wanted) and wanted <= sent


def _last_scan_is_whole(pure: bytes) -> bool:
    """Return whether a JPEG without end marker has all coded pixels.

    Behind a whole scan further bytes change nothing; where pixels are missing they are decoded from these bytes.
    """
    seen = re.findall(b"\xff([\xd0-\xd7])", pure[pure.rfind(_START_OF_SCAN) :])
    begin = seen[-1][0] - 0xD0 + 1 if seen else 0  # libjpeg waits for the next restart marker by its number
    tails = [b""]
    for seed in range(2):
        noise = Random(seed).randbytes(4096).replace(b"\xff", b"\xfe")
        restarts = [bytes([0xFF, 0xD0 + (begin + n) % 8]) + noise[64 * n : 64 * n + 64] for n in range(64)]
        tails += [noise, b"".join(restarts)]  # also for a cut between two restart intervals
    decoded = set()
    for tail in tails:
        # Not through `Image.open`, which refuses photos over its limit. Those are baseline: a missing block shows at an
        # eighth of the size, too.
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(pure + tail + _END_OF_IMAGE))
        if image.width * image.height > 2 * (Image.MAX_IMAGE_PIXELS or 0):
            image.draft(None, (image.width // 8, image.height // 8))
        decoded.add(hashlib.sha256(image.tobytes()).digest())
    return len(decoded) == 1
