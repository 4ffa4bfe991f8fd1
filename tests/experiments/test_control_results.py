"""What the controls say, on records made by hand."""

from pathlib import Path
from typing import Any

from wethink.common.jsonl import write_jsonl
from wethink.evaluation.summary import summarise
from wethink.experiments.control_results import ARMS, CONTROLS, compare, pool
from wethink.experiments.controls import affordable_steps, budget

NAMES = ("base", "sft", "grpo", *ARMS)


def record(item: int, checkpoint: str, right: bool, temperature: float = 0.0, pixels: str = "true") -> dict[str, Any]:
    return {
        "id": f"i{item}",
        "scene": f"s{item // 2}",
        "source": "scenes",
        "kind": "count",
        "category": "FIB",
        "reward": "rule",
        "abilities": ["counting"],
        "image": "x",
        "problem": "p",
        "answer": str(item % 3),
        "checkpoint": checkpoint,
        "temperature": temperature,
        "pixels": pixels,
        "response": "",
        "extracted": "",
        "verdict": "correct" if right else "wrong",
        "reason": "",
        "tokens": 5,
        "strict": True,
    }


def records(shares: dict[str, float], count: int = 200) -> list[dict[str, Any]]:
    """Checkpoint `name` is right on the first `shares[name]` of the items, in every setting."""
    settings = [(0.0, "true"), (1.0, "true"), (0.0, "blank"), (0.0, "shuffled")]
    return [
        record(item, name, item < share * count, *setting)
        for name, share in shares.items()
        for item in range(count)
        for setting in settings
    ]


SHARES = dict(zip(NAMES, (0.3, 0.5, 0.8, 0.6, 0.7, 0.4, 0.5), strict=True))


def test_the_headline_is_grpo_over_the_best_control() -> None:
    found = records(SHARES)
    compared = compare(found, summarise(found, 50, 0), 200, 0)
    best = max(CONTROLS, key=SHARES.__getitem__)
    for setting in ("greedy", "sampled"):
        headline = compared["headline"][setting]
        assert headline["best_control"] == best == "rejection_sft"
        assert abs(headline["mean"] - 0.1) < 1e-9 and headline["low"] > 0


def test_a_better_control_makes_the_headline_negative() -> None:
    found = records(SHARES | {"more_sft": 0.9})
    headline = compare(found, summarise(found, 50, 0), 200, 0)["headline"]["greedy"]
    assert headline["best_control"] == "more_sft" and headline["high"] < 0


def test_shuffled_golds_are_no_control_to_beat() -> None:
    found = records(SHARES | {"shuffled_gold": 0.95})
    compared = compare(found, summarise(found, 50, 0), 200, 0)
    assert compared["headline"]["greedy"]["best_control"] == "rejection_sft"
    assert compared["controls"]["shuffled_gold"]["it_minus_sft"]["mean"] > 0.4  # but its gain is shown


def test_pooling_keeps_the_scenes_of_seeds_apart() -> None:
    found = records(SHARES)
    one, three = pool([(0, found)], 400), pool([(seed, found) for seed in range(3)], 400)
    narrow, wide = three["grpo_minus_sft"]["greedy"], one["grpo_minus_sft"]["greedy"]
    assert narrow["n"] == 3 * wide["n"] and abs(narrow["mean"] - wide["mean"]) < 1e-9
    assert narrow["high"] - narrow["low"] < wide["high"] - wide["low"]


def test_a_control_may_spend_what_its_own_rival_cost(tmp_path: Path) -> None:
    for stage, cost in (("grpo", 1.5), ("arm_one_source", 0.5)):
        write_jsonl(tmp_path / f"{stage}.metrics.jsonl", [{"cost_seconds": cost}, {"cost_seconds": cost}])
    assert budget(Path("models/grpo"), tmp_path) == 3.0
    assert budget(Path("models/arms/one_source"), tmp_path) == 1.0


def test_a_control_gets_the_steps_that_the_budget_affords() -> None:
    assert affordable_steps(10.0, [0.5, 0.1, 0.2]) == 50
    assert affordable_steps(0.01, [1.0]) == 1
