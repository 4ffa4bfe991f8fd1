"""Curation: the same picture is found under another coat and no other one is; what a benchmark tests goes, and why."""

import base64
import csv
import io
import re
from functools import partial
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest
from PIL import Image, ImageEnhance

from tests.support.memory import least_peak
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.curation import Caps, Curation, Difficulty
from wethink.config.data import Ingest, Source
from wethink.curation import duplicate_questions
from wethink.curation.contamination import collection, contaminated
from wethink.curation.filters import balance, curate
from wethink.data.drawn import SOURCES
from wethink.data.duplicates.comparison import same_picture
from wethink.data.duplicates.neighbours import Neighbours
from wethink.data.duplicates.signatures import signature, stacked
from wethink.data.image_shards import Shards
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.data.ingest import ingest

OFF = Curation(benchmarks=(), max_unreadable=0.02, caps=Caps(source=None, category=None, ability=None), difficulty=None)


def photo(number: int) -> Image.Image:
    """A real photo's part (scikit-learn's two pictures, in tiles), so that edges and textures are a camera's."""
    from sklearn.datasets import load_sample_images

    picture = Image.fromarray(load_sample_images().images[number % 2])
    x, y = 150 * (number // 2 % 4), 200 * (number // 8)
    return picture.crop((x, y, x + 150, y + 200))


def encoded(image: Image.Image, quality: int = 60) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def cropped(image: Image.Image) -> Image.Image:
    return image.crop((3, 8, image.width - 5, image.height - 2))


COATS = {
    "re-encoded": lambda image: Image.open(io.BytesIO(encoded(image, 40))),
    "smaller": lambda image: image.resize((image.width // 2, image.height // 2)),
    "larger": lambda image: image.resize((image.width * 2, image.height * 2)),
    "cropped": cropped,
    "cropped, smaller and re-encoded": lambda image: Image.open(
        io.BytesIO(encoded(cropped(image).resize((100, 130)), 70))
    ),
}


@pytest.mark.parametrize("coat", COATS)
def test_the_same_photo_is_known_under_another_coat(coat: str) -> None:
    stored = Neighbours(stacked([signature(photo(n)) for n in range(16)]))
    for number in range(0, 16, 3):
        disguised = COATS[coat](photo(number))
        assert number in stored.nearest(signature(disguised)[None])[:, 1]
        assert same_picture(photo(number), disguised) and same_picture(disguised, photo(number))


def test_no_two_different_photos_are_taken_for_the_same() -> None:
    assert not [(a, b) for a in range(8) for b in range(a) if same_picture(photo(a), photo(b))]


def test_boards_that_differ_in_one_colour_are_different_though_their_signatures_are_near() -> None:
    scenes, rng = SOURCES["scenes"], Random(1)
    near = 0
    for number in range(25):
        truth = scenes.sample(rng, [])
        first = truth["parts"][0]
        if first["shape"] == "none":
            continue
        other_colour = "red" if first["colour"] in ("blue", "green") else "blue"
        changed = truth | {"parts": [first | {"colour": other_colour}, *truth["parts"][1:]]}
        one, other = (scenes.render(shown, Random(number), 56) for shown in (truth, changed))
        near += len(Neighbours(signature(one)[None]).nearest(signature(other)[None]))
        assert not same_picture(one, other)
    assert near, "the case needs pairs that signatures alone would take for the same"


def test_photos_that_show_the_same_share_a_cluster_and_are_held_out_together(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        photo(number).save(folder / f"{number:02}.png")
        COATS["cropped"](photo(number)).save(folder / f"{number:02}-again.png")
    images, metrics = ingested(tmp_path / "one", Source(name="p", kind="folder", path=str(folder), reporting=0.4))
    by_origin = {record.origin: record for record in images.records}
    for number in range(12):
        pair = by_origin[f"{number:02}.png"], by_origin[f"{number:02}-again.png"]
        assert len({record.cluster for record in pair}) == len({record.split for record in pair}) == 1
    assert metrics["clusters"] == 12 and metrics["images"] == 24 == metrics["sources"]["p"]["stored"]
    assert 2 <= metrics["splits"]["reporting"] <= 18 and metrics["splits"]["tuning"] == 0
    again, _ = ingested(tmp_path / "two", Source(name="p", kind="folder", path=str(folder), reporting=0.4))
    assert again.records == images.records and images.open(images.records[3].id)


def test_a_training_photo_that_shows_a_held_out_one_is_quarantined(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(encoded(photo(0)), "reporting"), (encoded(cropped(photo(0))), "train"), (encoded(photo(3)), "train")]
    table = pa.table({"image": [data for data, _ in rows], "split": [split for _, split in rows]})
    pq.write_table(table, tmp_path / "given.parquet")
    loose = tmp_path / "loose"
    loose.mkdir()
    cropped(photo(0)).resize((120, 160)).save(loose / "also.png")
    images, metrics = ingested(
        tmp_path / "out",
        Source(name="given", kind="dataset", path=str(tmp_path / "given.parquet")),
        Source(name="loose", kind="folder", path=str(loose), reporting=0.0),
    )
    assert {record.origin: record.split for record in images.records} == {
        "given.parquet#0": "reporting",
        "given.parquet#2": "train",
        "also.png": "reporting",  # its source did not say, so it goes along
    }
    [quarantined] = read_jsonl(tmp_path / "out" / "quarantine.jsonl")
    assert quarantined["origin"] == "given.parquet#1" and "near-duplicate of a held-out" in quarantined["reason"]
    tally = metrics["sources"]["given"]
    assert tally["found"] == tally["stored"] + tally["duplicates"] + tally["quarantined"] == 3


def ingested(out: Path, *sources: Source) -> tuple[ImageSet, dict]:
    out.mkdir()
    config = Ingest(sources=sources, max_pixels=10**6, max_file_mb=5, shard_images=10)
    ingest(drawn=out, run=StageRun(config, out=out, scratch=out / "scratch", seed=0))
    return ImageSet(out), read_json(out / "metrics.json")


# --- benchmarks ------------------------------------------------------------------------------


def row(number: int, image: str, **changes: object) -> dict:
    return {
        "id": f"r{number}",
        "image": image,
        "scene": image,
        "source": "photos",
        "category": "FIB",
        "abilities": ["reasoning", "counting"],
        "problem": f"How many boats can be seen near pier number {number}?",
        "answer": str(number),
        **changes,
    }


@pytest.fixture
def stored(tmp_path: Path) -> ImageSet:
    """Six photos, stored under the names i0 … i5."""
    out = tmp_path / "stored"
    out.mkdir()
    shards = Shards(out, 100)
    for number in range(6):
        buffer = io.BytesIO()
        photo(number).save(buffer, "PNG")
        name = f"i{number}"
        shards.add(ImageRecord(name, "photos", "train", name, 150, 200, name), buffer.getvalue())
    shards.close()
    return ImageSet(out)


def benchmark(path: Path, *rows: dict) -> Path:
    names = ["index", "image", "question", "answer", "A", "B"]
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, names, delimiter="\t", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def near(stored: ImageSet, **pictures: str) -> Any:
    """Images that are near-duplicates of others."""
    return mock.patch.object(stored, "pictures", return_value=stored.pictures() | pictures)


def base64_of(image: Image.Image) -> str:
    return base64.b64encode(encoded(image)).decode()


def test_a_benchmark_picture_drops_every_row_about_it_and_about_what_shows_the_same(
    tmp_path: Path, stored: ImageSet
) -> None:
    path = benchmark(
        tmp_path / "bench.tsv",
        {"index": "1", "image": base64_of(cropped(photo(2))), "question": "What is this?", "answer": "a temple"},
        {"index": "2", "image": "1", "question": "And where?", "answer": "Beijing"},
        {"index": "3", "image": base64_of(photo(13)), "question": "What is that?", "answer": "another"},
        {"index": "4", "image": "9", "question": "Which picture?", "answer": "none"},
        {"index": "5", "image": base64_of(photo(13))[:200], "question": "Torn?", "answer": "yes"},
    )
    rows = [row(0, "i2"), row(1, "i2"), row(2, "i3"), row(3, "i4", scene="i2"), row(4, "i5")]
    with near(stored, i3="i2"):
        found = curate(rows, stored, OFF.model_copy(update={"benchmarks": (str(path),), "max_unreadable": 0.5}), 0)
    assert [kept["id"] for kept in found.kept] == ["r3", "r4"]
    assert found.reasons == {"contaminated": 3} and found.dropped[0]["reason"] == "contaminated: bench.tsv"
    [said] = found.benchmarks
    assert (said["rows"], said["pictures"], said["unreadable_pictures"]) == (5, 4, 2)
    assert (said["images_found"], said["rows_dropped"]) == (1, 3)
    assert said["examples"][0]["index"] == "1" and said["examples"][0]["found"] == "the picture"


def test_a_planted_copy_of_a_question_is_found_on_a_near_picture_and_the_words_alone_are_no_hit(
    tmp_path: Path, stored: ImageSet
) -> None:
    altered = ImageEnhance.Brightness(photo(1)).enhance(0.5)  # no longer the same picture, but near
    assert not same_picture(altered, photo(1))
    asked = {"question": "How many boats can be seen near the pier number 1", "A": "1", "B": "2", "answer": "A"}
    path = benchmark(
        tmp_path / "bench.tsv",
        {"index": "1", "image": base64_of(altered), **asked},
        {"index": "2", "image": base64_of(photo(13)), **asked},  # the same words and answer about another picture
        {"index": "3", "image": base64_of(altered), "question": "Which season is it?", "answer": "1"},
    )
    rows = [row(1, "i1"), row(2, "i1"), row(1, "i4", id="elsewhere")]
    found = contaminated(collection(rows, stored), path)
    assert found.questions == {"r1"} and found.images == set() and found.words_only == 2
    kept = curate(rows, stored, OFF.model_copy(update={"benchmarks": (str(path),)}), 0).kept
    assert [left["id"] for left in kept] == ["r2", "elsewhere"]


def test_several_pictures_in_a_cell_and_a_later_row_s_picture_are_read(tmp_path: Path, stored: ImageSet) -> None:
    several = str([base64_of(photo(13)), base64_of(photo(5))])
    asked = {"question": "How many boats can be seen near pier number 4?", "answer": "4"}
    path = benchmark(
        tmp_path / "bench.tsv",
        {"index": "1", "image": "2", "question": "?", "answer": ""},
        {"index": "2", "image": several, **asked},
    )
    found = contaminated(collection([row(0, "i5"), row(4, "i4")], stored), path)
    assert found.images == {"i5"} and found.pictures == 2 and found.unreadable == 0


def test_a_benchmark_is_read_in_every_dialect_that_the_benchmark_command_reads(
    tmp_path: Path, stored: ImageSet
) -> None:
    (tmp_path / "two.jpg").write_bytes(encoded(photo(2)))
    text = base64.encodebytes(encoded(photo(3))).decode()
    lines = [
        "Index\tImage\tImage_Path\tQuestion\tAnswer",
        f"1\tdata:image/jpeg;base64,{base64_of(photo(1))}\t\tq\tx",
        "2\t\ttwo.jpg\tq\tx",
        f'3\t"{text}"\t\tq\tx',
        f"4\t{base64.urlsafe_b64encode(encoded(photo(4))).decode().rstrip('=')}\t\tq\tx",
        "5\t4\t\tq\tx",
    ]
    path = tmp_path / "bench.tsv"
    path.write_text("\r\n".join(lines), encoding="utf-8-sig")
    found = contaminated(collection([row(n, f"i{n}") for n in range(6)], stored), path)
    assert found.images == {"i1", "i2", "i3", "i4"} and (found.rows, found.pictures, found.unchecked) == (5, 4, 0)


@pytest.mark.parametrize("limit", [0.3, 0.2])
def test_pictures_and_rows_that_could_not_be_compared_are_printed_and_stop_above_the_limit(
    tmp_path: Path, stored: ImageSet, capsys: pytest.CaptureFixture[str], limit: float
) -> None:
    good = [f"{n}\t{base64_of(photo(n))}\tq\tx" for n in range(6)]
    bad = [f"6\t{'*' * 90}\tq\tx", f"7\t{base64_of(photo(7))[:400]}\tq\tx", f"8\ta\ttab\t{base64_of(photo(8))}\tx"]
    path = tmp_path / "bench.tsv"
    path.write_text("\n".join(["index\timage\tquestion\tanswer", *good, *bad, "9\t\tno picture\tx"]))
    config = OFF.model_copy(update={"benchmarks": (str(path),), "max_unreadable": limit})
    rows = [row(0, "i0"), row(1, "i5", scene="i5")]
    counts = r"2 of 8 pictures and 1 of 10 rows could not be read \(row 9: 5 cells .*; index 6: .*no base64; index 7: "
    if limit < 3 / 9:
        with pytest.raises(UserError, match=counts):
            curate(rows, stored, config, 0)
        config = config.model_copy(update={"max_unreadable": 0.34})
    curate(rows, stored, config, 0)
    said = capsys.readouterr().err
    assert re.search(counts, said) and "1 of 10 rows have no picture to compare" in said


@pytest.mark.parametrize(
    "cell", ["*" * 90, "data:image/png;base64," + "A" * 80, "https://example.org/" + "a" * 60, "9"]
)
def test_a_benchmark_of_which_no_picture_can_be_read_stops_the_stage_whatever_the_limit(
    tmp_path: Path, stored: ImageSet, cell: str
) -> None:
    path = benchmark(tmp_path / "bench.tsv", {"index": "1", "image": cell, "question": "q", "answer": "x"})
    config = OFF.model_copy(update={"benchmarks": (str(path),), "max_unreadable": 1.0})
    with pytest.raises(UserError, match=r"1 of 1 pictures could not be read .*mend the file"):
        curate([row(0, "i0")], stored, config, 0)


def test_the_file_is_streamed(tmp_path: Path, stored: ImageSet) -> None:
    """Peak memory does not grow with the pictures: one at a time."""
    noise = base64.b64encode(Random(0).randbytes(200_000)).decode()
    ours, peaks = collection([row(0, "i0")], stored), []
    for count in (4, 40):
        asked = ({"index": str(n), "image": noise, "question": "q", "answer": "a"} for n in range(count))
        path = benchmark(tmp_path / "large.tsv", *asked)
        assert contaminated(ours, path).unreadable == count
        peaks.append(least_peak(partial(contaminated, ours, path)))
    assert peaks[1] < 1.2 * peaks[0], "ten times the rows, the same memory"


@pytest.mark.parametrize(
    ("text", "sentence"), [(None, "does not exist"), ("question\tanswer\nwhy\tso\n", "no column 'index'")]
)
def test_a_benchmark_that_cannot_be_read_is_a_sentence(
    tmp_path: Path, stored: ImageSet, text: str | None, sentence: str
) -> None:
    if text:
        (tmp_path / "bench.tsv").write_text(text)
    with pytest.raises(UserError, match=sentence):
        contaminated(collection([row(0, "i0")], stored), tmp_path / "bench.tsv")


# --- questions, balance, difficulty ----------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("How many red circles are there?", "how many  red circles are there ?", True),
        ("What is the title of this book?", "What is the title of this book ? Answer with one word.", True),
        ("are there more circles than squares ?", "are there more squares than circles ?", False),
        ("how many red circles are there ?", "how many blue squares are there ?", False),
    ],
)
def test_questions_are_compared_by_their_words_in_order(one: str, other: str, same: bool) -> None:
    assert duplicate_questions.same_question(one, other) is same


def test_the_options_of_a_problem_are_no_part_of_its_question() -> None:
    assert duplicate_questions.words(duplicate_questions.stem("Which is larger? A red circle B blue star")) == (
        "which",
        "is",
        "larger",
    )
    assert duplicate_questions.stem("how many boats ?") == "how many boats ?"


def test_a_question_asked_twice_of_one_picture_or_its_near_duplicate_stays_once(stored: ImageSet) -> None:
    rows = [
        row(0, "i0"),
        row(0, "i0", id="again", problem="how many boats can be seen, near pier number 0"),
        row(0, "i1"),
        row(0, "i1", id="another answer", answer="7"),
    ]
    rows[2] |= {"id": "near"}
    rows.append(row(0, "i2", id="other picture"))
    rows.append(row(0, "i3", id="joined to r0 by a row about both", scene="i0"))
    with near(stored, i1="i0"):
        found = curate(rows, stored, OFF, 0)
    assert [left["id"] for left in found.kept] == [
        "r0", "another answer", "other picture", "joined to r0 by a row about both",
    ]  # fmt: skip
    assert {gone["id"]: gone["reason"] for gone in found.dropped} == dict.fromkeys(
        ("again", "near"), "asked before: row r0"
    )


@pytest.mark.parametrize(
    ("one", "other", "repeated"),
    [
        (("What is shown?", "a circle"), ("what is shown", "A  circle."), True),
        (("What is shown?", "a circle"), ("What is shown?", "a triangle"), False),
        (("What is x?", "5"), ("What is x?", "-5"), False),
        (("What is x?", "1/2"), ("What is x?", "1 2"), False),
        (("What is x?", "+"), ("What is x?", "-"), False),
        (("What is 2 + 2?", "4"), ("What is 2 * 2?", "4"), False),
        (("What is f(-3)?", "9"), ("What is f(3)?", "9"), False),
        (("Is 3 < 5?", "yes"), ("Is 3 > 5?", "yes"), False),
        (("Which well-known tower?", "Eiffel"), ("Which well known tower", "eiffel"), True),
        (("Which? A. red B. blue", "A"), ("Which? A. red B. blue", "(a)"), True),
        (("Which? A. red B. blue", "A"), ("Which? A. red B. blue", "B"), False),
        (("Which? A. red B. blue", "A"), ("Which? A. blue B. red", "A"), False),
        (("多少个圆?", "3"), ("多少个圆 ?", "3"), True),
    ],
)
def test_a_row_is_repeated_only_if_question_and_answer_are_the_same(
    one: tuple[str, str], other: tuple[str, str], repeated: bool
) -> None:
    rows = [
        row(n, "i0", id=f"r{n}", problem=problem, answer=answer) for n, (problem, answer) in enumerate((one, other))
    ]
    assert bool(duplicate_questions.duplicates(rows)) is repeated


def test_caps_hold_for_source_category_and_every_ability_and_leave_no_room_unused() -> None:
    rows = [
        row(n, f"i{n}", source="ab"[n % 2], category=("FIB", "MC", "DES")[n % 3], abilities=["reasoning", "xyz"[n % 3]])
        for n in range(60)
    ]
    caps = {"source": 20, "category": 9, "ability": 9}
    dropped = balance(rows, caps, 0)
    kept = [one for one in rows if one["id"] not in dropped]
    for name in ("FIB", "MC", "DES"):
        assert sum(one["category"] == name for one in kept) == 9
    assert len(kept) == 27 and all(reason.startswith("over the cap: ") for reason in dropped.values())
    assert balance(rows[::-1], caps, 0) == dropped != balance(rows, caps, 1)
    assert balance(rows, dict.fromkeys(caps, None), 0) == {}


def test_difficulty_drops_the_trivial_and_the_hopeless_and_keeps_the_unmeasured(
    tmp_path: Path, stored: ImageSet
) -> None:
    passes = {"r0": (8, 8), "r1": (0, 8), "r2": (4, 8), "r3": (0, 0)}
    rates = [{"id": name, "passes": passed, "samples": of} for name, (passed, of) in passes.items()]
    write_jsonl(tmp_path / "rates.jsonl", rates)
    limits = Difficulty(rates=str(tmp_path / "rates.jsonl"), low=0.1, high=0.9)
    found = curate([row(n, f"i{n}") for n in range(5)], stored, OFF.model_copy(update={"difficulty": limits}), 0)
    assert [left["id"] for left in found.kept] == ["r2", "r3", "r4"]
    assert found.reasons == {"too easy": 1, "too hard": 1}
    write_jsonl(tmp_path / "rates.jsonl", [{"id": "r0"}])
    with pytest.raises(UserError, match="line 1: no pass rate"):
        curate([row(0, "i0")], stored, OFF.model_copy(update={"difficulty": limits}), 0)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('{"id": "r0", "samples": 8}', "line 3: no pass rate"),
        ('{"id": "r0", "passes": "8", "samples": 8}', "line 3: no pass rate"),
        ('{"id": "r0", "passes": 9, "samples": 8}', "line 3: no pass rate"),
        ('{"id": "r0", "passes": NaN, "samples": 8}', "line 3: not JSON"),
        ('{"id": "other", "passes": 1, "samples": 8}', "no pass rate of any of the 1 rows"),
    ],
)
def test_a_file_of_rates_that_would_filter_nothing_or_is_broken_is_one_sentence(
    line: str, sentence: str, tmp_path: Path, stored: ImageSet
) -> None:
    (tmp_path / "rates.jsonl").write_text('{"id": "x", "passes": 1, "samples": 2}\n\n' + line, encoding="utf-8-sig")
    limits = Difficulty(rates=str(tmp_path / "rates.jsonl"), low=0.1, high=0.9)
    with pytest.raises(UserError, match=sentence):
        curate([row(0, "i0")], stored, OFF.model_copy(update={"difficulty": limits}), 0)
