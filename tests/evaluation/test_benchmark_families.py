"""Families of tables: a known name is never scored as something else, and each family's figures are by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.vlmevalkit.aggregates import ours, rows_of
from tests.evaluation.test_benchmark_job import Seer
from tests.evaluation.test_benchmark_tables import cell, png, write_table
from wethink.common.errors import UserError
from wethink.data.benchmark_table import Item, Table
from wethink.evaluation.benchmarks.aggregate import by_group, figures
from wethink.evaluation.benchmarks.answer_extraction import OURS
from wethink.evaluation.benchmarks.baselines import constant
from wethink.evaluation.benchmarks.engines import Query, Reply
from wethink.evaluation.benchmarks.registry import Family, entry_for, entry_of, has_kit_protocol, known
from wethink.evaluation.benchmarks.results import board, spoken
from wethink.evaluation.benchmarks.run import Settings, native, records_of, run
from wethink.evaluation.benchmarks.scoring import score
from wethink.evaluation.benchmarks.short_answers import anls, gold_list, mmmu_open, relaxed, vqa_plain, vqa_score


def table(path: Path, name: str, rows: Sequence[dict[str, str]]) -> Table:
    given = [{"index": str(n), "image": cell(png("red", 8 + n)), "question": "?"} | row for n, row in enumerate(rows)]
    return Table(write_table(path / f"{name}.tsv", given))


@pytest.mark.parametrize(
    ("names", "family"),
    [
        ("POPE pope POPE_popular MME AMBER amber-subset VSR VSR-zeroshot HallusionBench_MINI", "yes_no"),
        ("ChartQA ChartQA_TEST chartqa_human", "relaxed"),
        ("TextVQA TextVQA_VAL", "vqa"),
        ("DocVQA_VAL InfoVQA_TEST", "anls"),
        ("OCRVQA_TEST GQA GQA_TestDev_Balanced", "exact"),
        ("OCRBench OCRBench_MINI", "ocr"),
        ("MMStar MMStar_MINI MMStar_first_100 BLINK SEEDBench_IMG AI2D_TEST_NO_MASK RealWorldQA MMMU_TEST", "choice"),
        ("MathVista MathVista_testmini MathVerse MathVision MMVet LLaVABench OCRBench_v2 OCRBench_v2_MINI", "kit"),
        ("MME-RealWorld MME_RealWorld_CN MMMU_Pro_10c ChartQAPro MMVP HRBench4K VizWiz MMBench-Video COCO_VAL", "kit"),
    ],
)
def test_a_known_name_has_its_own_family(names: str, family: str) -> None:
    assert {name: entry.family for name in names.split() if (entry := known(name))} == dict.fromkeys(
        names.split(), family
    )


def test_a_known_name_that_needs_code_of_its_own_is_refused_in_a_sentence_before_any_call(tmp_path: Path) -> None:
    rows = [{"A": "x", "B": "y", "answer": "A"}]
    for name in ("OCRBench_v2", "MathVista_full", "MMVP", "MUIRBench"):
        with pytest.raises(UserError, match=f"{name} is not scored natively.*wethink official.*--family"):
            native(table(tmp_path, name, rows))
    assert native(table(tmp_path, "MMVP", rows), "choice").family == "choice"


@pytest.mark.parametrize(
    ("rows", "family"),
    [
        ([{"A": "x", "B": "y", "answer": "A"}], "choice"),
        ([{"answer": "yes"}, {"answer": "No"}, {"answer": ""}], "yes_no"),
        ([{"answer": "yes"}, {"answer": "12 cm"}], "open"),
        ([{"answer": ""}], "open"),
        ([{"A": "x", "answer": "A"}], "open"),  # one column of options is no choice
    ],
)
def test_a_table_of_another_name_has_the_family_of_its_columns_and_golds(
    tmp_path: Path, rows: list[dict[str, str]], family: str
) -> None:
    entry = entry_of(table(tmp_path, "Mine", rows))
    assert entry.family == family and has_kit_protocol(entry) == (family == "choice")


@pytest.mark.parametrize("name", ["MMStar", "BLINK_mine"])
def test_a_choice_by_name_without_options_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="by its name, but there are no columns A and B; declare --family"):
        entry_of(table(tmp_path, name, [{"answer": "A"}]))


class Says(Seer):
    def __init__(self, said: Sequence[str]) -> None:
        super().__init__()
        self.said = said

    def answer(self, queries: Sequence[Query]) -> list[Reply]:
        return [Reply(self.said[int(query.draw.split()[-1])], None) for query in queries]


@pytest.mark.parametrize(("family", "value"), [("open", 0.75), ("exact", 0.25), ("yes_no", None)])
def test_a_declared_family_is_kept_for_the_page_and_has_no_column_of_a_protocol_that_does_not_apply(
    tmp_path: Path, family: Family, value: float | None
) -> None:
    rows = [{"answer": gold} for gold in ("12", "0.5", "['Paris', 'city of Paris']", "blue")]
    said = ["12.0", "1/2", "city of Paris", "red"]
    did = run(table(tmp_path, "Mine", rows), Says(said), Settings("m", controls=False, family=family), tmp_path / "out")
    assert did["family"] == family
    (row,) = board(tmp_path / "out")["benchmarks"][0]["rows"]
    assert row["figures"]["accuracy"]["value"] == value and row["kit"] == {}
    assert {record["kit_verdict"] for record in records_of(Path(did["folder"]))} == {None}
    assert spoken(Path(did["folder"]))[0].startswith("temperature 0: accuracy")


def test_pope_has_f1_and_a_model_that_always_says_yes_has_the_constant_s(tmp_path: Path) -> None:
    """Golds Yes Yes No No; said yes, unreadable, yes, no: TP 1, FP 1, FN 1; accuracy 2/4."""
    rows = [{"answer": gold, "category": "random"} for gold in ("Yes", "Yes", "No", "No")]
    made = table(tmp_path, "POPE", rows)
    run(made, Says(["Yes", "maybe", "yes.", "No"]), Settings("a", controls=False), tmp_path / "out")
    run(made, Says(["Yes"] * 4), Settings("b", controls=False), tmp_path / "out")
    one, always = (next(e for e in board(tmp_path / "out")["benchmarks"] if e["name"] == "POPE"))["rows"]
    assert [round(one["figures"][name]["value"], 4) for name in ("F1", "accuracy", "precision", "recall")] == [0.5] * 4
    assert one["kit"]["F1"]["value"] == 0.5
    assert always["figures"]["F1"]["value"] == pytest.approx(2 / 3) == always["constant"]["value"]
    assert always["constant"]["answer"] == "Yes" and always["constant"]["chance"] is None
    assert one["groups"]["category"]["random"]["value"] == 0.5


def record(index: int, right: bool | None, **more: Any) -> dict[str, Any]:
    verdict = "unknown" if right is None else "correct" if right else "wrong"
    return {"index": str(index), "verdict": verdict, "cluster": str(index // 2), "cells": {}, "extracted": ""} | more


def test_mme_sums_accuracy_and_accuracy_plus_over_categories_by_hand() -> None:
    """count: 3 of 4 questions, 1 of 2 images: 125; OCR: 2 of 2, 1 of 1: 200; code: 0. Perception 325, cognition 0."""
    entry = entry_for("MME")
    rows = [record(n, n != 1, cells={"category": "count", "image_path": f"{n // 2}.jpg"}) for n in range(4)]
    rows += [record(n, True, cells={"category": "OCR", "image_path": "9.jpg"}) for n in (4, 5)]
    rows += [record(n, False, cells={"category": "code_reasoning", "image_path": "9.jpg"}) for n in (6, 7)]
    found = figures(rows, entry, 200, 0)
    points = {name: (round(figure["points"], 6), figure["of"]) for name, figure in found.items()}
    assert points == {"total": (325, 600), "perception": (325, 400), "cognition": (0, 200)}
    assert found["total"]["low"] <= found["total"]["value"] <= found["total"]["high"]
    assert by_group(rows, entry, 50, 0)["category"]["count"]["value"] == 125 / 200


def test_a_rating_with_too_many_unknown_items_is_withheld() -> None:
    rows = [record(n, None if n == 0 else True, gold="Yes") for n in range(10)]
    assert figures(rows, entry_for("POPE"), 50, 0)["F1"]["withheld"].startswith("10.0% unknown")
    assert figures(rows[:1], entry_for("MME"), 50, 0)["total"]["withheld"] == "no known verdict"


def test_generated_tables_go_through_the_whole_job(tmp_path: Path) -> None:
    """`make kit-agreement` compares the same figures with VLMEvalKit's own; here, that they are there and differ."""
    found = {name: ours(name, rows_of(name, 120), tmp_path) for name in ("POPE", "MME", "AMBER", "TextVQA_VAL")}
    assert {name: len(figure) for name, figure in found.items()} == {"POPE": 4, "MME": 3, "AMBER": 5, "TextVQA_VAL": 1}
    assert all(value > 0 for figure in found.values() for value in figure.values())


