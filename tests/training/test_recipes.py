"""Recipes and DeepSpeed files are more than names: each of them trains."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.invariants.workshop import ROOT, build, told
from tests.invariants.worlds import in_world
from wethink.common.jsonl import read_jsonl
from wethink.config.launch import Launch
from wethink.config.params import load_yaml
from wethink.training.engine import deepspeed_config
from wethink.training.ranks import join


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("workshop"))


def dotted(overlay: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in overlay.items():
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}__")
        else:
            yield f"{prefix}{key}", value


def moved(workshop: Path, scratch: str) -> bool:
    before = load_file(workshop / "models/base/model.safetensors")
    after = load_file(workshop / scratch / "out/model.safetensors")
    assert all(bool(value.isfinite().all()) for value in after.values())
    return any(not torch.equal(before[name], value.to(before[name].dtype)) for name, value in after.items())


@pytest.mark.parametrize("recipe", ["wethink", "dapo", "dr-grpo", "gspo"])
def test_a_recipe_trains_a_step(workshop: Path, recipe: str) -> None:
    given = dict(dotted(load_yaml(ROOT / f"profiles/{recipe}.yaml")))
    given |= {"grpo__optim__max_steps": 1, "grpo__optim__train_batch_size": 16, "grpo__max_completion_length": 12}
    assert told(workshop, "grpo", given, recipe) == ""
    (line,) = read_jsonl(workshop / recipe / "metrics.jsonl")
    assert line["rounds"] <= given.get("grpo__max_resample_rounds", 0) + 1 and not line["skipped"]
    assert moved(workshop, recipe)


@pytest.mark.parametrize("file", ["zero1_bf16", "zero3_bf16", "zero2_offload_fp32", "zero3_offload_fp32"])
def test_grpo_with_a_reference_policy_trains_a_step_through_a_deepspeed_file(workshop: Path, file: str) -> None:
    given = {"launch__deepspeed": str(ROOT / f"infra/deepspeed/{file}.json"), "grpo__kl_coef": 0.01}
    given |= {"grpo__optim__max_steps": 1, "grpo__max_logprob_diff": 0.1}
    assert told(workshop, "grpo", given, file) == ""
    assert moved(workshop, file)


STYLES = """
def long(completions, **kwargs):  # as written for TRL
    return [min(1.0, len(completion[0]["content"]) / 100) for completion in completions]


async def even(completions):
    return [float(len(completion) % 2 == 0) for completion in completions]


def close(answers, golds, rows):
    assert all(row["image"] for row in rows)
    return [0.5 if answer else 0.0 for answer, gold in zip(answers, golds)]
"""


def test_own_reward_functions_of_every_style_train_a_step_and_are_logged(workshop: Path) -> None:
    (workshop / "own.py").write_text(STYLES, encoding="utf-8")
    functions = [{"function": f"own.py:{name}", "weight": 0.5} for name in ("long", "even")]
    given = {"rewards__functions": [*functions, {"function": "own.py:close", "route": "close"}]}
    assert told(workshop, "grpo", given | {"grpo__optim__max_steps": 1}, "own") == ""
    rollouts = list(read_jsonl(workshop / "own" / "rollouts.jsonl"))
    assert rollouts and all(0 <= line["own"] <= 1 for line in rollouts)


def test_a_reward_function_that_always_fails_ends_the_run_with_its_own_words(workshop: Path) -> None:
    (workshop / "broken.py").write_text("def score(completions):\n    raise KeyError('box')\n", encoding="utf-8")
    given: dict[str, Any] = {"rewards__functions": [{"function": "broken.py:score", "route": "rule_of_mine"}]}
    given |= {"grpo__outage__pause_seconds": 0, "grpo__optim__max_steps": 1}
    rows = workshop / "data/valid/rows.jsonl"
    kept = rows.read_text(encoding="utf-8")
    try:
        rows.write_text(kept.replace('"reward": "rule"', '"reward": "rule_of_mine"'), encoding="utf-8")
        told_user = told(workshop, "grpo", given, "broken")
    finally:
        rows.write_text(kept, encoding="utf-8")
    assert "100% of a step's verdicts are unknown (broken.py:score: KeyError: 'box' (broken.py, line 2))" in told_user


def _parsed(path: str) -> int:
    given = Launch(device="cpu", processes=1, threads=1, deepspeed=path, deadline_minutes=5)
    join(given)
    from deepspeed.runtime.config import DeepSpeedConfig

    return int(DeepSpeedConfig(deepspeed_config(given)).zero_config.stage)


def test_every_deepspeed_file_is_one_and_says_its_stage() -> None:
    for path in sorted((ROOT / "infra/deepspeed").glob("*.json")):
        assert in_world(1, _parsed, str(path)) == [int(path.stem[4])], path
        assert json.loads(path.read_text())["managed_gradient_accumulation"] is False
