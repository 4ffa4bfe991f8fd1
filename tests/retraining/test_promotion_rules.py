"""Every rule of the gate refuses for its own reason, and evidence that breaks none of them is a promotion."""

from dataclasses import replace
from typing import Any

import pytest

from wethink.config.retraining import Promotion
from wethink.retraining.promotion_rules import (
    RULES,
    Change,
    Comparison,
    Evidence,
    FrequentAnswer,
    Group,
    ImageUse,
    shown_gain,
)

CHANGE = Change(mean=0.1, low=0.05, high=0.15, items=200, scenes=60)
LEARNED = (
    "new items: learned the form, not the source: right 40.0% with the true image, 30.0% with a blank image, 30.0% "
    "with another scene's image, 30.0% by always answering 'yes'"
)
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


def use(frequent: bool = True, **changes: dict[str, Any]) -> ImageUse:
    """A challenger that beats every control, but for the given changes."""
    good = {"accuracy": 0.3, "change": CHANGE, "bound": 0.06, "margin": 0.02, "unknown": 0.0, "passed": True}
    controls = tuple(
        Comparison(control=name, **(good | changes.get(name, {}))) for name in ("blank", "swapped", "constant")
    )
    answer = FrequentAnswer("new", "no", 90, 100, 0.6, frequent)
    return ImageUse("new", 100, 0.4, "yes", 0, 0.2, controls, (answer,))


def refusals(found: Evidence) -> list[tuple[str, str]]:
    return [(rule.__name__, reason) for rule in RULES for reason in rule(found)]


def test_evidence_that_breaks_no_rule_is_a_promotion_with_its_figures() -> None:
    assert refusals(GOOD) == [] == refusals(replace(GOOD, image_use=(use(),)))
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
        (
            {"image_use": (use(blank={"passed": False}),)},
            "_source_learned",
            f"{LEARNED}; not shown to be above a blank image by more "
            "than 2.0 points: +10.0 points [+5.0 points, +15.0 points].",
        ),
        (
            {"image_use": (use(frequent=False),)},
            "_source_learned",
            f"{LEARNED}; 'no' is 90 of its 100 answers (new), 60.0 points more than of the golds.",
        ),
        (
            {"image_use": (use(swapped={"unknown": 0.03}),)},
            "_controls_known",
            "3.0% of the verdicts on the new items with another scene's image are unknown; the limit is 2.0%.",
        ),
        (
            {"image_use": (use(swapped={"passed": None, "change": None, "accuracy": None}),)},
            "_controls_known",
            "the new items with another scene's image show 0 scenes; at least 20 are needed to decide",
        ),
    ],
)
def test_each_rule_refuses_alone_and_for_its_own_reason(changes: dict[str, Any], rule: str, reason: str) -> None:
    [(name, said)] = refusals(replace(GOOD, **changes))
    assert name == rule and said.startswith(reason)


def test_a_challenger_that_adds_no_source_needs_no_new_items() -> None:
    assert refusals(replace(GOOD, weights={"old": 1.0}, new_sources=frozenset())) == []
