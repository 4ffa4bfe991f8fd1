"""The drawn sources: what is held out stays out, questions are balanced, answers and pictures are true."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Draw, Source
from wethink.data.drawn import SOURCES, charts
from wethink.data.drawn.draw import draw, split_of
from wethink.data.drawn.palette import COLOURS

CONFIG = Draw(
    sources=tuple(SOURCES),
    image_size=56,
    pretrain=150,
    train=121,
    tuning=45,
    reporting=60,
    questions_per_image=2,
)
CELLS = ["top left", "top right", "bottom left", "bottom right"]


def drawn_into(out: Path, config: Draw = CONFIG, seed: int = 0) -> Path:
    out.mkdir()
    draw(run=StageRun(config, out=out, scratch=out, seed=seed))
    return out


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return drawn_into(tmp_path_factory.mktemp("draw") / "drawn")


def test_only_ingested_sources_are_drawn_and_each_as_if_all_were(drawn, tmp_path: Path) -> None:
    def only(name: str, *sources: Source) -> Path:
        out = tmp_path / name
        out.mkdir()
        draw(run=StageRun(CONFIG, out=out, scratch=out, seed=0), sources=sources)
        return out

    mine = Source(name="scenes", kind="folder", path="photos")  # a name is drawn only if its kind is
    part = only("part", Source(name="charts", kind="drawn"), mine)
    assert [path.stem for path in (part / "images").iterdir()] == ["charts"]
    for name in ("images/charts.parquet", "truth/charts.jsonl"):
        assert (part / name).read_bytes() == (drawn / name).read_bytes()
    of_charts = [item for item in read_jsonl(drawn / "items/reporting.jsonl") if item["source"] == "charts"]
    assert list(read_jsonl(part / "items/reporting.jsonl")) == of_charts
    none = only("none", mine)
    assert read_json(none / "metrics.json")["images"] == {} and not list((none / "images").iterdir())
    assert list(read_jsonl(none / "items/reporting.jsonl")) == []


def truths(drawn):
    return [record for name in SOURCES for record in read_jsonl(drawn / "truth" / f"{name}.jsonl")]


def leaks(records):
    """Scenes, images, scans and table rows (by their values) that occur on two sides of the split."""
    sides: dict[tuple[str, str], set[str]] = {}
    for record in records:
        side = record["split"] if record["split"] in ("tuning", "reporting") else "training"
        material = SOURCES[record["source"]].material()
        for kind, value in [
            ("scene", record["scene"]),
            ("image", record["image"]),
            *(("material", material[thing]) for thing in record["made_of"]),
        ]:
            sides.setdefault((kind, value), set()).add(side)
    return [thing for thing, where in sides.items() if len(where) > 1]


def test_nothing_held_out_occurs_in_another_split(drawn):
    records = truths(drawn)
    assert leaks(records) == []
    assert len({record["scene"] for record in records}) == len(records)  # no scene is drawn twice


def test_the_side_of_a_scene_depends_on_the_scene_alone(drawn):
    # so that a larger draw, or another rendering, can never move it to the other side
    for record in truths(drawn):
        side = "train" if record["split"] == "pretrain" else record["split"]
        assert split_of(0, record["scene"]) == side
        assert all(split_of(0, SOURCES[record["source"]].material()[t]) == side for t in record["made_of"])


def test_the_leak_test_catches_a_planted_leak(drawn):
    records = truths(drawn)
    held_out = next(r for r in records if r["split"] == "reporting" and r["source"] == "charts")
    moved = held_out | {"image": "another rendering", "scene": "elsewhere", "split": "train"}
    assert len(leaks([*records, moved])) >= len(held_out["made_of"])


def test_counts_are_as_asked_and_everything_joins_by_id(drawn):
    records = {record["image"]: record for record in truths(drawn)}
    assert Counter(record["split"] for record in records.values()) == {
        "pretrain": 150,
        "train": 121,
        "tuning": 45,
        "reporting": 60,
    }
    stored = {}
    for name in SOURCES:
        for row in pq.read_table(drawn / "images" / f"{name}.parquet").to_pylist():
            stored[hashlib.sha256(row["image"]["bytes"]).hexdigest()] = (row["scene"], row["split"])
    assert stored == {image: (record["scene"], record["split"]) for image, record in records.items()}
    for split in ("tuning", "reporting"):
        items = list(read_jsonl(drawn / "items" / f"{split}.jsonl"))
        assert len({item["id"] for item in items}) == len(items) == 2 * getattr(CONFIG, split)
        assert len({(item["image"], item["kind"]) for item in items}) == len(items)
        for item in items:
            assert records[item["image"]]["split"] == split
    assert read_json(drawn / "metrics.json")["distinct_scenes"] == len(records)


def test_held_out_answers_are_the_truth(drawn):
    records = {record["image"]: record for record in truths(drawn)}
    for split in ("tuning", "reporting"):
        for item in read_jsonl(drawn / "items" / f"{split}.jsonl"):
            assert item["answer"] == read_off(item["problem"], item["source"], records[item["image"]]["parts"])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(drawn, tmp_path):
    again, other = drawn_into(tmp_path / "again"), drawn_into(tmp_path / "other", seed=1)
    files = sorted(path.relative_to(drawn) for path in drawn.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert all((drawn / file).read_bytes() == (again / file).read_bytes() for file in files)
    assert not {r["image"] for r in truths(drawn)} & {r["image"] for r in truths(other)}


def test_more_images_leave_the_others_and_their_questions_alone(drawn, tmp_path):
    more = drawn_into(tmp_path / "more", CONFIG.model_copy(update={"reporting": 90}))
    assert {r["image"] for r in truths(drawn)} < {r["image"] for r in truths(more)}
    before = {item["id"]: item for item in read_jsonl(drawn / "items" / "reporting.jsonl")}
    after = {item["id"]: item for item in read_jsonl(more / "items" / "reporting.jsonl")}
    assert before.items() <= after.items()


def test_the_drawn_files_are_a_hugging_face_image_dataset(drawn):
    metadata = pq.read_schema(drawn / "images" / "scenes.parquet").metadata[b"huggingface"]
    assert json.loads(metadata)["info"]["features"]["image"] == {"_type": "Image"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 60}, r"draw\.image_size: 60 is no multiple of 28"),
        ({"sources": ("scenes", "scenes")}, r"draw\.sources: name each source once"),
    ],
)
def test_impossible_settings_are_explained(change, message, tmp_path):
    with pytest.raises(UserError, match=message):
        drawn_into(tmp_path / "drawn", CONFIG.model_copy(update=change))


def test_a_world_that_is_too_small_is_an_error_not_an_endless_loop(monkeypatch, tmp_path):
    monkeypatch.setattr(charts, "scene", lambda truth: "always the same")
    with pytest.raises(UserError, match=r"source 'charts' has only about \d distinct scenes"):
        drawn_into(tmp_path / "drawn", CONFIG.model_copy(update={"sources": ("charts",)}))


# --- questions -------------------------------------------------------------------------------------------


def asked(name, count=2500):
    """Questions about freshly thought-of images, with their answers."""
    source, rng = SOURCES[name], Random(f"test {name}")
    pool = list(source.material())
    for _ in range(count):
        parts = source.sample(rng, pool)["parts"]
        question = source.ask(parts, rng)
        yield question, parts, *source.solve(question, parts)


def read_off(problem, name, parts):
    """The answer from the problem's words alone, found another way than by the product's code."""
    problem, *options = re.split(r" [A-D] ", problem)
    answer = READINGS[name](problem, parts)
    return "ABCD"[options.index(answer)] if options else answer


def read_scene(problem, parts):
    names = [" ".join([part["colour"], part["shape"]]).replace("none none", "no thing") for part in parts]
    words = [[*name.split(), name.split()[-1] + ("es" if name.endswith("cross") else "s")] for name in names]

    def number(*wanted):
        return sum(any(word in wanted for word in seen) for seen in words)

    if problem == "describe the picture":
        return " , ".join(names)
    if match := re.fullmatch(r"how many things are (\w+) \?", problem):
        return str(number(match[1]))
    if match := re.fullmatch(r"how many (\w+) are there \?", problem):
        return str(number(match[1]))
    if match := re.fullmatch(r"are there more (\w+) than (\w+) \?", problem):
        return "yes" if number(match[1]) > number(match[2]) else "no"
    return names[CELLS.index(re.fullmatch(r"which thing is (.*) \?", problem)[1])]


def read_chart(problem, parts):
    levels = {part["colour"]: part["level"] for part in parts}
    order = sorted(levels, key=levels.__getitem__)
    if problem == "describe the picture":
        return " , ".join(f"{colour} {level}" for colour, level in levels.items())
    if problem == "which colour is largest ?":
        return order[-1]
    if problem == "which colour is smallest ?":
        return order[0]
    if match := re.fullmatch(r"is (\w+) larger than (\w+) \?", problem):
        return "yes" if levels[match[1]] - levels[match[2]] > 0 else "no"
    return str(levels[re.fullmatch(r"what is the level of (\w+) \?", problem)[1]])


def read_digits(problem, parts):
    digits = [part["digit"] for part in parts]
    if problem == "describe the picture":
        return " , ".join(map(str, digits))
    if problem == "which digit is largest ?":
        return str(sorted(digits)[-1])
    if problem == "where is the smallest digit ?":
        return CELLS[digits.index(sorted(digits)[0])]
    if match := re.fullmatch(r"how many digits are larger than (\d) \?", problem):
        return str(len([d for d in digits if d > int(match[1])]))
    match = re.fullmatch(r"is the (.*) digit larger than the (.*) digit \?", problem)
    return "yes" if digits[CELLS.index(match[1])] > digits[CELLS.index(match[2])] else "no"


READINGS = {
    "scenes": read_scene,
    "charts": read_chart,
    "digits": read_digits,
}


@pytest.mark.parametrize("name", SOURCES)
def test_answers_agree_with_an_independent_reading(name):
    kinds = Counter()
    for question, parts, _, answer in asked(name):
        assert answer == read_off(question.problem, name, parts), (question, parts)
        kinds[question.kind] += 1
    assert set(kinds) == {*SOURCES[name].KINDS, "describe"}
    assert min(kinds.values()) > 80


@pytest.mark.parametrize("name", SOURCES)
def test_no_answer_dominates(name):
    answers: dict[str, Counter[str]] = {}
    descriptions = 0
    for question, _, _, answer in asked(name, 9000):
        descriptions += question.category == "DES"
        answers.setdefault(question.kind, Counter())[answer] += 1
    assert 0.09 < descriptions / 9000 < 0.11
    for kind, counts in answers.items():
        shares = {answer: count / counts.total() for answer, count in counts.items()}
        if set(shares) == {"yes", "no"}:
            assert 0.45 < shares["yes"] < 0.55, (kind, shares)
        elif set(shares) == set("ABCD"):
            assert all(0.2 < share < 0.3 for share in shares.values()), (kind, shares)
        else:
            assert max(shares.values()) < 0.4, (kind, shares)


@pytest.mark.parametrize("name", SOURCES)
def test_a_path_lists_what_is_seen_and_all_is_short(name):
    for question, parts, steps, _ in asked(name, 1000):
        assert steps.split(" . ")[0] == SOURCES[name].describe(parts)
        assert len(steps.split()) <= 22
        assert len(question.problem.split()) <= (24 if question.category == "MC" else 14)
        assert (question.reward == "model") == (question.category == "DES")


def test_the_vocabulary_is_small_and_lower_case():
    words = {
        word
        for name in SOURCES
        for question, _, steps, answer in asked(name, 2000)
        for text in (question.problem, steps, answer)
        for word in text.split()
    }
    assert len(words) < 170
    assert {word for word in words if word != word.lower()} == set("ABCD")


@pytest.mark.parametrize("name", SOURCES)
def test_a_misread_part_differs_and_every_question_still_has_an_answer(name):
    source, rng = SOURCES[name], Random(0)
    for question, parts, _, answer in asked(name, 1000):
        seen = [source.misread(part, rng) for part in parts]
        assert all(a != b and a.keys() == b.keys() for a, b in zip(seen, parts, strict=True))
        steps, wrong = source.solve(question, seen)
        assert steps.split(" . ")[0] == source.describe(seen) and wrong
        assert (wrong in tuple("ABCD")) == (answer in tuple("ABCD"))


def test_asking_is_a_pure_function_of_parts_and_generator():
    for name, source in SOURCES.items():
        parts = source.sample(Random(3), list(source.material()))["parts"]
        alone = source.ask(parts, Random(5))
        list(asked(name, 50))
        assert source.ask(parts, Random(5)) == alone


# --- pictures --------------------------------------------------------------------------------------------


def nearest(pixel):
    """The colour that a pixel is of, or None for the canvas."""
    distance = {name: sum((a - b) ** 2 for a, b in zip(pixel, rgb, strict=True)) for name, rgb in COLOURS.items()}
    best = min(distance, key=distance.get)
    return best if distance[best] < 3 * 30**2 else None


def colours_of(image):
    return Counter(colour for pixel in image.get_flattened_data() if (colour := nearest(pixel)))


def renderings(name, style, count=40):
    source, rng = SOURCES[name], Random(f"render {style}")
    pool = list(source.material())
    while count:
        truth = source.sample(rng, pool)
        if truth["style"] == style:
            count -= 1
            yield truth["parts"], source.render(truth, rng, 56)


def test_boards_show_their_parts_in_their_cells():
    for parts, image in renderings("scenes", "board"):
        for index, part in enumerate(parts):
            left, top = 28 * (index % 2), 28 * (index // 2)
            seen = colours_of(image.crop((left, top, left + 28, top + 28)))
            assert (seen.most_common(1) or [("none", 0)])[0][0] == part["colour"]


def test_bars_are_as_high_as_their_levels():
    for parts, image in renderings("charts", "bar"):
        for index, part in enumerate(parts):
            middle = image.crop((14 * index + 7, 0, 14 * index + 8, 56))
            assert round(colours_of(middle)[part["colour"]] / (56 * 0.94 / 5)) == part["level"]


def test_points_of_a_line_are_ordered_as_their_levels():
    for parts, image in renderings("charts", "line", 8):
        heights = []
        for part in parts:
            rows = [y for y in range(56) for x in range(56) if nearest(image.getpixel((x, y))) == part["colour"]]
            heights.append(56 - sum(rows) / len(rows))
        for a in range(4):
            for b in range(4):
                if parts[a]["level"] > parts[b]["level"]:
                    assert heights[a] > heights[b]


def test_slices_of_a_pie_are_as_large_as_their_levels():
    for parts, image in renderings("charts", "pie"):
        assert sum(part["level"] for part in parts) == 10
        seen = colours_of(image)
        for part in parts:
            assert abs(10 * seen[part["colour"]] / seen.total() - part["level"]) < 0.5


def test_scans_are_bright_on_grey_in_every_cell():
    for _, image in renderings("digits", "scans"):
        for left, top in [(0, 0), (28, 0), (0, 28), (28, 28)]:
            low, high = image.crop((left, top, left + 28, top + 28)).convert("L").getextrema()
            assert low >= 127 and high > 200
