"""Laws of rollouts that are sampled while the step before learns (`grpo.max_staleness: 1`)."""

from pathlib import Path
from typing import Any

import pytest

from tests.invariants.workshop import ROOT, build, changed, told
from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl
from wethink.config.grpo import Grpo
from wethink.config.params import parse_params
from wethink.rl import trainer
from wethink.rl.run import GrpoRun

AHEAD: dict[str, Any] = {
    "grpo__max_staleness": 1,
    "grpo__rollout_correction": {"mode": "truncate", "level": "token", "floor": 0.0, "cap": 2.0},
}
STEPS: dict[str, Any] = {"grpo__optim__max_steps": 2, "grpo__optim__save_steps": 50, "grpo__optim__lr": 0.02}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("workshop"))


def written(workshop: Path, scratch: str, step: int) -> list[tuple[str, str]]:
    """The completions of a step, by row."""
    lines = read_jsonl(workshop / scratch / "rollouts.jsonl")
    return sorted((line["row"], line["text"]) for line in lines if line["step"] == step)


def ages(workshop: Path, scratch: str) -> list[int]:
    return [line["age"] for line in read_jsonl(workshop / scratch / "metrics.jsonl")]


def result(workshop: Path, scratch: str) -> tuple[bytes, bytes]:
    folder = workshop / scratch
    return (folder / "out/model.safetensors").read_bytes(), (folder / "rollouts.jsonl").read_bytes()


def test_rollouts_sampled_ahead_are_those_of_the_policy_before_the_update(workshop: Path) -> None:
    assert told(workshop, "grpo", STEPS | AHEAD, "ahead") == ""
    assert told(workshop, "grpo", STEPS, "now") == ""
    assert told(workshop, "grpo", STEPS | {"grpo__optim__lr": 1e-12}, "still") == ""
    assert ages(workshop, "ahead") == [0, 1]
    assert written(workshop, "ahead", 1) == written(workshop, "now", 1)
    second = written(workshop, "ahead", 2)
    assert second == written(workshop, "still", 2), "the policy that no update has changed"
    assert second != written(workshop, "now", 2), "the update changes what is written"


def test_two_sharded_ranks_sample_ahead_what_one_rank_does(workshop: Path) -> None:
    sharded = {"launch__deepspeed": str(ROOT / "infra/deepspeed/zero3_fp32.json")}
    assert told(workshop, "grpo", STEPS | AHEAD, "alone") == ""
    assert told(workshop, "grpo", STEPS | AHEAD | sharded, "both", 2) == ""
    for step in (1, 2):
        assert written(workshop, "alone", step) == written(workshop, "both", step)


logged = trainer.log


def _stops_after_three(run: GrpoRun, *given: Any) -> None:
    logged(run, *given)
    if len(run.history) == 3:
        raise UserError("stopped here")


def _ahead_of_checkpoints_too(config: Grpo, step: int) -> bool:
    return step + 1 < config.optim.max_steps


def test_a_run_that_samples_ahead_is_resumed_to_the_same_bytes(workshop: Path) -> None:
    own = AHEAD | {"grpo__optim__max_steps": 5, "grpo__optim__save_steps": 2, "grpo__optim__lr": 0.02}
    for name, defect in (("law", {}), ("mutant", {"rl__trainer__samples_ahead": _ahead_of_checkpoints_too})):
        assert told(workshop, "grpo", own, f"{name}-whole", **defect) == ""
        assert told(workshop, "grpo", own, f"{name}-cut", rl__trainer__log=_stops_after_three, **defect) != ""
        assert told(workshop, "grpo", own, f"{name}-cut", **defect) == ""
        same = result(workshop, f"{name}-whole") == result(workshop, f"{name}-cut")
        assert same == (name == "law"), "rollouts from before a checkpoint are not there after a resume"
    assert ages(workshop, "law-cut") == [0, 1, 0, 1, 0]


def test_sampling_ahead_needs_importance_weights(workshop: Path) -> None:
    with pytest.raises(UserError, match=r"max_staleness: 1' needs 'rollout_correction\.mode: truncate"):
        parse_params(changed(workshop, {"grpo__max_staleness": 1}), "params.json")
