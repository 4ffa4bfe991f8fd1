"""Native scoring: VLMEvalKit's verdicts under its protocol, ours where it is not sound, aggregates by hand."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.vlmevalkit.agreement import FIXTURE, verdicts
from benchmarks.vlmevalkit.predictions import FAMILIES, predictions
from tasks import ROOT
from wethink.common.errors import UserError
from wethink.data.benchmark_table import Item
from wethink.evaluation.benchmarks.aggregate import all_right, dyna_math, estimate, figures, sampled, units, we_math
from wethink.evaluation.benchmarks.answer_extraction import KIT, OURS, Protocol, answer_text, option, yes_no
from wethink.evaluation.benchmarks.registry import BENCHMARKS, Benchmark
from wethink.evaluation.benchmarks.scoring import score

CHOICE = Benchmark("c", "c", "choice")


@pytest.mark.parametrize("family", FAMILIES)
def test_under_the_kit_s_protocol_every_verdict_is_the_kit_s_own(family: str) -> None:
    """Recorded from ms-vlmeval by `make kit-agreement`, which runs the real functions on these very predictions."""
    recorded = json.loads((ROOT / FIXTURE).read_text(encoding="utf-8"))["verdicts"][family]
    ours = verdicts(family, predictions(family), KIT)
    mine = "".join(str(int(ours[index])) for index in sorted(ours))
    assert len(mine) == (500 if family == "circular" else 2000)
    assert 0.2 < recorded.count("1") / len(recorded) < 0.9
    assert mine == recorded


@pytest.mark.parametrize("name", [field.name for field in fields(Protocol)])
def test_every_departure_changes_a_verdict_and_is_written_down(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    if name == "failed_unknown":  # wrong there, unknown here
        said = "Failed to obtain answer via API. "
        item = Item("1", {"A": "cat", "B": "dog", "answer": "A"}, "")
        assert score(item, said, CHOICE, KIT).verdict.outcome == "wrong"
        assert score(item, said, CHOICE, OURS).verdict.outcome == "unknown"
        return
    changed = replace(KIT, **{name: True})
    if name == "gold_spelling":
        item = Item("1", {"answer": "TRUE"}, "")
        verdicts_of = [score(item, "Yes", Benchmark("y", "y", "yes_no"), p).verdict.outcome for p in (KIT, changed)]
        assert verdicts_of == ["unknown", "correct"]
        return
    if name == "few_golds":
        item = Item("1", {"answer": "['red', 'pink']"}, "")
        verdicts_of = [score(item, "red", Benchmark("v", "v", "vqa"), p).verdict.outcome for p in (KIT, changed)]
        assert verdicts_of == ["wrong", "correct"]
        return
    assert any(
        verdicts(family, given, KIT) != verdicts(family, given, changed)
        for family in FAMILIES
        for given in [predictions(family)]
    )


ANIMALS = {"A": "cat", "B": "dog", "C": "a red hat"}


@pytest.mark.parametrize(
    ("said", "kit", "ours"),
    [
        ("B", "B", "B"),
        ("the answer is (B)", "B", "B"),
        ("A dog", "A", "B"),  # the article
        ("a red hat", "C", "C"),
        ("B. dog", "B", "B"),
        ("A or B", None, None),
        ("A is right", "A", "A"),
        ("A", "A", "A"),
        ("concatenate", "A", None),  # cat within a word
        ("I can't process this file.", "Z", "Z"),
        ("", None, None),
        ("either a cat or a dog", None, None),
    ],
)
def test_options_are_read_as_the_kit_does_and_as_we_do(said: str, kit: str | None, ours: str | None) -> None:
    assert option(said, ANIMALS, KIT).value == kit
    assert option(said, ANIMALS, OURS).value == ours


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("fish", "names no option (the answer holds the text of none of the 3 options)"),
        ("either a cat or a dog", "names no option (the answer holds the text of 2 of the 3 options)"),
    ],
)
def test_an_answer_that_names_no_option_is_not_taken_for_a_table_without_options(said: str, reason: str) -> None:
    assert score(Item("1", ANIMALS | {"answer": "A"}, ""), said, CHOICE, OURS).verdict.reason == reason


def test_no_option_is_ever_drawn_at_random() -> None:
    item = Item("1", ANIMALS | {"answer": "A"}, "")
    found = {score(item, "no idea", CHOICE, protocol).verdict.outcome for protocol in (KIT, OURS) for _ in range(200)}
    assert found == {"wrong"}


def test_thinking_is_not_read_for_yes_or_no() -> None:
    said = "<think>No. It may be yes.</think><answer>Yes</answer>"
    assert yes_no(answer_text(said, KIT), KIT).value is None
    assert yes_no(answer_text(said, OURS), OURS).value == "Yes"


@pytest.mark.parametrize("name", ["MathVista_MINI", "MMBench_TEST_EN_V11", "WeMath"])
def test_what_needs_a_judge_or_hidden_answers_is_not_scored_natively(name: str) -> None:
    with pytest.raises(UserError, match="not scored natively"):
        score(Item("1", {}, ""), "x", BENCHMARKS[name], OURS)


@pytest.mark.parametrize("family", ["choice", "yes_no", "ocr", "own"])
@pytest.mark.parametrize("cells", [{}, {"answer": ""}, {"answer": "["}, {"answer": "['']"}])
def test_a_table_without_a_usable_answer_makes_the_item_unknown(family: Any, cells: dict[str, str]) -> None:
    options = {"A": "cat", "B": "dog"} if family == "choice" else {}
    row = options | {"reward": "rule", "category": "FIB"} | cells
    if family in ("choice", "own") and cells.get("answer"):
        pytest.skip("a text is an answer here")
    verdict = score(Item("1", row, ""), "<think>x</think><answer>A</answer>", Benchmark("b", "b", family), OURS).verdict
    assert verdict.outcome == "unknown"


@pytest.mark.parametrize(
    ("gold", "ours", "kit"),
    [("E", "unknown", "wrong"), ("cat", "unknown", "wrong"), ("b", "unknown", "wrong"), ("B", "correct", "correct")],
)
def test_a_gold_that_names_no_option_makes_the_item_unknown_and_wrong_as_the_kit_counts(
    gold: str, ours: str, kit: str
) -> None:
    item = Item("1", ANIMALS | {"D": "None", "answer": gold}, "")
    found = score(item, "B", CHOICE, OURS).verdict
    assert (found.outcome, score(item, "B", CHOICE, KIT).verdict.outcome) == (ours, kit)
    assert ours == "correct" or found.reason == "the gold names no option"


def test_a_gold_that_names_an_option_which_reads_none_is_a_gold() -> None:
    item = Item("1", ANIMALS | {"D": "None", "answer": "D"}, "")
    assert score(item, "D", CHOICE, OURS).verdict.outcome == "correct"
    assert score(item, "A", CHOICE, replace(OURS, keep_none=False)).verdict.outcome == "wrong"


def record(index: str, right: bool | None, cluster: str = "", **cells: str) -> dict[str, Any]:
    verdict = "unknown" if right is None else "correct" if right else "wrong"
    return {"index": index, "verdict": verdict, "cluster": cluster or index, "cells": cells}


def test_an_unknown_item_makes_its_unit_unknown_unless_another_is_wrong() -> None:
    assert all_right([True, None]) is None
    assert all_right([None, False]) is False


def test_mmbench_circular_by_hand() -> None:
    """Three questions in rotations: one right in all, one wrong in one, one unknown: 1 of 2 known."""
    entry = Benchmark("MMBench_DEV_EN_V11", "m", "choice", circular=True)
    rows = [record(str(q + 10**6 * turn), True, f"image {q}") for q in (1, 2, 3) for turn in range(4)]
    rows[5] = record(rows[5]["index"], False, "image 2")
    rows[8] = record(rows[8]["index"], None, "image 3")
    found = units(rows, entry, "accuracy")
    assert sorted(str(unit.right) for unit in found) == ["False", "None", "True"]
    assert figures(rows[:8], entry, 100, 0)["accuracy"]["value"] == 0.5
    assert figures(rows, entry, 100, 0)["accuracy"]["withheld"].startswith("33.3%")


def test_hallusionbench_s_three_accuracies_by_hand() -> None:
    """One set, two questions on two figures: 3 of 4 right; figure 0 whole, question 0 whole: 0.75, 0.5, 0.5."""
    entry = BENCHMARKS["HallusionBench"]
    rows = [
        record(f"VD_x_y_0_{figure}_{question}", not (figure == question == 1), **{"l2-category": "chart"})
        for figure in (0, 1)
        for question in (0, 1)
    ]
    found = figures(rows, entry, 200, 0)
    assert (found["aAcc"]["value"], found["fAcc"]["value"], found["qAcc"]["value"]) == (0.75, 0.5, 0.5)
    assert found["mean"]["value"] == pytest.approx((0.75 + 0.5 + 0.5) / 3)
    assert next(iter(found)) == "mean"


def test_ocrbench_s_sum_by_hand() -> None:
    entry = BENCHMARKS["OCRBench"]
    kinds = ["Handwriting Recognition", "Digit String Recognition", "Doc-oriented VQA", "Doc-oriented VQA"]
    rows = [record(str(n), n != 3, category=kind) for n, kind in enumerate(kinds)]
    found = figures(rows, entry, 100, 0)["sum"]
    assert (found["hits"], found["of"], found["value"]) == (3, 4, 0.75)
    assert found["parts"] == {"Doc-oriented VQA": 1, "Text Recognition": 2}


def test_dynamath_s_worst_case_by_hand() -> None:
    """Two questions in three variants, one of them wrong once: average 5/6, worst case 1/2."""
    rows = [{"qid": q, "correct": str(not (q == 2 and v == 3))} for q in (1, 2) for v in (1, 2, 3)]
    every, worst, questions = dyna_math(rows)
    assert (sum(every) / 6, sum(worst) / 2, questions) == (5 / 6, 0.5, ["1", "2"])


def test_wemath_strict_by_hand() -> None:
    """CM, IG, IK, RM once each: (4 − ½ − 1 − 1) / 4 = 0.375; a problem's ID may occur with two and with three steps."""
    steps = {"CM": (1, 1, 1), "IG": (1, 1, 0), "IK": (1, 0, 0), "RM": (0, 1, 1)}
    rows = [
        {"ID": str(number // 2), "key": f"{2 + number % 2}steps_{name}", "hit": str(hit)}
        for number, pattern in enumerate(steps.values())
        for name, hit in zip(("1", "2", "multi"), pattern, strict=True)
    ]
    found = we_math(rows)
    assert found["counts"] == {"CM": 1, "IG": 1, "IK": 1, "RM": 1}
    assert found["strict"] == 0.375


def test_pass_at_k_by_hand() -> None:
    """Right in 1 of 2 and 0 of 2 samples: pass@1 ¼, pass@2 ½."""
    rows = [record("a", True), record("a", False), record("b", False), record("b", False)]
    found = sampled(rows, [1, 2], 100, 0)
    assert (found["pass@1"]["value"], found["pass@2"]["value"]) == (0.25, 0.5)


def test_an_interval_resamples_what_is_shown_not_items() -> None:
    """Twenty items about two pictures, one all right, one all wrong: the interval is [0, 1]."""
    entry = Benchmark("b", "b", "choice")
    rows = [record(str(n), n < 10, f"picture {n // 10}") for n in range(20)]
    found = estimate(units(rows, entry, "accuracy"), 500, 0)
    assert (found["value"], found["low"], found["high"]) == (0.5, 0.0, 1.0)


def test_the_fixture_of_the_kit_is_where_the_agreement_writes_it() -> None:
    assert Path(ROOT / FIXTURE).is_file()
