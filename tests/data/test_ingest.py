"""Ingest: any folder or dataset in, every image accounted for, nothing that a file holds can crash it."""

import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Columns, Ingest, Source
from wethink.data.image_decoding import Unusable, accept
from wethink.data.image_store import ImageSet
from wethink.data.ingest import ingest


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(seed=0, size=(40, 30), mode="RGB"):
    """A small picture with some structure."""
    image = Image.radial_gradient("L").resize(size).point(lambda value: (value + 37 * seed) % 256)
    return Image.merge("RGB", (image, image.rotate(90), image.rotate(180))).convert(mode)


def png_header_only(width, height):
    """A PNG that claims a size; its pixels would unfold to it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def run(tmp_path, *sources, **settings):
    out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
    out.mkdir()
    config = Ingest(sources=sources, **{"max_pixels": 10_000, "max_file_mb": 1, "shard_images": 5000} | settings)
    metrics = ingest(drawn=tmp_path / "drawn", run=StageRun(config, out=out, scratch=out, seed=0))
    assert metrics == read_json(out / "metrics.json")
    quarantine = list(read_jsonl(out / "quarantine.jsonl"))
    for name, tally in metrics["sources"].items():  # counts in = counts out
        assert tally["found"] == tally["stored"] + tally["duplicates"] + tally["quarantined"]
        assert tally["quarantined"] == sum(tally["reasons"].values())
        assert tally["quarantined"] == sum(entry["source"] == name for entry in quarantine)
    images = ImageSet(out)
    assert len(images) == metrics["images"] == sum(tally["stored"] for tally in metrics["sources"].values())
    return metrics, images, {entry["origin"]: entry["reason"] for entry in quarantine}


def folder(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return Source(name="photos", kind="folder", path=str(path), reporting=0.0)


def parquet(path, column, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": column, **columns}), path)
    return Source(name="set", kind="dataset", path=str(path), reporting=0.0)


def test_every_bad_file_is_quarantined_with_its_reason(tmp_path):
    good, jpeg = encoded(photo()), encoded(photo(1, (400, 300)), "JPEG")
    frames = [photo(i) for i in range(3)]
    source = folder(
        tmp_path / "photos",
        {
            "a/good.png": good,
            "a/notes.txt": b"not a picture at all",
            "animated.gif": encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]),
            "animated.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
            "bomb.png": png_header_only(60_000, 60_000),
            "cut.jpg": jpeg[: len(jpeg) // 2],
            "cut.png": good[: len(good) // 2],
            "damaged.png": good[:60] + bytes(20) + good[80:],
            "empty.png": b"",
            "float.tiff": encoded(Image.new("F", (8, 8), 300.5), "TIFF"),
            "large.png": good + bytes(2 * 2**20),
            "long.png": encoded(photo(size=(1000, 2))),
            "program.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
        },
    )
    root = tmp_path / "photos"
    (root / "gone.png").symlink_to(root / "nowhere.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "linked").symlink_to(tmp_path)
    os.mkfifo(root / "pipe.png")
    metrics, images, reasons = run(tmp_path, source)
    expected = {
        "a/notes.txt": "not an image",
        "animated.gif": "animated: 3 frames",
        "animated.webp": "animated: 3 frames",
        "bomb.png": "decompression bomb",
        "cut.jpg": "truncated",
        "cut.png": "truncated",
        "damaged.png": "damaged",
        "empty.png": "empty file",
        "float.tiff": "no colours",
        "large.png": "too large: 2.0 MB",
        "long.png": "too long",
        "program.eps": "not an image",
        "gone.png": "missing",
        "loop.png": "unreadable",
        "linked": "a linked folder: it is not followed",
        "pipe.png": "not a file",
    }
    assert reasons.keys() == expected.keys()
    assert all(reasons[origin].startswith(start) for origin, start in expected.items()), reasons
    assert [record.origin for record in images.records] == ["a/good.png"]
    assert metrics["sources"]["photos"]["found"] == 17


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    from PIL import PngImagePlugin

    def refuse(self):
        raise AssertionError(f"decoded {self.size}")

    source = folder(
        tmp_path / "photos", {"bomb.png": png_header_only(10_000, 10_000), "good.jpg": encoded(photo(), "JPEG")}
    )
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", refuse)
    assert run(tmp_path, source)[2]["bomb.png"].startswith("decompression bomb")


def test_a_file_that_may_not_be_read_is_quarantined(tmp_path, monkeypatch):
    source = folder(tmp_path / "photos", {"good.png": encoded(photo()), "locked.png": encoded(photo(1))})
    read = Path.read_bytes

    def locked(path):
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", locked)
    assert run(tmp_path, source)[2] == {"locked.png": "unreadable: Permission denied"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_good_image_keeps_its_bytes(kind, tmp_path):
    data = encoded(photo(), kind)
    _, images, _ = run(tmp_path, folder(tmp_path / "photos", {"one": data}))
    assert images.bytes(images.records[0].id) == data


def stored(tmp_path, data, **settings):
    _, images, reasons = run(tmp_path, folder(tmp_path / "photos", {"one": data}), **settings)
    assert not reasons
    (record,) = images.records
    raw = Image.open(io.BytesIO(images.bytes(record.id)))
    assert (raw.format, raw.mode) == ("PNG", "RGB")
    assert raw.size == (record.width, record.height)
    return raw


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK"])
def test_other_colour_modes_become_rgb(mode, tmp_path):
    image = photo(mode=mode)
    raw = stored(tmp_path, encoded(image, "TIFF"))
    assert raw.tobytes() == image.convert("RGB").tobytes()


def test_transparent_parts_become_white(tmp_path):
    image = photo(mode="RGBA")
    image.paste((200, 10, 10, 0), (0, 0, 20, 30))
    raw = stored(tmp_path, encoded(image))
    assert raw.getpixel((5, 5)) == (255, 255, 255)
    assert raw.getpixel((30, 15)) == photo().getpixel((30, 15))


def test_sixteen_bit_grey_is_scaled_not_cut_off(tmp_path):
    image = Image.new("I;16", (10, 10), 32768)
    assert stored(tmp_path, encoded(image)).getpixel((0, 0)) == (127, 127, 127)


def test_a_turned_photo_is_stored_upright_and_without_its_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° to view
    raw = stored(tmp_path, encoded(photo(size=(40, 30)), "JPEG", exif=exif))
    assert raw.size == (30, 40)
    assert not raw.getexif()


def test_the_first_view_of_a_phones_two_is_taken(tmp_path):
    raw = stored(tmp_path, encoded(photo(), "MPO", save_all=True, append_images=[photo(1)]))
    assert abs(raw.getpixel((0, 0))[0] - photo().getpixel((0, 0))[0]) < 20


def test_a_large_image_is_scaled_down_keeping_its_aspect(tmp_path):
    raw = stored(tmp_path, encoded(photo(size=(400, 200))), max_pixels=5000)
    assert raw.size == (100, 50)


def test_every_thread_refuses_a_decompression_bomb_and_the_filters_of_warnings_stay():
    before = list(warnings.filters)

    def refused(number):
        try:
            return accept(png_header_only(10_000, 10_000) if number % 2 else encoded(photo(number)), 10**6) and ""
        except Unusable as reason:
            return str(reason).split(":")[0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(refused, range(400))) == ["", "decompression bomb"] * 200
    assert warnings.filters == before


def test_exact_duplicates_are_counted_and_the_first_is_kept(tmp_path):
    first = folder(tmp_path / "photos", {"a.png": encoded(photo()), "b.png": encoded(photo())})
    second = parquet(tmp_path / "set.parquet", [encoded(photo()), encoded(photo(1))])
    metrics, images, _ = run(tmp_path, first, second)
    assert [record.origin for record in images.records] == ["a.png", "set.parquet#1"]
    assert [metrics["sources"][name]["duplicates"] for name in ("photos", "set")] == [1, 1]


def test_the_same_sources_give_the_same_bytes_in_shards_of_the_asked_size(tmp_path):
    source = folder(tmp_path / "photos", {f"{i}.png": encoded(photo(i)) for i in range(5)})
    _, first, _ = run(tmp_path, source, shard_images=2)
    _, second, _ = run(tmp_path, source, shard_images=2)
    shards = sorted(path.name for path in first.folder.glob("shard-*.parquet"))
    assert shards == ["shard-00000.parquet", "shard-00001.parquet", "shard-00002.parquet"]
    assert all((first.folder / s).read_bytes() == (second.folder / s).read_bytes() for s in shards)
    assert [record.origin for record in first.records] == [f"{i}.png" for i in range(5)]


def test_images_are_found_by_id_also_when_the_cache_is_tiny(tmp_path, monkeypatch):
    monkeypatch.setattr("wethink.data.image_store._CACHE_BYTES", 1)
    files = {f"{i}.png": encoded(photo(i)) for i in range(6)}
    _, images, _ = run(tmp_path, folder(tmp_path / "photos", files), shard_images=2)
    for record in reversed(images.records):
        assert images.bytes(record.id) == files[record.origin]
        assert images.open(record.id).mode == "RGB"
    assert len(images._cache) == 1


def test_an_unknown_image_names_the_id_and_the_folder(tmp_path):
    _, images, _ = run(tmp_path, folder(tmp_path / "photos", {"a.png": encoded(photo())}))
    with pytest.raises(UserError, match=rf"{images.folder} has no image 'nobody'"):
        images.open("nobody")
    with pytest.raises(UserError, match="holds no images"):
        ImageSet(tmp_path / "photos")


# --- datasets --------------------------------------------------------------------------------------------


def test_a_dataset_may_hold_bytes_or_paths_or_both(tmp_path):
    folder(tmp_path / "data", {"by_path.png": encoded(photo(1)), "hidden/by_path.png": encoded(photo(2))})
    cells = [
        {"bytes": encoded(photo(0)), "path": "ignored.png"},
        {"bytes": None, "path": "by_path.png"},
        {"bytes": None, "path": None},
    ]
    pq.write_table(pa.table({"image": cells}), tmp_path / "data" / "a.parquet")
    pq.write_table(pa.table({"image": ["hidden/by_path.png"]}), tmp_path / "data" / "b.parquet")
    pq.write_table(pa.table({"image": [encoded(photo(3))]}), tmp_path / "data" / "c.parquet")
    metrics, images, reasons = run(tmp_path, Source(name="set", kind="dataset", path=str(tmp_path / "data")))
    assert [record.origin for record in images.records] == [
        "a.parquet#0",
        "a.parquet#1",
        "b.parquet#0",
        "c.parquet#0",
    ]
    assert reasons == {"a.parquet#2": "missing: the row has no image"}
    assert {record.split for record in images.records} == {"train"}
    assert all(record.cluster == record.id for record in images.records)
    assert metrics["sources"]["set"]["found"] == 5


def test_paths_inside_data_never_lead_out_of_the_source(tmp_path):
    (tmp_path / "secret.png").write_bytes(encoded(photo(7)))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link.png").symlink_to(tmp_path / "secret.png")
    paths = ["../secret.png", str(tmp_path / "secret.png"), "link.png", "bad\0name.png", "fine.png", "."]
    (tmp_path / "data" / "fine.png").write_bytes(encoded(photo()))
    _, images, reasons = run(tmp_path, parquet(tmp_path / "data" / "a.parquet", paths))
    assert [record.origin for record in images.records] == ["a.parquet#4"]
    assert [reasons[f"a.parquet#{i}"].split(":")[0] for i in range(4)] == ["outside the source"] * 3 + ["unreadable"]
    assert reasons["a.parquet#5"].startswith("not a file")


def test_a_saved_hugging_face_dataset_is_read(tmp_path):
    import datasets

    images = [{"bytes": encoded(photo(i)), "path": None} for i in range(3)]
    features = datasets.Features({"picture": datasets.Image(), "scene": datasets.Value("string")})
    saved = datasets.Dataset.from_dict({"picture": images, "scene": ["a", "b", "b"]}, features)
    saved.save_to_disk(str(tmp_path / "saved"))
    source = Source(name="saved", kind="dataset", path=str(tmp_path / "saved"), columns=Columns(image="picture"))
    _, found, _ = run(tmp_path, source)
    assert [record.cluster for record in found.records] == ["a", "b", "b"]
    assert [found.bytes(record.id) for record in found.records] == [image["bytes"] for image in images]
    datasets.DatasetDict({"train": saved, "test": saved}).save_to_disk(str(tmp_path / "several"))
    with pytest.raises(UserError, match=r"holds several splits \(test, train\); name one"):
        run(
            tmp_path,
            Source(name="several", kind="dataset", path=str(tmp_path / "several"), columns=Columns(image="picture")),
        )


def test_split_and_scene_are_carried_and_an_unknown_split_is_quarantined(tmp_path):
    column = [encoded(photo(i)) for i in range(3)]
    source = parquet(tmp_path / "s.parquet", column, split=["reporting", None, "test"], scene=["x", None, "z"])
    _, images, reasons = run(tmp_path, source)
    first, second = images.records
    assert (first.split, first.cluster) == ("reporting", "x")
    assert (second.split, second.cluster) == ("train", second.id)
    assert reasons["s.parquet#2"].startswith("unknown split: 'test'")


def test_an_image_that_is_held_out_cannot_be_given_to_training_by_another_source(tmp_path):
    photos = folder(tmp_path / "photos", {"same.png": encoded(photo()), "b.png": encoded(photo(1))})
    held = parquet(tmp_path / "held.parquet", [encoded(photo())], split=["reporting"])
    with pytest.raises(UserError, match=r"held\.parquet#0 is held out.*same\.png.*list 'set' first"):
        run(tmp_path, photos, held)
    _, images, _ = run(tmp_path, held, photos)
    assert {record.origin: record.split for record in images.records} == {
        "held.parquet#0": "reporting",
        "b.png": "train",
    }


@pytest.mark.parametrize("column", ["split", "scene", "image"])
def test_a_text_in_another_encoding_costs_its_row_alone(column, tmp_path):
    """Arrow checks texts when they are read, and not when they are written."""

    def texts(*values):
        return pa.array(values, pa.binary()).cast(pa.binary()).view(pa.string())

    folder(tmp_path, {f"{n}.png": encoded(photo(n)) for n in range(3)})
    columns = {"image": [b"0.png", b"1.png", b"2.png"], "split": [b"train"] * 3, "scene": [b"a", b"b", b"c"]}
    columns[column][1] = b"caf\xe9"
    pq.write_table(pa.table({name: texts(*values) for name, values in columns.items()}), tmp_path / "t.parquet")
    _, images, reasons = run(tmp_path, Source(name="set", kind="dataset", path=str(tmp_path / "t.parquet")))
    assert [record.origin for record in images.records] == ["t.parquet#0", "t.parquet#2"]
    assert reasons == {"t.parquet#1": "unreadable: the row has a text that is no UTF-8"}


@pytest.mark.parametrize(
    "cell", [{"bytes": [1, 2], "path": None}, {"bytes": 7, "path": None}, {"bytes": None, "path": 1.5}]
)
def test_a_cell_of_another_kind_is_named(cell, tmp_path):
    pq.write_table(pa.table({"image": [cell]}), tmp_path / "t.parquet")
    good = folder(tmp_path / "photos", {"a.png": encoded(photo())})
    with pytest.raises(UserError, match="no usable image: not an image"):
        run(tmp_path, good, Source(name="set", kind="dataset", path=str(tmp_path / "t.parquet")))


def test_a_column_that_occurs_twice_is_named(tmp_path):
    column = pa.array([encoded(photo())])
    pq.write_table(pa.Table.from_arrays([column, column], names=["image", "image"]), tmp_path / "t.parquet")
    with pytest.raises(UserError, match=r"columns\.image: t\.parquet has the column 'image' 2 times"):
        run(tmp_path, Source(name="set", kind="dataset", path=str(tmp_path / "t.parquet")))


# --- mistakes --------------------------------------------------------------------------------------------


def test_a_users_mistake_is_one_sentence_that_names_the_key(tmp_path):
    good = folder(tmp_path / "photos", {"a.png": encoded(photo())})
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("words")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 broken")
    parquet(tmp_path / "numbers.parquet", [1, 2], label=["a", "b"])
    parquet(tmp_path / "none.parquet", pa.array([], pa.binary()))

    def other(kind="folder", **fields):
        return Source(name="other", kind=kind, **fields)

    for source, message in [
        (other(path=str(tmp_path / "nowhere")), r"sources\[1\]\.path: .*nowhere does not exist"),
        (other(path=str(tmp_path / "empty")), r"sources\[1\]\.path: .*empty is empty"),
        (other(path=str(tmp_path / "text")), r"sources\[1\]: source 'other' has no usable image: not an image \(1\)"),
        (other(path=str(tmp_path / "broken.parquet")), "is a file; name a folder"),
        (other("dataset", path=str(tmp_path / "broken.parquet")), "cannot be read as a dataset"),
        (other("dataset", path=str(tmp_path / "none.parquet")), r"none\.parquet is empty"),
        (other("dataset", path=str(tmp_path / "empty")), r"sources\[1\]\.path: .*empty is empty"),
        (
            other("dataset", path=str(tmp_path / "numbers.parquet"), columns=Columns(image="photo")),
            r"sources\[1\]\.columns\.image: numbers\.parquet has no column 'photo'; it has: image, label",
        ),
        (
            other("dataset", path=str(tmp_path / "numbers.parquet")),
            r"columns\.image: 'image' of numbers\.parquet holds no images",
        ),
        (other("drawn"), r"sources\[1\]\.name: no drawn source 'other' \(drawn are: none\)"),
        (good, "each name once"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            run(tmp_path, good, source)
        assert "\n" not in str(caught.value)
