"""Existing rows: every quirk of released files is mended or named, and every line is accounted for."""

import json
from pathlib import Path
from unicodedata import normalize

import pytest
from PIL import Image

from tests.synthesis.test_pipeline import REWARDS, ingested, settings
from wethink.common.errors import UserError
from wethink.common.jsonl import dumps, read_json, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Source
from wethink.data.image_store import ImageRecord
from wethink.synthesis.import_rows import import_rows
from wethink.synthesis.synthesize import synthesize

RECORDS = [
    ImageRecord("1" * 64, "photos", "train", "c1", 60, 60, "sqa/one.png"),
    ImageRecord("2" * 64, "photos", "pretrain", "c2", 60, 60, "two.png"),
    ImageRecord("3" * 64, "photos", "reporting", "c3", 60, 60, "three.png"),
    ImageRecord("4" * 64, "photos", "train", "c4", 60, 60, "four.png"),
    ImageRecord("5" * 64, "scans", "train", "c5", 60, 60, "four.png"),
]
GOOD = {
    "problem": "which ? A red B blue",
    "answer": "B",
    "category": "MC",
    "abilities": ["Recognition", "spatial"],
    "refined_cot": "it is blue",
    "image_path": "sqa/one.png",
    "reward": "rule",
}


def imported(folder: Path, *rows: dict) -> list[dict]:
    path = folder / "given.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (*rows, GOOD | {"problem": "complete ? A x B y"})))
    return import_rows(path, RECORDS)[:-1]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, {"answer": "B", "refined_cot": "it is blue", "source": "photos", "scene": "c1", "split": "train"}),
        ({"answer": "B)"}, {"answer": "B"}),
        ({"answer": "(b)"}, {"answer": "B"}),
        ({"answer": "blue"}, {"answer": "B"}),
        ({"answer": "<answer> B </answer>"}, {"answer": "B"}),
        ({"answer": "<think>hm</think><answer>B</answer>"}, {"answer": "B"}),
        ({"answer": 3, "category": "FIB"}, {"answer": "3"}),
        ({"answer": 3.0, "category": "FIB"}, {"answer": "3"}),
        ({"answer": ["4", "5", "5"], "category": "FIB"}, {"answer": "5", "alternatives": ["4", "5", "5"]}),
        ({"refined_cot": "<think>it is blue</think><answer>B</answer>"}, {"refined_cot": "it is blue"}),
        ({"refined_cot": "<think>it is blue"}, {"refined_cot": "it is blue"}),
        ({"refined_cot": "it is blue <answer>B</answer>"}, {"refined_cot": "it is blue"}),
        ({"refined_cot": "see <image> and <|im_end|>"}, {"refined_cot": "see [image] and [im_end]"}),
        ({"problem": "<image>\nwhich ? A red B blue"}, {"problem": "which ? A red B blue"}),
        ({"problem": "which ? A red B blue <image>"}, {"problem": "which ? A red B blue"}),
        ({"problem": "in <image> , which ? A red B blue"}, {"problem": "in <image> , which ? A red B blue"}),
        ({"refined_cot": "half a pair \ud800"}, {"refined_cot": "half a pair ?"}),
        ({"category": "Multiple-Choice"}, {"category": "MC", "kind": "imported MC"}),
        ({"category": "fill in the blank", "answer": "7"}, {"category": "FIB"}),
        ({"category": "Descriptive", "reward": "Model-based", "answer": "a"}, {"category": "DES", "reward": "model"}),
        ({"reward": "rule_based"}, {"reward": "rule"}),
        ({"abilities": "OCR, Math"}, {"abilities": ["ocr", "math"]}),
        ({"image_path": "./sqa/../sqa/one.png"}, {"image": "1" * 64}),
        ({"image_path": "photos/sqa/one.png"}, {"image": "1" * 64}),
        ({"image_path": "scans/four.png"}, {"image": "5" * 64}),
        ({"image_path": "three.png"}, {"split": "reporting", "image": "3" * 64}),
        ({"image_path": "two.png"}, {"split": "pretrain"}),
        ({"refined_cot": ""}, {"refined_cot": "", "decisions": {"path": "none"}}),
        ({"refined_cot": None}, {"refined_cot": ""}),
        ({"refined_cot": "<think> </think>"}, {"refined_cot": ""}),
        ({"refined_cot": "<answer>B</answer>"}, {"refined_cot": ""}),
        ({"refined_cot": "", "answer": "<think>hm</think><answer>B</answer>"}, {"refined_cot": "hm", "answer": "B"}),
        ({"category": None, "reward": None}, {"category": "MC", "reward": "rule"}),
        ({"category": None, "reward": None, "problem": "what ?", "answer": "a red dog"}, {"category": "FIB"}),
        ({"abilities": None}, {"abilities": []}),
        ({"page": 3, "reward": None}, {"columns": {"page": 3}}),
    ],
)
def test_a_quirk_is_mended(change: dict, expected: dict, tmp_path: Path) -> None:
    [row] = imported(tmp_path, GOOD | change)
    assert row["reason"] is None
    assert {key: row[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"problem": "<image> and <image> ? A red B blue"}, "question has 2 <image> for one image"),
        ({"problem": None}, "no question"),
        ({"image_path": ["sqa/one.png", "none.png"]}, "image_path names no ingested image"),
        ({"answer": " "}, "empty answer"),
        ({"answer": "<answer></answer>"}, "empty answer"),
        ({"problem": ""}, "empty problem"),
        ({"answer": "green"}, "answer names no option of the problem"),
        ({"answer": "A and B"}, "answer names no option of the problem"),
        ({"category": "riddle"}, "unknown category 'riddle'"),
        ({"reward": "none"}, "unknown reward 'none'"),
        ({"image_path": "absent.png"}, "image_path names no ingested image"),
        ({"image_path": "four.png"}, "image_path names several images"),
        ({"image_path": "/etc/passwd"}, "image_path leaves the source's folder"),
        ({"image_path": "../one.png"}, "image_path leaves the source's folder"),
        ({"image_path": "sqa/../../one.png"}, "image_path leaves the source's folder"),
        ({"image_path": "..\\one.png"}, "image_path leaves the source's folder"),
        ({"answer": None}, "no answer"),
        ({"answer": []}, "no answer"),
    ],
)
def test_a_row_that_cannot_be_mended_is_rejected_by_name(change: dict, reason: str, tmp_path: Path) -> None:
    [row] = imported(tmp_path, GOOD | change)
    assert row["reason"] == reason


