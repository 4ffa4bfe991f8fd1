"""The gate: no door for luck, no wall for what is better, and every refusal says why."""

from typing import Any

import numpy as np
import pytest

from tests.support.evaluations import seeing
from wethink.common.errors import UserError
from wethink.config.retraining import Promotion
from wethink.report.decision import decision_page
from wethink.retraining.alpha_spending import level, spent
from wethink.retraining.promotion_gate import Decision, held_out
from wethink.retraining.promotion_gate import decide as gate

SOURCES = {"scenes": "FIB", "charts": "MC", "photos": "FIB"}  # source → category
NEW = ["photos"]
SCENES, QUESTIONS = 30, 8  # of each source

Answers = dict[str, list[dict[str, Any]]]


def rule(**changed: Any) -> Promotion:
    declared: dict[str, Any] = {
        "programme": "test",
        "new_weight": 0.5,
        "min_gain": 0.0,
        "alpha": 0.05,
        "spending": "pocock",
        "looks": 1,
        "margin": 0.15,
        "margins": {},
        "regression_alpha": 0.05,
        "min_scenes": 20,
        "max_unknown": 0.02,
        "resamples": 200,
    }
    return Promotion(**(declared | changed))


def answers(seed: int, **chance: float) -> list[dict[str, Any]]:
    """One model's evaluation. Its chance to be right varies strongly by scene, around `chance` of the source."""
    rng = np.random.default_rng(seed)
    records = []
    for source, category in SOURCES.items():
        middle = chance.get(source, 0.5)
        for scene in range(SCENES):
            here = rng.beta(middle, 1 - middle)
            records += [
                {
                    "id": f"{source}-{scene}-{question}",
                    "scene": f"{source}-{scene}",
                    "image": f"{source}-{scene}",
                    "source": source,
                    "category": category,
                    "reward": "rule",
                    "problem": "how many ?",
                    "answer": str(gold := (scene * QUESTIONS + question) % 23),
                    "pixels": "true",
                    "verdict": "correct" if (right := rng.random() < here) else "wrong",
                    "extracted": str(gold if right else 100 + (7 * scene + question) % 29),
                }
                for question in range(QUESTIONS)
            ]
    return records


def decide(
    champion: list[dict[str, Any]],
    challenger: list[dict[str, Any]],
    new: list[str],
    look: int,
    config: Promotion,
    seed: int,
) -> Decision:
    """The gate's decision on a challenger that uses the images."""
    return gate(champion, seeing(challenger), new, look, config, seed)


def resampled(one: list[dict[str, Any]], other: list[dict[str, Any]], rng: np.random.Generator) -> tuple[Any, Any]:
    """An evaluation of two that are equally good: scenes drawn anew, and in each a coin says who is who."""
    scenes: dict[str, list[int]] = {}
    for position, record in enumerate(one):
        scenes.setdefault(record["scene"], []).append(position)
    names = sorted(scenes)
    pair: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for number, drawn in enumerate(rng.integers(0, len(names), len(names))):
        swap = rng.random() < 0.5
        for position in scenes[names[drawn]]:
            for side, record in zip(pair, (other, one) if swap else (one, other), strict=True):
                found = record[position]
                side.append(found | {"id": f"{number}-{found['id']}", "scene": f"{number}-{found['scene']}"})
    return pair


def promotions(config: Promotion, evaluations: int, by_item: bool = False) -> float:
    rng, one, other = np.random.default_rng(11), answers(1), answers(2)
    promoted = 0
    for trial in range(evaluations):
        champion, challenger = resampled(one, other, rng)
        if by_item:  # the mutant: questions about one scene taken for independent
            champion, challenger = ([r | {"scene": r["id"]} for r in side] for side in (champion, challenger))
        promoted += decide(champion, challenger, NEW, 1, config, trial).promoted
    return promoted / evaluations


