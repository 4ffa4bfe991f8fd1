"""Every rule and every quirk of it, in a table that people can read: tests/rewards/cases/rules.jsonl."""

from collections import Counter
from pathlib import Path

import pytest

from wethink.common.jsonl import read_jsonl
from wethink.config.rewards import Rewards
from wethink.rewards import format, hybrid

CONFIG = Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical")
CASES = list(read_jsonl(Path(__file__).parent / "cases" / "rules.jsonl"))
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
    assert min(count.values()) >= 5 and len(count) == 15


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case['rule']}: {case['response'][:40]!a} for {case['gold'][:20]!a}"
)
def test_the_rules_read_the_table_as_it_was_written(case: dict[str, str]) -> None:
    response = case["response"] if case["rule"] == "grammar" else format.render("seen", case["response"])
    problem = PROBLEMS.get(case["problem"], case["problem"])
    reward = "model" if case["rule"] == "judge" else "rule"
    found = hybrid.score(response, problem, case["gold"], case["category"], reward, CONFIG)
    if case["expected"][0].isdigit():
        assert found.accuracy == pytest.approx(float(case["expected"]), abs=1e-6), found.verdict
    else:
        assert found.verdict.outcome == case["expected"], found.verdict