@pytest.mark.parametrize(
    ("gold", "said"), [("yes", "Yes."), ("TRUE", "yes"), ("是", "是的"), ("no", "No"), ("False", "no, it is not")]
)
def test_a_yes_no_gold_in_another_spelling_is_a_gold(gold: str, said: str) -> None:
    item, entry = Item("1", {"answer": gold}, ""), entry_for("Mine", "yes_no")
    assert score(item, said, entry, OURS).verdict.outcome == "correct"
    assert score(item, "neither", entry, OURS).verdict.outcome == "wrong"


OPEN = entry_for("MMMU_DEV_VAL")


@pytest.mark.parametrize(
    ("gold", "said", "right"),
    [
        ("['24/7', '3.429']", "3.429", True),
        ("['24/7', '3.429']", "24/7", True),
        ("['24/7', '3.429']", "7.5", False),
        ("60", "So the transfer rate is 60 Mbps.", True),
        ("0.963", "The efficiency is 0.956", True),  # equal at two decimals
        ("0.963", "The efficiency is 0.95", False),
        ("0.963", "x = 0.961", True),
        ("1,250", "the total is 1250.004 dollars", True),
        ("Nairobi", "I think the city is nairobi, Kenya", True),
        ("-5", "thus the answer is -5", True),
        ("['x']", "the answer is xylophone", False),  # a single letter within a word
        ("12", "Thus it is 13", False),
    ],
)
def test_mmmu_s_open_questions_are_read_as_its_own_evaluator_does(gold: str, said: str, right: bool) -> None:
    item = Item("0", {"question": "How fast?", "answer": gold, "question_type": "open"}, "x")
    assert score(item, said, OPEN, OURS).verdict.outcome == ("correct" if right else "wrong")
    assert score(item, f"<think>{gold}</think><answer>{said}</answer>", OPEN, OURS).verdict.outcome == (
        "correct" if right else "wrong"
    )


