"""Every rule and every quirk of it, in tables that people can read: tests/rewards/cases/{rules,values}.jsonl."""

from collections import Counter
from pathlib import Path

import pytest

from wethink.common.jsonl import read_jsonl
from wethink.config.rewards import Rewards
from wethink.rewards import hybrid
from wethink.rewards.rules.verify import verify

CONFIG = Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical")
CASES = list(read_jsonl(Path(__file__).parent / "cases" / "rules.jsonl"))
VALUES = list(read_jsonl(Path(__file__).parent / "cases" / "values.jsonl"))
PROBLEMS = {
    "@colours": "which thing is top left ? A red circle B blue star C green square D yellow cross",
    "@cities": "Which city is shown in the photo?\nA. Paris\nB. New York\nC. The Hague\nD. Rio de Janeiro",
    "@distances": "How far is it?\nA. 5 km\nB. 10 km\nC. 1,500 km\nD. none of these",
    "@primes": "Select all primes.\nA. 2\nB. 3\nC. 4\nD. 5",
    "@box": "Give the bounding box of the red car.",
    "@point": "Click on the search button: give its pixel coordinates.",
}


def test_the_table_is_large_and_covers_every_rule() -> None:
    count = Counter(case["rule"] for case in CASES)
    assert len({tuple(case.values()) for case in CASES}) == len(CASES) >= 300
    assert min(count.values()) >= 5 and len(count) >= 15


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case['rule']}: {case['response'][:40]!a} for {case['gold'][:20]!a}"
)
def test_the_rules_read_the_table_as_it_was_written(case: dict[str, str]) -> None:
    grammar = case["rule"] == "grammar"
    response = case["response"] if grammar else f"<think>seen</think><answer>{case['response']}</answer>"
    problem = PROBLEMS.get(case["problem"], case["problem"])
    reward = "model" if case["rule"] == "judge" else "rule"
    found = hybrid.score(response, problem, case["gold"], case["category"], reward, CONFIG)
    if case["expected"][0].isdigit():
        assert found.accuracy == pytest.approx(float(case["expected"]), abs=1e-6), found.verdict
    else:
        assert found.verdict.outcome == case["expected"], found.verdict


def test_the_table_of_values_has_right_and_wrong_answers_of_every_kind() -> None:
    outcomes = Counter((case["rule"], case["expected"]) for case in VALUES)
    assert len({tuple(case.values()) for case in VALUES}) == len(VALUES) >= 1500
    assert {kind for kind, _ in outcomes} == {kind for kind, expected in outcomes if expected == "wrong"}


@pytest.mark.parametrize("rule", sorted({case["rule"] for case in VALUES}))
def test_values_are_met_by_their_equals_and_by_nothing_else(rule: str) -> None:
    failed = {
        (case["gold"], case["response"], case["problem"], verdict.outcome)
        for case in VALUES
        if case["rule"] == rule
        and (verdict := verify(case["response"], case["gold"], case["problem"], case["category"], 0.001)).outcome
        != case["expected"]
    }
    assert not failed


@pytest.mark.parametrize(
    ("gold", "kind"),
    [
        ("7", "number"), ("7 cm", "quantity"), ("7%", "percentage"), ("yes", "yes/no"), ("2024-03-05", "date"),
        ("3:45 pm", "time"), ("3:2", "ratio"), ("[0, 1)", "interval"), ("x > 3", "inequality"), ("(1, 2)", "tuple"),
        ("{1, 2}", "set"), ("red, blue", "list"), (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", "matrix"),
        ("x^2+1", "expression"),
        ("y = 2x + 1", "equation"), ("red", "text"), (r"2\sqrt{3} \text{ cm}", "expression"),
    ],
)  # fmt: skip
def test_a_verdict_names_the_kind_of_value(gold: str, kind: str) -> None:
    assert verify(gold, gold, "", "FIB", 0.001).kind == kind
    assert verify("nothing of the kind", gold, "", "FIB", 0.001).kind == kind
