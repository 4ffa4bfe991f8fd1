"""Refusals: every form is right where there is no answer, and no form is right where there is one."""

import pytest

from tests.rewards.test_rule_cases import CASES, VALUES
from wethink.rewards.rules.verify import verify
from wethink.rewards.unanswerable import FORMS, GOLD, refuses

SENTENCES = (
    *FORMS,
    "Cannot be answered.",
    "**Unanswerable**",
    "The question can't be answered from the image.",
    "It cannot be determined from this picture",
    "Not enough information to answer the question.",
    "There is not enough information in the image",
    "I can not tell",
    "We cannot answer this question based on the given image.",
    "The answer is: unanswerable",
)
ANSWERS = (
    "3",
    "red",
    "yes",
    "no",
    "none",
    "",
    "cannot be answered, but 3",
    "3, or unanswerable",
    "not",
    "enough",
    "image",
)


@pytest.mark.parametrize("said", SENTENCES)
def test_every_form_is_right_where_there_is_no_answer(said: str) -> None:
    for gold in (GOLD, "unanswerable", "Not enough information"):
        verdict = verify(said, gold, "What colour is the car ?", "FIB", 0.001)
        assert (verdict.outcome, verdict.kind) == ("correct", "unanswerable")


@pytest.mark.parametrize("said", ANSWERS)
def test_an_answer_is_wrong_where_there_is_none(said: str) -> None:
    assert verify(said, GOLD, "What colour is the car ?", "FIB", 0.001).outcome == "wrong"
    assert not refuses(said)


def test_an_ordinary_gold_accepts_no_refusal_whatever_its_kind() -> None:
    """Every gold of the tables of rules: numbers, dates, sets, yes and no, expressions, texts."""
    golds = {
        (case["gold"], case["problem"], case["category"]) for case in (*CASES, *VALUES) if case["category"] == "FIB"
    }
    ordinary = [case for case in golds if not refuses(case[0])]
    assert len(ordinary) > 500
    for gold, problem, category in ordinary:
        for said in ("cannot be answered", "not enough information"):
            assert verify(said, gold, problem, category, 0.001).outcome != "correct", gold


def test_in_multiple_choice_the_options_count() -> None:
    problem = "Which ?\nA. red\nB. cannot be determined\nC. blue"
    assert verify("cannot be determined", "B", problem, "MC", 0.001).outcome == "correct"
    assert verify("B", "B", problem, "MC", 0.001).outcome == "correct"
    assert verify("cannot be answered", "A", problem, "MC", 0.001).outcome == "wrong"