def test_the_second_of_equal_rows_is_rejected(tmp_path: Path) -> None:
    rows = imported(tmp_path, GOOD, GOOD | {"problem": "another ? A x B y"}, GOOD)
    assert [row["reason"] for row in rows] == [None, None, "same image and problem as line 1"]


def test_a_broken_line_costs_no_other_and_is_told_by_its_number_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    broken = {key: value for key, value in GOOD.items() if key != "answer"}
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps(broken) + '\n{"problem": "cut o\n[1]\n')
    found = [(row["provenance"]["line"], row["reason"]) for row in import_rows(path, RECORDS)]
    assert found == [(1, None), (3, "no answer"), (4, "not JSON"), (5, "no JSON object")]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("{]\n", "line 1: not JSON; rows are JSON objects"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "answer"}), "no column looks like the answer; it has"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "image_path"}), "no column looks like the image; it has"),
        (None, "does not exist"),
    ],
)
def test_an_unusable_file_gives_a_sentence(text: str | None, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=r"given\.jsonl") as caught:
        import_rows(path, RECORDS)
    assert sentence in str(caught.value)


def test_every_line_is_accounted_for_from_folder_to_rows(tmp_path: Path) -> None:
    (tmp_path / "mine" / "sqa").mkdir(parents=True)
    Image.effect_noise((60, 60), 80).save(tmp_path / "mine" / "sqa" / "one.png")
    images = ingested(
        tmp_path, tmp_path, (Source(name="mine", kind="folder", path=str(tmp_path / "mine"), reporting=0.0),)
    )
    given = [GOOD | {"problem": f"which of {n} ? A red B blue"} for n in range(40)]
    given += [GOOD | {"image_path": "no.png"}, GOOD | {"answer": ""}, GOOD | {"category": "?"}]
    (tmp_path / "given.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    (tmp_path / "out").mkdir()
    config = settings(annotator="rows", rows=str(tmp_path / "given.jsonl"), path_share=1.0)
    synthesize(
        images=images,
        drawn=tmp_path,
        rewards=REWARDS,
        run=StageRun(config, out=tmp_path / "out", scratch=tmp_path, seed=0),
    )
    metrics = read_json(tmp_path / "out" / "metrics.json")
    assert (metrics["candidates"], metrics["kept"], metrics["with_path"], metrics["unasked"]) == (43, 40, 40, 0)
    assert sum(metrics["rejected"].values()) == 3
    assert len(list(read_jsonl(tmp_path / "out" / "rows.jsonl"))) == 40
    assert len(list(read_jsonl(tmp_path / "out" / "rejected.jsonl"))) == 3
    assert list(read_jsonl(tmp_path / "out" / "descriptions.jsonl")) == []


# --- files as tools write them ---------------------------------------------------------------------------


def lines_of(*rows: dict) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_of_any_encoding_and_line_end_are_read_whole(encoding: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    rows = [GOOD | {"problem": f"{n} Größe Ω ? A red B blue"} for n in range(3)]
    path.write_bytes(lines_of(*rows).replace("\n", end).encode(encoding))
    found = import_rows(path, RECORDS)
    assert [row["reason"] for row in found] == [None] * 3
    assert [row["problem"] for row in found] == [row["problem"] for row in rows]


def test_a_line_that_no_reader_can_keep_costs_that_line_alone_and_tells_why(tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    text = json.dumps(GOOD)
    broken = {
        '{"answer": 9' + "0" * 6000 + "}": ("not JSON", "too many digits"),
        text.replace('"B"', "1e999"): ("not JSON", "out of range"),
        text.replace('"B"', "NaN"): ("not JSON", "NaN"),
        text.replace('"B"', "[" * 300 + "]" * 300): ("not JSON", "nested"),
        text[:-1] + ', "answer": "A"}': ("a key occurs twice", "'answer'"),
        text[:-9]: ("not JSON", "cut off"),
    }
    path.write_text("\n".join([text, *broken]), encoding="utf-8")
    first, *others = import_rows(path, RECORDS)
    assert first["reason"] is None and "fault" not in first["provenance"]
    for row, (reason, detail) in zip(others, broken.values(), strict=True):
        assert row["reason"] == reason and detail in row["provenance"]["fault"]


def test_a_byte_of_another_encoding_is_named_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "given.jsonl"
    path.write_bytes(lines_of(GOOD).encode() + lines_of(GOOD | {"refined_cot": "très bleu"}).encode("cp1252"))
    assert [row["reason"] for row in import_rows(path, RECORDS)] == [None, "not JSON"]


@pytest.mark.parametrize("key", ["problem", "answer", "abilities", "refined_cot", "category", "reward", "image_path"])
@pytest.mark.parametrize("value", ["\ud83d", ["\udfff", {"\ud800": "\ud800"}], {"a": ["\udc00"]}, 7, True, [], {}])
def test_any_value_under_any_key_gives_a_row_that_can_be_written(key: str, value: object, tmp_path: Path) -> None:
    for row in imported(tmp_path, GOOD | {key: value}):
        assert row["reason"] is None or row["reason"].isprintable()
        dumps(row).encode()


@pytest.mark.parametrize("named", ["NFC", "NFD"])
@pytest.mark.parametrize("stored", ["NFC", "NFD"])
def test_a_row_finds_its_image_in_any_normalisation(named: str, stored: str, tmp_path: Path) -> None:
    origin, other = normalize(stored, "Ordner/Größe 한.png"), normalize(stored, "Ordner/grösse.png")
    records = [
        ImageRecord("6" * 64, "photos", "train", "c6", 9, 9, origin),
        ImageRecord("7" * 64, "photos", "train", "c7", 9, 9, other),
    ]
    path = tmp_path / "given.jsonl"
    names = [normalize(named, f"{prefix}Ordner/Größe 한.png") for prefix in ("", "photos/", "./")]
    path.write_text(lines_of(*(GOOD | {"image_path": n, "problem": f"{n} ? A x B y"} for n in names)))
    assert [(row["reason"], row["image"]) for row in import_rows(path, records)] == [(None, "6" * 64)] * 3


def test_a_name_that_is_written_exactly_wins_over_its_other_normalisation(tmp_path: Path) -> None:
    records = [
        ImageRecord(digit * 64, "photos", "train", digit, 9, 9, normalize(form, "é.png"))
        for digit, form in (("6", "NFC"), ("7", "NFD"))
    ]
    path = tmp_path / "given.jsonl"
    path.write_text(lines_of(*(GOOD | {"image_path": record.origin} for record in records)))
    assert [row["image"] for row in import_rows(path, records)] == ["6" * 64, "7" * 64]
