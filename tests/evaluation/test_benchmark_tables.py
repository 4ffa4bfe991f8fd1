"""Benchmark tables: every quirk of the format is read, memory stays flat, nothing leaves its root."""

import base64
import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from tests.support.memory import least_peak
from wethink.common.errors import UserError
from wethink.common.jsonl import content_id
from wethink.data.benchmark_table import NoImage, Table
from wethink.evaluation.benchmarks.heldout_suite import table as suite_table
from wethink.evaluation.benchmarks.registry import BENCHMARKS, entry_for
from wethink.evaluation.benchmarks.scoring import prompt


def png(colour: str, size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


def cell(data: bytes) -> str:
    return base64.b64encode(data).decode()


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, delimiter="\t", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_shared_listed_and_named_images_are_found(tmp_path: Path) -> None:
    (tmp_path / "images" / "T").mkdir(parents=True)
    (tmp_path / "images" / "T" / "a.png").write_bytes(png("red"))
    several = str([cell(png("blue")), cell(png("green"))])
    path = write_table(
        tmp_path / "T.tsv",
        [
            {"index": "1", "image": cell(png("red")), "question": 'with a "quote", a tab\tand\na line break'},
            {"index": "2", "image": "1", "question": "shares"},
            {"index": "3", "image": several, "question": "two"},
            {"index": "4", "image_path": "a.png", "question": "named"},
            {"index": "5", "image": "3", "question": "shares two"},
            {"index": "6", "question": "none"},
        ],
    )
    table = Table(path)
    assert len(table) == 5 and table.skipped == 1
    assert table.images("2") == table.images("1") == [png("red")] == table.images("4")
    assert table.images("5") == [png("blue"), png("green")] and table.items["5"].pictures == 2
    assert table.items["1"].shown == table.items["2"].shown != table.items["3"].shown
    assert table.items["1"].get("question").endswith("a line break")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "images/../../secret.png"])
def test_a_named_image_outside_the_table_s_folder_is_not_read(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "secret.png").write_bytes(png("red"))
    table = Table(write_table(home / "T.tsv", [{"index": "1", "image_path": name, "question": "q"}]))
    with pytest.raises(NoImage, match="no file"):
        table.images("1")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"question": "q", "image": "x" * 80}], "no column 'index'"),
        ([{"index": "1", "question": "q", "image": "x" * 80}] * 2, "occurs twice"),
        ([{"index": "1", "question": "q"}], "no item with an image"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_sentence(tmp_path: Path, rows: list[dict[str, str]], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Table(write_table(tmp_path / "T.tsv", rows))


def test_a_broken_image_cell_is_said_when_it_is_asked_for(tmp_path: Path) -> None:
    broken = [
        {"index": "1", "image": "no base64 at all, " * 9, "question": "q"},
        {"index": "2", "image": "[1, ", "question": "q"},
    ]
    table = Table(write_table(tmp_path / "T.tsv", [broken[0]]))
    with pytest.raises(NoImage, match="base64"):
        table.images("1")


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("bm90IGFuIGltYWdl", "too short for an image and the index of no row"),
        ("2", "row '2', whose image it shares, has none of its own"),  # a row without any image
        ("3", "row '3', whose image it shares, has none of its own"),  # a row that shares one itself
        ("4", "row '4', whose image it shares, has none of its own"),  # itself
    ],
)
def test_a_short_image_cell_that_leads_to_no_image_costs_its_own_item_only(
    tmp_path: Path, image: str, said: str
) -> None:
    rows = [
        {"index": "1", "image": cell(png("red")), "question": "q"},
        {"index": "2", "question": "q"},
        {"index": "3", "image": "1", "question": "q"},
        {"index": "4", "image": image, "question": "q"},
    ]
    table = Table(write_table(tmp_path / "T.tsv", rows))
    assert len(table) == 3 and table.images("3") == [png("red")]
    with pytest.raises(NoImage, match=said):
        table.images("4")


def test_options_that_read_none_are_options_and_the_kit_s_reading_loses_them(tmp_path: Path) -> None:
    row = {"index": "1", "image": cell(png("red")), "question": "q", "A": "None", "B": "N/A", "C": "two", "D": ""}
    item = Table(write_table(tmp_path / "T.tsv", [row])).items["1"]
    assert item.options() == {"A": "None", "B": "N/A", "C": "two"}
    assert item.options(keep_not_available=False) == {"C": "two"}


