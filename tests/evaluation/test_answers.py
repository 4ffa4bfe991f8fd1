"""The best constant answer and the distribution of answers are those of the reward's rules, not of spelling."""

import time
from typing import Any

import pytest

from wethink.evaluation.answers import best_constant, distance, shares


def item(number: int, answer: str, **fields: Any) -> dict[str, Any]:
    own = {"id": f"{number:04}", "problem": "what is it ?", "answer": answer, "category": "FIB", "reward": "rule"}
    return own | fields


def said(number: int, gold: str, answer: str, right: bool, **fields: Any) -> dict[str, Any]:
    return item(number, gold, extracted=answer, verdict="correct" if right else "wrong", **fields)


def choice(number: int, gold: str) -> dict[str, Any]:
    return item(number, gold, problem="Which? A) red B) blue C) green", category="MC")


def test_the_best_constant_is_scored_by_the_rules() -> None:
    found = best_constant([item(n, answer) for n, answer in enumerate(["2", "two", "2.0", "yes", "No", "yes"])])
    assert found.answer == "2" and found.right == (True, True, True, False, False, False)
    assert best_constant([]).accuracy == 0.0


def test_of_all_constants_the_best_is_found_over_all_question_types_together() -> None:
    asked = [*(choice(n, "B") for n in range(4)), *(choice(n, "blue") for n in range(4, 7)), choice(7, "A")]
    asked += [item(n, "yes") for n in range(8, 13)]
    found = best_constant(asked)
    assert found.answer == "B" and found.accuracy == pytest.approx(7 / 13)


def test_an_answer_that_no_rule_checks_is_never_won_by_a_constant() -> None:
    found = best_constant([item(n, "a red circle", category="DES", reward="model") for n in range(9)] + [item(9, "no")])
    assert found.answer == "no" and found.accuracy == pytest.approx(0.1)


def test_equal_answers_are_counted_as_one() -> None:
    records = [
        said(0, "no", "No.", True),
        said(1, "yes", "no, there is none", False),
        said(2, "yes", "false", False),
        said(3, "yes", "  YES", True),
        said(4, "3", "", False),
    ]
    found = shares(records)
    assert [(share.answer, share.given, share.gold) for share in found] == [("no", 3, 1), ("yes", 1, 3), ("3", 0, 1)]
    assert found[0].excess == pytest.approx(0.4)
    assert distance(found) == pytest.approx((2 + 2 + 1 + 1) / 10)


def test_in_multiple_choice_letters_are_counted_and_nothing_else() -> None:
    records = [
        choice(n, "B") | {"extracted": answer, "verdict": "wrong"} for n, answer in enumerate(["(a)", "red", "A", "no"])
    ]
    found = shares(records)
    assert [(share.answer, share.given, share.gold) for share in found] == [("A", 3, 0), ("B", 0, 4)]


def test_a_model_that_is_always_right_has_the_golds_distribution() -> None:
    found = shares([said(n, str(n % 7), f"{n % 7}.0", True) for n in range(70)])
    assert distance(found) == 0 and {share.excess for share in found} == {0.0}
    assert distance(shares([])) == 0.0


def test_the_order_of_items_changes_nothing() -> None:
    records = [said(n, ("yes", "no", "3")[n % 3], "no", n % 3 == 1) for n in range(30)]
    assert shares(records) == shares(records[::-1])
    assert best_constant(records).answer == best_constant(records[::-1]).answer


def test_thousands_of_items_take_seconds() -> None:
    records = [said(n, f"{n % 97} red things", f"the {n % 53}", False, problem=f"what is {n} ?") for n in range(3000)]
    began = time.process_time()
    best_constant(records)
    shares(records)
    assert time.process_time() - began < 20
