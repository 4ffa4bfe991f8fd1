"""Every rule of the gate refuses for its own reason, and evidence that breaks none of them is a promotion."""

from dataclasses import replace
from typing import Any

import pytest

from wethink.config.retraining import Promotion
from wethink.retraining.promotion_rules import RULES, Change, Evidence, Group, shown_gain

CHANGE = Change(mean=0.1, low=0.05, high=0.15, items=200, scenes=60)
GOOD = Evidence(
    rule=Promotion(
        programme="test",
        new_weight=0.5,
        min_gain=0.0,
        alpha=0.05,
        spending="pocock",
        looks=5,
        margin=0.05,
        margins={},
        regression_alpha=0.05,
        min_scenes=20,
        max_unknown=0.02,
        resamples=1000,
    ),
    new_sources=frozenset({"birds"}),
    look=2,
    level=0.01,
    weights={"old": 0.5, "new": 0.5},
    items={"old": 100, "new": 100},
    scenes={"old": 30, "new": 30},
    unknown={"champion": 0.0, "challenger": 0.02},
    accuracy={},
    gain=CHANGE,
    p=0.001,
    groups=(Group("old", CHANGE, bound=0.02, margin=0.05, passed=True), Group("rest", CHANGE, -1.0, 0.05, None)),
)


def refusals(found: Evidence) -> list[tuple[str, str]]:
    return [(rule.__name__, reason) for rule in RULES for reason in rule(found)]


def test_evidence_that_breaks_no_rule_is_a_promotion_with_its_figures() -> None:
    assert refusals(GOOD) == []
    assert shown_gain(GOOD).startswith(
        "better by +10.0 points [+5.0 points, +15.0 points] on the declared mix (p = 0.00"
    )


@pytest.mark.parametrize(
    ("changes", "rule", "reason"),
    [
        ({"unknown": {"champion": 0.021, "challenger": 0.0}}, "_known_verdicts", "2.1% of the champion's verdicts"),
        ({"unknown": {"champion": 0.0, "challenger": 0.5}}, "_known_verdicts", "50.0% of the challenger's verdicts"),
        ({"level": 0.0}, "_unspent_looks", "the 5 looks of programme 'test' are spent"),
        ({"weights": {"new": 1.0}}, "_old_items_asked", "no old item was asked"),
        ({"weights": {"old": 1.0}}, "_new_items_asked", "no new item was asked, so nothing is known about birds"),
        ({"scenes": {"old": 19, "new": 30}}, "_enough_scenes", "the old items show 19 scenes; at least 20"),
        ({"p": 0.02}, "_better_on_the_mix", "not shown to be better: +10.0 points"),
        (
            {"groups": (Group("category MC", CHANGE, -0.06, 0.05, False),)},
            "_no_group_worse",
            "category MC: may be worse by 6.0 points, the margin is 5.0 points (change +10.0 points on 200 items).",
        ),
    ],
)
def test_each_rule_refuses_alone_and_for_its_own_reason(changes: dict[str, Any], rule: str, reason: str) -> None:
    [(name, said)] = refusals(replace(GOOD, **changes))
    assert name == rule and said.startswith(reason)


def test_a_challenger_that_adds_no_source_needs_no_new_items() -> None:
    assert refusals(replace(GOOD, weights={"old": 1.0}, new_sources=frozenset())) == []
