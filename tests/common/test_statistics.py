"""Laws of the statistics: intervals that cover, pairs that sharpen, unknown that is not wrong."""

import random
from typing import Any

import numpy as np
import pytest

from wethink.common.errors import UserError
from wethink.common.statistics import cluster_bootstrap, holm, paired_bootstrap, paired_test, pass_at_k
from wethink.evaluation.summary import majority, summarise

TRUTH = 0.6


def correlated(rng: np.random.Generator, scenes: int = 80, questions: int = 6) -> tuple[Any, Any]:
    """Questions whose chance of a right answer is drawn per scene: mean TRUTH, strongly shared."""
    chance = rng.beta(TRUTH * 1.5, (1 - TRUTH) * 1.5, scenes)
    return rng.random((scenes, questions)) < chance[:, None], np.repeat(np.arange(scenes), questions)


def test_the_cluster_interval_covers_the_truth_and_an_item_interval_does_not() -> None:
    rng = np.random.default_rng(5)
    clustered = itemwise = 0
    trials = 300
    for trial in range(trials):
        right, scenes = correlated(rng)
        right = right.ravel()
        honest = cluster_bootstrap(right, scenes, 400, trial)
        mutant = cluster_bootstrap(right, np.arange(len(right)), 400, trial)
        clustered += honest.low <= TRUTH <= honest.high
        itemwise += mutant.low <= TRUTH <= mutant.high
    assert 0.91 <= clustered / trials <= 0.98
    assert itemwise / trials < 0.85


def test_a_paired_interval_is_narrower_than_two_unpaired_ones() -> None:
    rng = np.random.default_rng(1)
    before, scenes = correlated(rng)
    before = before.ravel()
    after = before | (rng.random(len(before)) < 0.1)
    paired = paired_bootstrap(after, before, scenes, 1000, 0)
    spread = [cluster_bootstrap(values, scenes, 1000, 0) for values in (after, before)]
    unpaired = float(np.hypot(*(one.high - one.low for one in spread)))
    assert paired.mean == pytest.approx(after.mean() - before.mean())
    assert paired.high - paired.low < 0.6 * unpaired
    assert paired.low > 0


def test_clusters_of_unequal_size_weigh_by_their_items() -> None:
    right = [1] * 20 + [0] * 20  # twenty scenes with one question each, one with twenty
    found = cluster_bootstrap(right, [*range(20), *[20] * 20], 2000, 0)
    assert found.value == 0.5
    assert found.low == pytest.approx(18 / 78)  # the large scene drawn three times; a mean of scene means says 18/21
    assert found.high == 1.0  # not drawn at all


def test_the_order_of_items_changes_nothing() -> None:
    right, scenes = correlated(np.random.default_rng(3))
    order = np.random.default_rng(4).permutation(right.size)
    assert cluster_bootstrap(right.ravel(), scenes, 200, 9) == cluster_bootstrap(
        right.ravel()[order], scenes[order], 200, 9
    )


def test_no_item_is_an_error_and_not_a_number() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        cluster_bootstrap([], [], 10, 0)


def test_majority_is_the_best_constant_answer_per_kind() -> None:
    items = [
        *({"kind": "count", "answer": answer} for answer in ("2", "2", "3", "1")),
        *({"kind": "exists", "answer": answer} for answer in ("yes", "no", "yes", "yes", "no")),
        {"kind": "describe", "answer": "A red circle."},
    ]
    assert majority(items) == pytest.approx((2 + 3 + 1) / 10)
    assert majority([]) == 0.0


def record(item: str, checkpoint: str, verdict: str, **fields: Any) -> dict[str, Any]:
    """An evaluation record; an item 'b3' is of scene 'b' and has the answer '3'."""
    return {
        "id": item,
        "scene": item[0],
        "source": "charts" if item[0] == "c" else "scenes",
        "kind": "count",
        "category": "FIB",
        "reward": "rule",
        "abilities": ["reasoning", "recognition"],
        "image": "0" * 64,
        "problem": "How many?",
        "answer": item[1:],
        "checkpoint": checkpoint,
        "temperature": 0.0,
        "pixels": "true",
        "response": "",
        "extracted": "",
        "verdict": verdict,
        "reason": "",
        "tokens": 10,
        "strict": True,
    } | fields


def fixture() -> list[dict[str, Any]]:
    sft = {"a1": "correct", "a2": "wrong", "b2": "wrong", "c3": "unknown"}
    grpo = {"a1": "correct", "a2": "correct", "b2": "wrong", "c3": "correct"}
    return [
        *(record(item, "sft", verdict, tokens=10) for item, verdict in sft.items()),
        *(record(item, "grpo", verdict, tokens=20, strict=item != "a1") for item, verdict in grpo.items()),
        *(record(item, "sft", "wrong", temperature=1.0) for item in sft),
        *(record(item, "grpo", verdict, temperature=1.0) for item, verdict in grpo.items()),
        *(record(item, "grpo", "wrong", pixels="blank") for item in grpo),
        *(record(item, "grpo", "wrong" if item[0] == "a" else "correct", pixels="shuffled") for item in grpo),
    ]