def test_one_that_is_no_better_is_promoted_at_most_five_times_in_a_hundred() -> None:
    assert promotions(rule(), 200) <= 0.05


def test_that_law_would_catch_a_gate_that_counts_questions_instead_of_scenes() -> None:
    loose = rule(margin=0.9)
    assert promotions(loose, 100, by_item=True) > 0.12 > 0.08 > promotions(loose, 100)


def test_a_clearly_better_challenger_is_promoted_and_says_what_was_shown() -> None:
    found = decide(answers(1), better(), NEW, 3, rule(looks=5, resamples=1000), 0)
    assert found.promoted and len(found.reasons) == 1
    assert "better by +" in found.reasons[0] and "look 3 of 5" in found.reasons[0]
    assert found.gain is not None and found.gain.low > 0.1 and found.weights == {"old": 0.5, "new": 0.5}
    assert {group.name for group in found.groups} == {
        *("old", "new", "source scenes", "source charts", "source photos", "category FIB", "category MC")
    }


def better() -> list[dict[str, Any]]:
    return answers(2, scenes=0.85, charts=0.85, photos=0.9)


def test_a_gain_on_the_whole_does_not_buy_harm_to_one_category() -> None:
    found = decide(answers(1), answers(2, scenes=0.95, charts=0.3, photos=0.95), NEW, 1, rule(), 0)
    assert found.gain is not None and found.gain.low > 0.05, "on the mix it is better"
    assert not found.promoted
    assert sorted(reason.split(":")[0] for reason in found.reasons) == ["category MC", "source charts"]


def test_a_tighter_margin_of_one_group_is_its_own() -> None:
    assert decide(answers(1), better(), NEW, 1, rule(), 0).promoted
    same = [
        r | {"verdict": c["verdict"]} if r["source"] == "charts" else r
        for r, c in zip(better(), answers(1), strict=True)
    ]
    assert decide(answers(1), same, NEW, 1, rule(), 0).promoted
    once_right = next(r["id"] for r in same if r["source"] == "charts" and r["verdict"] == "correct")
    nearly = [r | {"verdict": "wrong"} if r["id"] == once_right else r for r in same]
    found = decide(answers(1), nearly, NEW, 1, rule(margins={"source charts": 0.001}), 0)
    assert [reason.split(":")[0] for reason in found.reasons] == ["source charts"]


def test_every_reason_is_told_and_not_only_the_first() -> None:
    worse = [
        r | {"verdict": "unknown"} if int(r["id"][-1]) == 0 and r["source"] == "photos" else r
        for r in answers(2, charts=0.1)
    ]
    found = decide(answers(1), worse, NEW, 2, rule(), 0)
    said = " ".join(found.reasons)
    assert not found.promoted
    for part in ("challenger's verdicts are unknown", "looks of programme 'test' are spent", "category MC"):
        assert part in said
    assert "champion's verdicts" not in said and found.unknown == {"champion": 0.0, "challenger": pytest.approx(1 / 24)}


def test_unknown_is_neither_right_nor_wrong_for_the_gain() -> None:
    hidden = [r | {"verdict": "unknown"} if r["id"] == "scenes-0-0" else r for r in better()]
    whole, found = (decide(answers(1), side, NEW, 1, rule(), 0) for side in (better(), hidden))
    assert whole.gain is not None and found.gain is not None
    assert found.gain.items == whole.gain.items - 1 and found.promoted


def test_too_few_scenes_say_nothing_and_small_groups_are_judged_together() -> None:
    few = {
        "scenes-1",
        "scenes-2",
        "scenes-3",
        *(f"photos-{n}" for n in range(SCENES)),
        *(f"charts-{n}" for n in range(SCENES)),
    }
    one, other = ([r for r in side if r["scene"] in few] for side in (answers(1), better()))
    found = decide(one, other, NEW, 1, rule(), 0)
    assert found.promoted and {"rest", "source charts", "category FIB"} <= {group.name for group in found.groups}
    rest = next(group for group in found.groups if group.name == "rest")
    assert rest.passed is None and rest.change.scenes == 3
    new = [
        [r for r in side if r["source"] != "photos" or r["scene"] in ("photos-0", "photos-1")] for side in (one, other)
    ]
    assert "the new items show 2 scenes" in " ".join(decide(new[0], new[1], NEW, 1, rule(), 0).reasons)


