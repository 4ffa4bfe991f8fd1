"""`make peers`: pairs are read from three shapes of test files; every pair ends under one reason; reasons are sound."""

import re
from pathlib import Path
from typing import Any

from benchmarks.rewards.constructed import EXAM_SEEDS, pairs
from benchmarks.rewards.extraction import Case, Source, extract
from benchmarks.rewards.peers import SIDES, by_kind, by_peer, judgements, key

TABLES = r"""
import pytest
from parameterized import parameterized

@pytest.mark.parametrize("gold,pred,expected", [
    ("7", "7.0", 1),
    ("7", "8", 0),
    (make(), "8", 0),
])
def test_numbers(gold, pred, expected): ...

@pytest.mark.parametrize("output_pair", [(5 / 2, "2.5"), ("a", "\\text{a}")], ids=str)
def test_correct_examples(output_pair): ...

@pytest.mark.parametrize("output_pair", [(5, 5.001), (0, None)], ids=str)
def test_incorrect_examples(output_pair): ...

class TestVerifier:
    @parameterized.expand([("signed", "so it is -3", "-3", 1.0)])
    def test_signed(self, _name, prediction, label, expected_score): ...
"""
LISTS = r"""
class TestReward:
    def test_accuracy_reward(self):
        completions = [[{"content": r"So \boxed{\frac{1}{2}}"}], [{"content": "<think>x</think><answer>3</answer>"}]]
        solutions = [r"\frac{1}{2}", "4"]
        rewards = accuracy_reward(completions, solutions)
        assert rewards[0] == 1.0
        self.assertEqual(rewards[1], 0.0)

    def test_accuracy_reward_two_cases(self):
        completion = ["1"]
        solution = ["1"]
        completion = ["2"]
        self.assertEqual(rewards[0], 0.0)
"""
CASES = '[{"target": "42", "output": "42", "expected": "C"}, {"target": "42", "output": "43", "expected": "I"}]'


def read(name: str, text: str, only: tuple[str, ...] = ()) -> set[tuple[str, str, bool]]:
    return {(c.gold, c.answer, c.equal) for c in extract(Source("P", "", "", (name,), only), {name: text})}


def test_tables_of_parameters_are_read_without_running_them() -> None:
    assert read("a.py", TABLES) == {
        ("7", "7.0", True),
        ("7", "8", False),
        ("2.5", "2.5", True),
        ("a", r"\text{a}", True),
        ("5", "5.001", False),
        ("-3", "so it is -3", True),
    }
    assert read("a.py", TABLES, ("test_signed",)) == {("-3", "so it is -3", True)}


def test_lists_beside_assertions_and_cases_in_json_are_read() -> None:
    assert read("a.py", LISTS) == {(r"\frac{1}{2}", r"\frac{1}{2}", True), ("4", "3", False)}
    assert read("a.json", CASES) == {("42", "42", True), ("42", "43", False)}


def test_a_pair_held_for_both_right_and_wrong_is_left_out() -> None:
    both = '[{"target": "1", "output": "1", "expected": "C"}, {"target": "1", "output": "1", "expected": "I"}]'
    assert read("a.json", both) == set()


def test_every_pair_of_a_peer_is_counted_once() -> None:
    cases = [Case(f"p{n % 2}", str(n), str(n), n % 3 > 0) for n in range(30)]
    judged = {key(str(n), str(n)): (SIDES[n % 2 * 2], "") for n in range(0, 30, 5)}
    counted = by_peer(cases, [n % 4 > 0 for n in range(30)], judged)
    assert sum(row["n"] for row in counted.values()) == len(cases)
    for row in counted.values():
        assert row["n"] == sum(count for name, count in row.items() if name != "n")
    assert all(sum(row[side] for row in counted.values()) for side in ("agree", "ours_wrong", "policy", "artefact"))


def test_errors_of_a_kind_are_counted_in_the_direction_in_which_they_were_made() -> None:
    drawn = pairs(EXAM_SEEDS, 4)
    lenient: dict[str, Any] = by_kind(drawn, [True] * len(drawn))
    assert lenient["all"]["n"] == len(drawn) == sum(row["n"] for name, row in lenient.items() if name != "all")
    assert lenient["all"]["wrong_called_right"]["value"] == 1
    assert lenient["all"]["right_called_wrong"]["value"] == 0 < lenient["all"]["right_called_wrong"]["high"]


def test_each_judgement_names_a_side_and_a_policy_quotes_the_page_on_rewards() -> None:
    page = re.sub(r"\s+", " ", Path("docs/rewards.md").read_text(encoding="utf-8"))
    for name, (side, why) in judgements().items():
        assert re.fullmatch("[0-9a-f]{16}", name) and side in SIDES and why
        assert side != "policy" or why in page, why