@pytest.mark.parametrize("family", ["open", "choice"])
@pytest.mark.parametrize(
    ("gold", "said", "outcome"),
    [
        ("['a half', '1/2']", "0.5", "correct"),
        ('["Lisbon", "Lisboa"]', "lisboa", "correct"),
        ("['3 m', '300 cm']", "300 cm", "correct"),
        ("['3 m', '300 cm']", "4 m", "wrong"),
        ("[]", "x", "wrong"),
        ("['']", "x", "unknown"),
        ("", "x", "unknown"),
    ],
)
def test_any_of_a_list_of_golds_is_right_in_the_open_questions_of_every_table(
    family: Family, gold: str, said: str, outcome: str
) -> None:
    item = Item("0", {"question": "Which?", "answer": gold}, "x")
    assert score(item, said, entry_for("Mine", family), OURS).verdict.outcome == outcome


def test_golds_that_are_lists_of_numbers_or_no_lists_are_one_answer() -> None:
    assert [gold_list(text) for text in ("[-2, 7]", "[1,", "(1, 2)", "['a', 3]", "x")] == [
        ["[-2, 7]"],
        ["[1,"],
        ["(1, 2)"],
        ["['a', 3]"],
        ["x"],
    ]


def test_short_answer_scores_by_hand() -> None:
    assert relaxed("104", ["100"]) == 1 and relaxed("106", ["100"]) == 0 and relaxed("50%", ["0.5"]) == 1
    assert relaxed("Paris", ["paris"]) == 1 and relaxed("0", ["0"]) == 1
    assert anls("hallo", ["hello"]) == pytest.approx(0.8) and anls("xyz", ["hello"]) == 0
    assert vqa_plain("The two dogs, dont!") == "2 dogs don't"
    golds = ["red"] * 3 + ["blue"] * 7
    assert vqa_score("Red.", golds, few=False) == pytest.approx((3 * 2 / 3 + 7) / 10)
    assert (vqa_score("red", ["red"], few=False), vqa_score("red", ["red"], few=True)) == (0.0, 1.0)
    assert mmmu_open("", ["12"]) is False


def test_the_best_constant_answer_and_chance_by_hand(tmp_path: Path) -> None:
    """Three options A and one B, with 2 and 4 options: always A 75 %; chance (3 × ½ + ¼) / 4."""
    rows = [{"A": "x", "B": "y", "answer": gold} for gold in "AAA"] + [{c: f"{c}{c}" for c in "ABCD"} | {"answer": "B"}]
    did = run(table(tmp_path, "Mine", rows), Says(["B"] * 4), Settings("m", controls=False), tmp_path / "out")
    found = constant(records_of(Path(did["folder"])), entry_for("Mine", "choice"))
    assert found == {"answer": "A", "value": 0.75, "chance": (3 / 2 + 1 / 4) / 4}
    said = spoken(Path(did["folder"]))
    assert said[1] == "without a model: always 'A' has accuracy 75.0 %, chance 43.8 %"


def test_a_constant_answer_to_rotated_questions_is_right_in_no_group() -> None:
    entry = entry_for("MMBench_DEV_EN")
    rows = [record(n + 10**6 * turn, True, gold="ABCD"[turn], options=4) for n in range(5) for turn in range(4)]
    assert constant(rows, entry) == {"answer": "A", "value": 0.0, "chance": pytest.approx((1 / 4) ** 4)}


def test_a_constant_answer_to_open_questions_is_the_most_frequent_gold() -> None:
    rows = [record(n, True, gold=gold) for n, gold in enumerate(["['4', 'four']", "4", "5", "7", ""])]
    assert constant(rows[:4], entry_for("Mine", "open")) == {"answer": "4", "value": 0.5, "chance": None}
    assert constant(rows[4:], entry_for("Mine", "open")) is None