def test_prompts_are_vlmevalkit_s(tmp_path: Path) -> None:
    row = {"index": "1", "image": cell(png("red")), "question": "Which?", "hint": "Look.", "A": "cat", "B": "dog"}
    item = Table(write_table(tmp_path / "T.tsv", [row])).items["1"]
    assert prompt(item, BENCHMARKS["MMStar"]) == [
        0,
        "Hint: Look.\nQuestion: Which?\nOptions:\nA. cat\nB. dog\n"
        "Please select the correct answer from the options above. \n",
    ]
    assert prompt(item, BENCHMARKS["HallusionBench"]) == [0, "Which?"]
    several = str([cell(png("blue")), cell(png("green"))])
    row = {"index": "1", "image": several, "question": "Is <image 2> or <image 1> it?", "A": "cat", "B": "dog"}
    item = Table(write_table(tmp_path / "U.tsv", [row])).items["1"]
    assert prompt(item, BENCHMARKS["MMMU_DEV_VAL"])[:4] == ["Question: Is ", 1, " or ", 0]


def test_all_fourteen_benchmarks_of_the_boards_have_an_entry() -> None:
    assert len(BENCHMARKS) == 14
    assert {"MMBench_TEST_EN_V11", "MMBench_TEST_CN_V11"} <= set(BENCHMARKS)
    assert all(entry.missing for entry in BENCHMARKS.values() if entry.family == "kit")
    assert entry_for("MMBench_DEV_EN_V11").circular and entry_for("WeThink_scenes").family == "own"
    assert entry_for("Something_else").family == "choice"


def test_five_thousand_items_with_images_are_read_lazily_with_memory_flat(tmp_path: Path) -> None:
    """150 MB of pictures; what Python holds at any time is a small part of that."""
    image = base64.b64encode(bytes(range(256)) * 90).decode()  # 30 kB of text each
    path = tmp_path / "Large.tsv"
    with path.open("w", encoding="utf-8") as handle:
        handle.write("index\timage\tquestion\tA\tB\tanswer\n")
        for number in range(5000):
            handle.write(f"{number}\t{image[:-8]}{number:08d}\twhat is it, number {number}\tcat\tdog\tA\n")
    assert path.stat().st_size > 140e6

    def read() -> None:
        table = Table(path)
        assert len(table) == 5000
        for index in list(table.items)[::50]:
            table.images(index)

    assert least_peak(read) < 20e6


class FakeImages:
    def bytes(self, image: str) -> bytes:
        return png(image)


def suite_items(source: str, colours: list[str]) -> list[dict[str, object]]:
    return [
        {
            "id": content_id(source, n),
            "image": colour,
            "problem": "which ? A red B blue C green D grey",
            "answer": "A",
            "category": "MC",
            "kind": "which",
            "abilities": ["recognition", "spatial"],
            "reward": "rule",
            "scene": f"scene {colour}",
            "source": source,
        }
        for n, colour in enumerate(colours)
    ]


def test_the_own_suite_is_a_table_of_the_same_format_and_a_function_of_its_source_alone(tmp_path: Path) -> None:
    items = suite_items("scenes", ["red", "red", "blue"])
    text = suite_table(items, FakeImages())  # type: ignore[arg-type]
    assert text == suite_table(list(reversed(items)), FakeImages())  # type: ignore[arg-type]
    (tmp_path / "WeThink_scenes.tsv").write_text(text, encoding="utf-8")
    table = Table(tmp_path / "WeThink_scenes.tsv")
    assert len(table) == 3 and len({item.shown for item in table.items.values()}) == 2
    item = table.items[content_id("scenes", 0)]
    assert item.options() == {"A": "red", "B": "blue", "C": "green", "D": "grey"}
    assert item.get("abilities") == "recognition,spatial" and item.get("scene") == "scene red"


def test_questions_of_several_lines_and_more_than_four_options_come_back_from_the_table(tmp_path: Path) -> None:
    asked = 'what is "it" ?\nA) red\nB) blue\nC) green\nD) grey\nE) teal'
    items = [item | {"problem": asked, "answer": "E"} for item in suite_items("mine", ["red", "blue"])]
    items[1]["problem"] = "a\tb ? A red B blue"
    text = suite_table(items, FakeImages())  # type: ignore[arg-type]
    (tmp_path / "WeThink_mine.tsv").write_text(text, encoding="utf-8")
    table = Table(tmp_path / "WeThink_mine.tsv")
    first = table.items[content_id("mine", 0)]
    assert first.get("question") == asked and first.options()["E"] == "teal" and len(first.options()) == 5
    assert table.items[content_id("mine", 1)].get("question") == "a b ? A red B blue"