@pytest.mark.parametrize(("kept", "said"), [("old", "no new item was asked"), ("new", "no old item was asked")])
def test_a_missing_half_of_the_mix_is_refused(kept: str, said: str) -> None:
    one, other = ([r for r in side if (r["source"] in NEW) == (kept == "new")] for side in (answers(1), better()))
    found = decide(one, other, NEW, 1, rule(), 0)
    assert not found.promoted and said in " ".join(found.reasons)


def test_without_a_new_source_the_old_items_are_the_whole_mix() -> None:
    found = decide(answers(1), better(), [], 1, rule(), 0)
    assert found.promoted and found.weights == {"old": 1.0}


def test_different_items_doubled_items_and_made_up_verdicts_are_errors() -> None:
    one = answers(1)
    for broken, said in (
        (one[1:], "different items"),
        ([*one, one[0]], "occurs twice"),
        ([one[0] | {"verdict": "maybe"}, *one[1:]], "'maybe'"),
    ):
        with pytest.raises(UserError, match=said):
            decide(one, broken, NEW, 1, rule(), 0)
    with pytest.raises(UserError, match="no held-out item"):
        decide([], [], NEW, 1, rule(), 0)


def test_the_order_of_records_changes_nothing_and_the_same_decision_is_the_same_bytes() -> None:
    first = decide(answers(1), better(), NEW, 1, rule(), 0).as_record()
    assert first == decide(answers(1)[::-1], better(), NEW, 1, rule(), 0).as_record()
    assert held_out(answers(1)) == held_out(answers(2)[::-1]) != held_out(answers(1)[1:])


@pytest.mark.parametrize("spending", ["pocock", "obrien_fleming"])
def test_all_looks_together_spend_alpha_and_no_more(spending: Any) -> None:
    levels = [level(look, 7, 0.05, spending) for look in range(1, 10)]
    assert sum(levels) == pytest.approx(0.05) and min(levels[:7]) > 0 and levels[7:] == [0.0, 0.0]


def test_spending_functions_have_the_values_of_their_formulas() -> None:
    # Lan & DeMets (1983), one-sided alpha 0.025, five equal looks; widely tabulated
    assert [round(spent(k / 5, 0.025, "obrien_fleming"), 4) for k in range(1, 6)] == [
        0.0,
        0.0004,
        0.0038,
        0.0122,
        0.025,
    ]
    assert [round(spent(k / 5, 0.025, "pocock"), 4) for k in range(1, 6)] == [0.0074, 0.0131, 0.0177, 0.0216, 0.025]


def test_resamples_that_cannot_reach_the_level_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        rule(looks=20)


def test_the_page_says_what_was_decided_and_trusts_no_text() -> None:
    evil = [r | {"source": "<script>alert(1)</script>"} if r["source"] == "photos" else r for r in answers(1)]
    other = [
        r | {"source": "<script>alert(1)</script>"} if r["source"] == "photos" else r for r in answers(2, charts=0.2)
    ]
    found = decide(evil, other, ["<script>alert(1)</script>"], 1, rule(), 0).as_record()
    page = decision_page(found, {"champion": "<b>3</b>", "challenger": "4", "new sources": "<img src=x>"})
    assert "<script>" not in page and "<b>3" not in page and "<img" not in page
    assert "refused" in page and "category MC" in page and "&lt;script&gt;" in page
    assert page == decision_page(found, {"champion": "<b>3</b>", "challenger": "4", "new sources": "<img src=x>"})
