"""Pictures as cameras, scanners and tools write them: whole pixels are accepted, missing ones never are."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, JpegImagePlugin, PngImagePlugin

from tests.data.test_ingest import encoded, folder, photo, png_header_only, run
from wethink.data.image_decoding import FIRST_FRAME, REDUCED, Unusable, accept
from wethink.data.image_repair import END, METADATA, repaired

pillow_heif.register_heif_opener()
SIZE = 10**6


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def png_chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    sum_ = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", sum_)


def png_with(chunk: bytes, image: Image.Image | None = None) -> bytes:
    """A PNG with a chunk behind its header."""
    data = encoded(image or photo())
    return data[:33] + chunk + data[33:]


def jpeg_with(marker: int, body: bytes, **options) -> bytes:
    """A JPEG with a segment behind its first marker."""
    data = encoded(photo(), "JPEG", **options)
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


def webp_with(kind: bytes, body: bytes) -> bytes:
    """A WebP in the extended form with a chunk behind its pixels."""
    plain = encoded(photo(), "WEBP", lossless=True)
    head = struct.pack("<4sIB3s3s3s", b"VP8X", 10, 0b0000_1100, b"\0\0\0", (39).to_bytes(3, "little"),
                       (29).to_bytes(3, "little"))  # fmt: skip
    inside = b"WEBP" + head + plain[12:] + kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(inside)) + inside


BOMB = zlib.compress(b"x" * 5_000_000, 9)
BESIDE_PIXELS = {
    "a comment that unfolds to 5 MB": png_with(png_chunk(b"zTXt", b"workflow\0\0" + BOMB)),
    "an international text that unfolds to 5 MB": png_with(png_chunk(b"iTXt", b"prompt\0\1\0\0\0" + BOMB)),
    "a colour profile that unfolds to 5 MB": png_with(png_chunk(b"iCCP", b"icc\0\0" + BOMB)),
    "80 MB of text in all": png_with(
        b"".join(png_chunk(b"zTXt", b"k%d\0\0" % n + zlib.compress(b"y" * 900_000)) for n in range(90))
    ),
    "a text with a wrong checksum": png_with(png_chunk(b"tEXt", b"Title\0mine", checksum=1)),
    "a resolution with a wrong checksum": png_with(png_chunk(b"pHYs", bytes(9), checksum=7)),
    "a private chunk with a wrong checksum": png_with(png_chunk(b"prVt", b"abc", checksum=7)),
    "an EXIF block that is none (PNG)": png_with(png_chunk(b"eXIf", b"II*\0\xff\xff\xff\x7f")),
    "an EXIF block that is none (JPEG)": jpeg_with(0xE1, b"Exif\0\0nothing of the kind"),
    "an EXIF block cut short": jpeg_with(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x40\0\x12\x01"),
    "a list of views cut short": jpeg_with(0xE2, b"MPF\0II*\0\x08\0\0\0\x09\0"),
    "resources of an image editor cut short": jpeg_with(0xED, b"Photoshop 3.0\0008BIM\x03\xed\0\0\0\0\0\xff"),
    "sixty comments of 64 KB": jpeg_with(0xFE, b"c" * 65_000).replace(
        b"\xff\xfe" + struct.pack(">H", 65_002) + b"c" * 65_000,
        (b"\xff\xfe" + struct.pack(">H", 65_002) + b"c" * 65_000) * 60,
    ),
    "a JFIF block cut short": jpeg_with(0xE0, b"JFIF\0\1"),
    "an EXIF block that is none (WebP)": webp_with(b"EXIF", b"garbage" * 9),
    "a comment of 300 KB (GIF)": encoded(photo(), "GIF", comment=b"c" * 300_000),
}


@pytest.mark.parametrize("beside", BESIDE_PIXELS)
def test_metadata_never_costs_a_picture_whose_pixels_are_whole(beside: str) -> None:
    data = BESIDE_PIXELS[beside]
    kind = "GIF" if data[:3] == b"GIF" else "JPEG" if data[:2] == b"\xff\xd8" else "PNG"
    accepted = accept(data, SIZE)
    assert (pixels(accepted.data) == pixels(encoded(photo(), kind))).all()
    again = Image.open(io.BytesIO(accepted.data))  # as ImageSet opens it later, without any repair
    again.load()
    assert again.size == (accepted.width, accepted.height) == (40, 30)


def test_a_picture_turned_by_its_exif_stays_upright_though_other_metadata_is_dropped() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 3_000_000, zip=True)
    turned = accept(encoded(photo(), exif=exif, pnginfo=info), SIZE)
    assert turned.repairs == (METADATA,)
    assert (turned.width, turned.height) == (30, 40)
    broken_views = jpeg_with(0xE2, b"MPF\0II*\0\x08\0\0\0\x09\0", exif=exif)
    mended, _ = repaired(broken_views) or (b"", "")
    assert (accept(mended, SIZE).width, accept(broken_views, SIZE).width) == (30, 30)


@pytest.mark.parametrize("kind", ["exif", "checksum", "header"])
def test_pixels_that_cannot_be_trusted_are_no_metadata(kind: str) -> None:
    data = bytearray(encoded(photo()))
    if kind == "header":
        data[17] ^= 1  # the width; the header's checksum does not fit any more
    elif kind == "checksum":
        data[data.index(b"IDAT") + 12] ^= 0xFF
    else:
        data[12:16] = b"eXIf"
    with pytest.raises(Unusable, match=r"damaged|not an image"):
        accept(bytes(data), SIZE)


# --- the end of a file -----------------------------------------------------------------------------------

SHAPES = {
    "PNG": {},
    "PNG, 2 KB a chunk": {"compress_level": 0},
    "JPEG": {},
    "JPEG progressive": {"progressive": True},
    "JPEG without subsampling": {"subsampling": 0, "quality": 95},
    "JPEG with restarts": {"restart_marker_rows": 1},
    "JPEG progressive with restarts": {"progressive": True, "restart_marker_blocks": 2},
    "GIF": {},
    "WEBP": {},
    "WEBP lossless": {"lossless": True},
    "BMP": {},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "PPM": {},
    "AVIF": {},
    "HEIF": {},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_file_cut_at_any_byte_gives_all_of_its_pixels_or_none(shape: str) -> None:
    data = encoded(photo(3, (33, 50)), shape.split()[0].strip(","), **SHAPES[shape])
    whole = pixels(accept(data, SIZE).data)
    taken = []
    for length in range(max(1, len(data) - 700), len(data)):
        try:
            accepted = accept(data[:length], SIZE)
        except Unusable:
            continue
        assert (pixels(accepted.data) == whole).all(), f"accepted with {len(data) - length} bytes missing"
        assert accepted.repairs == (END,) or shape == "BMP"  # the last row's padding
        taken.append(len(data) - length)
    if shape.startswith(("PNG", "JPEG")):
        assert {1, 2} <= set(taken), "the marker alone is missing"


def test_repairs_are_counted_and_named_and_the_stored_file_is_whole(tmp_path) -> None:
    source = folder(
        tmp_path / "photos",
        {
            "a.jpg": encoded(photo(1), "JPEG")[:-2],
            "b.png": encoded(photo(2))[:-12],
            "c.png": png_with(png_chunk(b"zTXt", b"k\0\0" + BOMB), photo(3)),
            "d.png": encoded(photo(4)),
        },
    )
    metrics, images, reasons = run(tmp_path, source)
    assert metrics["sources"]["photos"]["repaired"] == {END: 2, METADATA: 1} and not reasons
    assert all(images.bytes(record.id)[:4] == b"\x89PNG" for record in images.records)
    listed = [line for line in (images.folder / "repaired.jsonl").read_text().splitlines() if line]
    assert len(listed) == 3 and '"origin": "a.jpg"' in listed[0]


# --- pixels of other kinds -------------------------------------------------------------------------------

RAMP = np.linspace(0, 1, 64 * 48).reshape(48, 64)


def tiff(values: np.ndarray, order: str = "<", white_is_zero: bool = False, extra: int | None = None) -> bytes:
    """An uncompressed TIFF written by hand, for what Pillow cannot write."""
    samples = 1 if values.ndim == 2 else values.shape[2]
    bits, sign = values.dtype.itemsize * 8, 3 if values.dtype.kind == "f" else 1
    body = values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = [
        (256, 4, [values.shape[1]]), (257, 4, [values.shape[0]]), (258, 3, [bits] * samples), (259, 3, [1]),
        (262, 3, [2 if samples > 1 else 0 if white_is_zero else 1]), (273, 4, [8]), (277, 3, [samples]),
        (278, 4, [values.shape[0]]), (279, 4, [len(body)]), (339, 3, [sign] * samples),
    ]  # fmt: skip
    if extra is not None:
        tags.insert(-1, (338, 3, [extra]))
    place, tail, entries = 8 + len(body), b"", b""
    table = place + 0
    after = table + 2 + 12 * len(tags) + 4
    for tag, kind, numbers in tags:
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        if len(packed) > 4:
            packed, tail = struct.pack(f"{order}I", after + len(tail)), tail + packed
        entries += struct.pack(f"{order}HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", table)
    return head + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + tail


def png16(values: np.ndarray) -> bytes:
    """A 16-bit colour PNG, which Pillow cannot write."""
    kind = {3: 2, 4: 6, 2: 4}[values.shape[2]]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", png_chunk(b"IHDR", header), png_chunk(b"IDAT", zlib.compress(rows)),
         png_chunk(b"IEND", b"")]
    )  # fmt: skip


def grey(bits: int) -> np.ndarray:
    return np.round(RAMP * (2**bits - 1)).astype(np.uint16)


def colour(bits: int) -> np.ndarray:
    return np.stack([grey(bits), grey(bits)[::-1], grey(bits) // 2], axis=2)


DEEP = {
    **{f"{bits} bits, grey PNG": (encoded(Image.fromarray(grey(bits))), bits) for bits in (10, 12, 14, 16)},
    **{f"{bits} bits, little-endian TIFF": (tiff(grey(bits)), bits) for bits in (12, 16)},
    **{f"{bits} bits, big-endian TIFF": (tiff(grey(bits), ">"), bits) for bits in (12, 16)},
    "16 bits, big-endian TIFF by Pillow": (
        encoded(Image.frombytes("I;16B", (64, 48), grey(16).astype(">u2").tobytes()), "TIFF"),
        16,
    ),
    "12 bits, compressed TIFF": (encoded(Image.fromarray(grey(12)), "TIFF", compression="tiff_lzw"), 12),
    "32-bit integers up to 65535": (encoded(Image.fromarray(grey(16).astype(np.int32)), "TIFF"), 16),
    "floats from 0 to 1": (tiff(RAMP.astype(np.float32)), 16),
    "floats from 0 to 1, big-endian": (tiff(RAMP.astype(np.float32), ">"), 16),
}


@pytest.mark.parametrize("kind", DEEP)
def test_deep_grey_is_scaled_by_the_bits_that_it_uses(kind: str) -> None:
    data, bits = DEEP[kind]
    accepted = accept(data, SIZE)
    found = pixels(accepted.data).astype(int)
    assert np.abs(found - np.round(RAMP * 255)[..., None]).max() <= 1
    assert accepted.repairs == (() if bits == 16 else (f"{bits} bits of 16",))


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF <", "TIFF >"])
def test_deep_colours_are_scaled_by_the_bits_that_they_use(kind: str, bits: int) -> None:
    data = png16(colour(bits)) if kind == "PNG" else tiff(colour(bits), kind[-1])
    found = pixels(accept(data, SIZE).data).astype(int)
    assert np.abs(found - np.round(colour(bits) / (2**bits - 1) * 255)).max() <= 1


def test_deep_colours_with_an_opaque_alpha_are_scaled_and_keep_it() -> None:
    values = np.concatenate([colour(12), np.full((48, 64, 1), 65535, np.uint16)], axis=2)
    values[:10, :10, 3] = 0
    found = pixels(accept(png16(values), SIZE).data).astype(int)
    assert (found[:10, :10] == 255).all()
    assert np.abs(found[20:] - np.round(colour(12) / 4095 * 255)[20:]).max() <= 1


def test_white_is_zero_means_what_it_says_at_sixteen_bits_too() -> None:
    found = pixels(accept(tiff(grey(16), white_is_zero=True), SIZE).data).astype(int)
    assert np.abs(found - np.round((1 - RAMP) * 255)[..., None]).max() <= 1


@pytest.mark.parametrize("depth", ["grey", "colour"])
def test_a_clear_colour_of_sixteen_bits_becomes_white(depth: str) -> None:
    values = grey(16) if depth == "grey" else colour(16)
    values[:5, :5] = 1234
    data = encoded(Image.fromarray(values)) if depth == "grey" else png16(values)
    clear = struct.pack(">H", 1234) * (1 if depth == "grey" else 3)
    found = pixels(accept(data[:33] + png_chunk(b"tRNS", clear) + data[33:], SIZE).data)
    assert (found[:5, :5] == 255).all() and not (found[20:, 20:] == 255).all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((8, 8), 1.5, np.float32), "no colours: floating-point"),
        (np.full((8, 8), np.nan, np.float32), "no colours: floating-point"),
        (np.full((8, 8), -0.25, np.float32), "no colours: floating-point"),
        (np.full((8, 8), 70_000, np.uint32), "no colours: 32-bit"),
    ],
)
def test_pixels_without_an_agreed_range_are_rejected_with_a_remedy(values: np.ndarray, reason: str) -> None:
    with pytest.raises(Unusable, match=rf"^{reason}.*scale them"):
        accept(tiff(values), SIZE)


def clear_palette() -> Image.Image:
    image = photo(mode="P")
    image.info["transparency"] = image.getpixel((0, 0))
    return image


TRANSPARENT = {
    "LA": encoded(photo(mode="LA")),
    "LA in a TIFF": encoded(photo(mode="LA"), "TIFF"),
    "PA": encoded(photo(mode="P").convert("PA"), "TIFF"),
    "P with a clear entry": encoded(clear_palette()),
    "P with a clear entry, GIF": encoded(clear_palette(), "GIF", transparency=0),
    "1 bit": encoded(photo(mode="1")),
    "1 bit with a clear colour": encoded(photo(mode="1"), transparency=0),
    "CMYK, JPEG": encoded(photo(mode="CMYK"), "JPEG", quality=95),
    "CMYK, TIFF": encoded(photo(mode="CMYK"), "TIFF"),
    "YCbCr, TIFF": encoded(photo(mode="YCbCr"), "TIFF"),
    "grey JPEG": encoded(photo(mode="L"), "JPEG"),
    "AVIF": encoded(photo(), "AVIF", quality=95),
    "AVIF with alpha": encoded(photo(mode="RGBA"), "AVIF", quality=95),
    "HEIC": encoded(photo(), "HEIF", quality=95),
    "HEIC with alpha": encoded(photo(mode="RGBA"), "HEIF", quality=95),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_other_kinds_of_pixels_become_opaque_rgb(kind: str) -> None:
    found = Image.open(io.BytesIO(accept(TRANSPARENT[kind], SIZE).data))
    found.load()
    assert (found.format, found.mode, found.size) == ("PNG", "RGB", (40, 30))


def test_inverted_four_colour_jpegs_of_image_editors_keep_their_brightness() -> None:
    light = Image.new("RGB", (40, 30), (230, 220, 210))
    adobe = encoded(light.convert("CMYK"), "JPEG", quality=95)  # Pillow writes it inverted, as Adobe does
    assert b"Adobe" in adobe
    assert np.abs(pixels(accept(adobe, SIZE).data).astype(int) - [230, 220, 210]).max() < 12
    assert accept(adobe[:-2], SIZE).data == accept(adobe, SIZE).data


def test_a_photo_of_a_phone_is_turned_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    accepted = accept(encoded(photo(), "HEIF", exif=exif.tobytes()), SIZE)
    assert (accepted.width, accepted.height) == (30, 40)


# --- several frames --------------------------------------------------------------------------------------

FRAMES = {
    kind: encoded(photo(1), kind, save_all=True, append_images=[photo(2), photo(3)], **options)
    for kind, options in {"GIF": {}, "WEBP": {"lossless": True}, "PNG": {}, "TIFF": {}, "AVIF": {}, "HEIF": {}}.items()
}


@pytest.mark.parametrize("kind", FRAMES)
def test_several_frames_are_rejected_or_the_first_is_taken_where_the_source_says_so(kind: str, tmp_path) -> None:
    source = folder(tmp_path / "photos", {"moving": FRAMES[kind], "still.png": encoded(photo(9))})
    _, images, reasons = run(tmp_path, source)
    assert reasons["moving"].startswith("animated: 3 frames or pages") and "`animated: first`" in reasons["moving"]
    metrics, images, reasons = run(tmp_path, source.model_copy(update={"animated": "first"}))
    assert not reasons and metrics["sources"]["photos"]["repaired"] == {FIRST_FRAME: 1}
    first = np.asarray(images.open(images.records[0].id)).astype(int)
    assert np.abs(first - np.asarray(photo(1)).astype(int)).mean() < 40 > abs(first.mean() - np.mean(photo(1)))


def test_a_pyramid_is_one_picture() -> None:
    levels = [photo(1), photo(1, (20, 15)), photo(1, (10, 8))]
    buffer = io.BytesIO()
    from PIL.TiffImagePlugin import AppendingTiffWriter

    with AppendingTiffWriter(buffer, new=True) as writer:
        for place, level in enumerate(levels):
            level.save(writer, "TIFF", tiffinfo={254: 1 if place else 0})
            writer.newFrame()
    accepted = accept(buffer.getvalue(), SIZE)
    assert (pixels(accepted.data) == np.asarray(photo(1))).all() and accepted.repairs == ()


# --- size ------------------------------------------------------------------------------------------------


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)


@pytest.mark.parametrize(("size", "scale"), [((160, 120), 2), ((400, 300), 4), ((800, 600), 8)])
@pytest.mark.usefixtures("small_limit")
def test_a_photo_over_the_limit_is_decoded_at_a_reduced_size(size: tuple[int, int], scale: int) -> None:
    data = encoded(photo(size=size), "JPEG")
    accepted = accept(data, SIZE)
    assert accept(data[:-2], SIZE).data == accepted.data
    with pytest.raises(Unusable, match="truncated"):
        accept(data[: len(data) // 2], SIZE)
    assert (accepted.width, accepted.height) == (size[0] // scale, size[1] // scale)
    assert accepted.repairs == (REDUCED,)
    small = np.asarray(photo(size=size).resize((accepted.width, accepted.height), Image.Resampling.BOX)).astype(int)
    assert np.abs(pixels(accepted.data).astype(int) - small).mean() < 6


@pytest.mark.usefixtures("small_limit")
def test_formats_without_a_reduced_size_and_claims_that_no_file_can_hold_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    progressive = encoded(photo(size=(400, 300)), "JPEG", progressive=True)  # all coefficients would be in memory
    claim = bytearray(encoded(photo(size=(40, 30)), "JPEG"))
    place = claim.index(b"\xff\xc0") + 5
    claim[place : place + 4] = struct.pack(">HH", 50_000, 50_000)
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", lambda self: pytest.fail("decoded"))
    large = [encoded(photo(size=(160, 120)), kind) for kind in ("PNG", "WEBP", "TIFF", "BMP")]
    for data in (progressive, bytes(claim), png_header_only(60_000, 60_000), *large):
        with pytest.raises(Unusable, match=r"^decompression bomb: .*save it at half the size"):
            accept(data, SIZE)


# --- what is no picture ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 9\n", "git lfs pull"),
        (b"/annex/objects/SHA256E-s9--" + b"0" * 64 + b".jpg\n", "git annex get"),
        (b"outs:\n- md5: 0123\n  path: a.png\n", "dvc pull"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"\n<HTML><head>", "web page"),
        (b"\x89PNG\r\n\x1a\n", "begins as a PNG"),
        (b"II*\0\xff\xff\xff\xff", "begins as a TIFF"),
        (b"plain words", "or none of"),
        (b"\0\0\0\x1cftypheic" + b"\0" * 40, "damaged|not an image"),
    ],
)
def test_what_lies_in_a_pictures_place_is_named_with_the_remedy(data: bytes, reason: str) -> None:
    with pytest.raises(Unusable, match=reason) as caught:
        accept(data, SIZE)
    assert "\n" not in str(caught.value)
