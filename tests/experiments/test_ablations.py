"""Ablations: what each arm changes, what the figures say, and that a claim which does not hold is said not to."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from flows.ablations import needed
from wethink.common.errors import UserError
from wethink.common.jsonl import write_jsonl
from wethink.config.grpo import Grpo
from wethink.config.params import load_params
from wethink.config.rewards import Rewards
from wethink.config.training import Optim, Sft
from wethink.dag.experiment_stages import ABLATIONS
from wethink.experiments.ablation_results import CLAIMS, measures, result, steps_to
from wethink.experiments.arms import ARMS, MAIN
from wethink.report.ablations import ablations_page
from wethink.rewards.format import DEFAULT, parse
from wethink.rl.best_prompts import nearest_half
from wethink.rl.prompt_dataset import chosen_rows
from wethink.training.sft import chosen_rows as sft_rows
from wethink.training.sft import completions, samples_of
from wethink.training.supervised import Sample


def test_every_ablation_of_the_issue_has_its_arms_and_every_claim_its_two_sides() -> None:
    assert {arm.question for arm in ARMS.values()} == {
        *("paths", "start", "reward", "types", "sources", "pass rate", "weights", "control"),
    }
    known = {*ARMS, *MAIN}
    assert {side for claim in CLAIMS for side in (claim.better, claim.worse)} <= known
    trained = {name for name, arm in ARMS.items() if arm.trains == "grpo" and arm.question != "weights"}
    assert trained <= {claim.better for claim in CLAIMS if claim.question == "control"}


def test_every_arm_is_a_stage_whose_start_is_made_before_it() -> None:
    order = list(ABLATIONS)
    for name, arm in ARMS.items():
        assert f"measure_{name}" in ABLATIONS
        if arm.start in ARMS:
            assert order.index(f"arm_{arm.start}") < order.index(f"arm_{name}")
            assert ABLATIONS[f"arm_{name}"].inputs["start"] == ABLATIONS[f"arm_{arm.start}"].out


def test_every_arm_s_changes_are_settings_that_its_section_knows() -> None:
    params = load_params()
    for arm in ARMS.values():
        section: Any = params.grpo if arm.trains == "grpo" else params.sft
        type(section).model_validate(section.model_dump() | dict(arm.changes))
        Rewards.model_validate(params.rewards.model_dump() | dict(arm.rewards))
        assert arm.trains != "sft" or not arm.rewards


def test_every_arms_stages_name_functions_that_take_their_constants() -> None:
    import wethink.experiments.ablations as module

    for stage in ABLATIONS.values():
        function = getattr(module, stage.function.split(":")[1])
        assert set(stage.arguments) <= set(inspect.signature(function).parameters)


def test_only_the_named_arms_run_and_those_from_which_they_start() -> None:
    assert needed(["new_source"]) == ["sft_two_sources", "two_sources", "new_source", "more_sft", "rejection_sft"]
    assert set(needed([])) == set(ARMS)
    with pytest.raises(UserError, match="no such arm"):
        needed(["nothing"])


def paths(tmp_path: Path) -> Path:
    row = {"problem": "how many ?", "image": "i", "answer": "2", "split": "train", "source": "scenes"}
    rows = [
        row | {"id": "a", "refined_cot": "two things . 2"},
        row | {"id": "b", "refined_cot": "one . 1", "source": "digits", "answer": "1"},
        row | {"id": "c", "refined_cot": ""},
    ]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    write_jsonl(tmp_path / "descriptions.jsonl", [{"image": "i", "text": "a red thing"}])
    return tmp_path


def imitated(rows: Path, config: Sft) -> list[Sample]:
    chosen = sft_rows(rows, config)
    return samples_of(chosen, completions(chosen, rows, config, DEFAULT), config)


def test_sft_imitates_refined_paths_raw_ones_or_answers(tmp_path: Path) -> None:
    optim = Optim(lr=0.1, max_steps=1, train_batch_size=1)
    refined = imitated(paths(tmp_path), Sft(optim=optim))
    assert [parse(sample.completion).think for sample in refined] == ["two things . 2", "one . 1"]
    raw = imitated(tmp_path, Sft(optim=optim, paths="raw", sources=("scenes",)))
    assert [parse(s.completion).think for s in raw] == ["a red thing . two things . 2 . two things . 2"]
    answers = imitated(tmp_path, Sft(optim=optim, paths="answers"))
    assert [(s.completion, s.system) for s in answers] == [("2", ""), ("1", "")]


def grpo_config(**changes: Any) -> Grpo:
    return load_params().grpo.model_copy(update=changes)


ROWS = [
    {"id": str(n), "source": source, "category": category, "reward": "model" if category == "DES" else "rule"}
    for n, (source, category) in enumerate([("scenes", "MC"), ("charts", "FIB"), ("charts", "DES"), ("digits", "FIB")])
]


def test_prompts_are_chosen_by_source_type_and_route_and_all_by_default() -> None:
    def ids(**changes: Any) -> str:
        return "".join(row["id"] for row in chosen_rows(ROWS, grpo_config(**changes)))

    assert chosen_rows(ROWS, grpo_config()) == ROWS
    assert ids(sources=("charts",)) == "12" and ids(categories=("FIB",)) == "13"
    assert ids(reward_route="rule") == "013" and ids(reward_route="model") == "0123"
    assert {row["reward"] for row in chosen_rows(ROWS, grpo_config(reward_route="model"))} == {"model"}


def test_the_best_prompts_are_those_that_are_right_half_of_the_time() -> None:
    rates = {"0": 1.0, "1": 0.5, "2": 0.0, "3": 0.4}
    assert [row["id"] for row in nearest_half(ROWS, rates, 0.5)] == ["1", "3"]
    assert [row["id"] for row in nearest_half(ROWS, rates, 0.01)] == ["1"]
    unscored = {key: rate for key, rate in rates.items() if key != "1"}  # a row whose verdicts are all unknown
    assert "1" not in [row["id"] for row in nearest_half(ROWS, unscored, 0.5)]


def records(arm: str, seed: int, right: int, count: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "id": str(n),
            "scene": f"s{n // 2}",
            "checkpoint": arm,
            "temperature": temperature,
            "pixels": "true",
            "verdict": "correct" if n < right else "wrong",
        }
        for n in range(count)
        for temperature in (0.0, 1.0)
    ]


def arm(name: str, seed: int, accuracy: float) -> dict[str, Any]:
    entry = {"accuracy": accuracy, "low": accuracy - 0.1, "high": accuracy + 0.1, "n": 60}
    diversity = {"rows": 9, "kinds": 2, "questions": 3, "words": 5, "bits": 1.5}
    curve = [accuracy * n / 30 for n in range(31)] if name in ("grpo", "rules_only") else []
    more = {"question": "reward", "sampled": entry, "blank": entry, "shuffled": None, "cpu_seconds": 100.0}
    return {"name": name, "seed": seed, **entry, **more, "curve": curve, "diversity": diversity}


def made() -> dict[str, Any]:
    right = {"grpo": 40, "rules_only": 40, "judge_only": 20, "sft": 35, "sft_raw": 50}
    arms = [arm(name, seed, count / 60) for seed in (0, 1, 2) for name, count in right.items()]
    found = {(seed, name): records(name, seed, count) for seed in (0, 1, 2) for name, count in right.items()}
    return result(arms, found, 200, "full")


def test_a_claim_shows_is_not_shown_or_shows_the_contrary() -> None:
    verdicts = {(c["better"], c["worse"]): c["verdict"] for c in made()["claims"]}
    assert verdicts == {
        ("grpo", "judge_only"): "shows",
        ("grpo", "rules_only"): "not shown",
        ("sft", "sft_raw"): "the contrary",
    }


def test_a_difference_that_many_comparisons_would_find_by_chance_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wethink.experiments.ablation_results.holm", lambda found: dict.fromkeys(found, 0.06))
    assert {claim["verdict"] for claim in made()["claims"]} == {"not shown"}


def test_claims_are_over_all_seeds_and_adjusted_together() -> None:
    found = made()
    assert {claim["seeds"] for claim in found["claims"]} == {3}
    assert all(len(claim["per_seed"]) == 3 and claim["n"] == 180 for claim in found["claims"])
    assert all(claim["holm"] >= claim["p"] for claim in found["claims"])
    assert found["cpu_seconds"] == 1500.0 and found["seeds"] == [0, 1, 2]
    assert {"name", "seed", "accuracy", "low", "high", "n", "cpu_seconds"} <= set(found["arms"][0])


def test_steps_to_a_target_are_those_of_the_moving_average() -> None:
    assert steps_to([0.0] * 10 + [1.0] * 10, 1.0) == 20
    assert steps_to([0.0] * 30, 0.5) is None
    reached = {entry["name"]: entry["steps_to_target"] for entry in made()["arms"]}
    assert reached["grpo"] == reached["rules_only"] == 30 and reached["sft"] is None


def test_diversity_is_that_of_the_rows() -> None:
    rows = [{"kind": "a", "problem": "one two", "answer": str(n % 2)} for n in range(4)]
    assert measures(rows) == {"rows": 4, "kinds": 1, "questions": 1, "words": 4, "bits": 1.0}


@pytest.mark.parametrize("budget", ["full", "short", "smoke"])
def test_the_page_says_what_did_not_replicate_and_a_reduced_budget(budget: str) -> None:
    page = ablations_page(made() | {"budget": budget})
    assert "1 of 3 comparisons show what they claim; 1 show the contrary" in page
    assert "not shown" in page and ("Reduced budget" in page) == (budget != "full")