def test_summary_of_a_hand_computed_fixture() -> None:
    found = summarise(fixture(), 200, 0)
    assert (found["records"], found["items"], found["scenes"], found["majority"]) == (24, 4, 3, 0.5)
    assert "base" not in found and "sft_minus_base" not in found
    assert (found["sft"]["accuracy"], found["sft"]["n"], found["sft"]["unknown"]) == (0.333333, 3, 0.25)
    assert (found["grpo"]["accuracy"], found["grpo"]["format"], found["grpo"]["mean_tokens"]) == (0.75, 0.75, 20.0)
    assert found["grpo"]["sampled"]["accuracy"] == 0.75
    assert found["grpo"]["blank"] == {"accuracy": 0.0, "low": 0.0, "high": 0.0, "n": 4}
    assert found["grpo"]["shuffled"]["accuracy"] == 0.5
    assert "blank" not in found["sft"]
    assert (found["grpo_minus_sft"]["mean"], found["grpo_minus_sft"]["n"]) == (0.333333, 3)  # without the unknown pair
    assert (found["grpo_minus_sft"]["sampled"]["mean"], found["grpo_minus_sft"]["sampled"]["n"]) == (0.75, 4)
    assert set(found["sources"]) == {"charts", "scenes"} and set(found["abilities"]) == {"reasoning", "recognition"}
    assert found["sources"]["scenes"]["grpo"]["accuracy"] == 0.666667
    assert found["kinds"]["count"]["sft"] == found["categories"]["FIB"]["sft"] == found["sft"]


def test_unknown_is_not_wrong() -> None:
    found = summarise(fixture(), 50, 0)["sources"]["charts"]
    assert found["sft"]["accuracy"] is None and found["sft"]["n"] == 0 and found["sft"]["unknown"] == 1.0
    assert found["grpo_minus_sft"]["mean"] is None
    assert found["at_majority"] is False  # nothing known is no evidence of guessing


def test_a_source_that_is_not_shown_to_beat_the_majority_is_flagged() -> None:
    records = [
        record(f"a{number % 2}", checkpoint, "correct" if number % 20 < right_of_20 else "wrong")
        | {"id": f"{source}{number}", "scene": f"{source}{number}", "source": source}
        for source, right_of_20 in (("scenes", 19), ("charts", 10))
        for number in range(200)
        for checkpoint in ("sft", "grpo")
    ]
    sources = summarise(records, 300, 0)["sources"]
    assert {name: group["at_majority"] for name, group in sources.items()} == {"scenes": False, "charts": True}


def test_the_order_of_records_and_a_second_run_change_nothing() -> None:
    shuffled = fixture()
    random.Random(0).shuffle(shuffled)
    assert summarise(shuffled, 100, 7) == summarise(fixture(), 100, 7) == summarise(fixture(), 100, 7)


def test_a_doubled_record_and_a_made_up_verdict_are_refused() -> None:
    with pytest.raises(UserError, match="occurs twice"):
        summarise([*fixture(), fixture()[0]], 10, 0)
    with pytest.raises(UserError, match="maybe"):
        summarise([record("a1", "sft", "maybe")], 10, 0)


def test_the_sign_flip_test_keeps_its_level_and_finds_what_is_there() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(40), 3)
    level = []
    for _ in range(200):
        shared = rng.random(40)[clusters]
        a, b = (rng.random(120) < shared), (rng.random(120) < shared)
        level.append(paired_test(a, b, clusters, 200, 0) < 0.05)
    assert 0.0 < np.mean(level) < 0.12
    assert paired_test(np.ones(120), rng.random(120) < 0.5, clusters, 500, 0) < 0.01
    assert paired_test(a, a, clusters, 500, 0) == 1.0


def test_holm_s_adjustment_by_hand() -> None:
    """Smallest times 3, the next times 2 and never below the one before, the last as it is."""
    assert holm({"a": 0.01, "b": 0.02, "c": 0.5}) == {"a": 0.03, "b": 0.04, "c": 0.5}
    assert holm({"a": 0.02, "b": 0.011}) == {"a": 0.022, "b": 0.022}
    assert holm({}) == {}


def test_pass_at_k_is_the_chance_of_one_right_among_k() -> None:
    assert pass_at_k(4, 1, 1) == 0.25 and pass_at_k(4, 1, 4) == 1.0
    assert pass_at_k(4, 2, 2) == pytest.approx(5 / 6)  # 1 − C(2,2)/C(4,2)
    with pytest.raises(ValueError):
        pass_at_k(2, 1, 3)
