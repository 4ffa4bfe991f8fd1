"""What goes wrong in training is told, counted and survived: broken gradients, judges, rows, checkpoints, machines."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.invariants.gradients import groups, launch, settings
from tests.invariants.workshop import ROOT, build, told
from tests.invariants.worlds import in_world
from tests.support.miniature import policy, taught
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl, write_json, write_jsonl
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import load_model
from wethink.rewards.rules import verify
from wethink.rewards.verdict import Verdict, unknown
from wethink.rl.update import Policies, accumulate_gradients
from wethink.training import engine as distributed
from wethink.training import ranks
from wethink.training.engine import build_engine, optimizer_step
from wethink.training.ranks import join


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("workshop"))


@pytest.fixture
def workshop(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(built, tmp_path / "workshop")


def steps(workshop: Path, scratch: str = "scratch") -> list[dict[str, Any]]:
    """The log; a number in it that JSON does not know is a failure."""

    def refuse(text: str) -> float:
        raise AssertionError(f"{text} in the log")

    text = (workshop / scratch / "metrics.jsonl").read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def weights(workshop: Path, scratch: str = "scratch") -> dict[str, torch.Tensor]:
    return load_file(workshop / scratch / "out/model.safetensors")


# -- gradients that are not finite


def _poisoned(stage: int, folder: Path) -> tuple[bool, bool]:
    """An update in which the last rank's loss is NaN: whether its norm is finite, and whether anything moved."""
    given = launch(stage, folder)
    ranks, (state, made), (model, _) = join(given), taught(), policy()
    model.load_state_dict(state)
    config = settings(4)
    engine = build_engine(CompletionLogProbs(model, made.banned), config.optim, given)
    before = distributed.policy_state(engine) or {name: p.detach().clone() for name, p in model.named_parameters()}
    if ranks.rank == ranks.world - 1:
        backward = engine.backward
        engine.backward = lambda loss: backward(loss * math.nan)
    chosen = groups()
    accumulate_gradients(Policies(engine, None, made), chosen[:5] if ranks.first else chosen[5:], config, ranks)
    norm = optimizer_step(engine, config.optim, 0)
    after = distributed.policy_state(engine) or dict(model.named_parameters())
    return math.isfinite(norm), any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_nan_on_one_rank_moves_nothing_on_any(stage: int, tmp_path: Path) -> None:
    assert in_world(2, _poisoned, stage, tmp_path) == [(False, False)] * 2


class Poison:
    """NaN for every log-prob of the learning pass in the chosen steps, as of a picture that breaks the forward pass."""

    def __init__(self, chosen: Callable[[int], bool]) -> None:
        self.chosen, self.step = chosen, -1

    def plants(self, loop: str) -> dict[str, Any]:
        real_seed, real_score = ranks.seed_step, CompletionLogProbs._score

        def seed_step(seed: int, step: int, ranks: Any) -> None:
            self.step = step
            real_seed(seed, step, ranks)

        def score(module: Any, *given: Any) -> Any:
            logps, entropy = real_score(module, *given)
            return logps * (math.nan if self.step >= 0 and self.chosen(self.step) else 1.0), entropy

        return {f"{loop}__seed_step": seed_step, "models__logprobs__CompletionLogProbs___score": score}


LOOPS = [("sft", "training__supervised"), ("grpo", "rl__trainer")]


@pytest.mark.parametrize(("name", "loop"), LOOPS)
def test_a_step_without_a_finite_gradient_is_skipped_counted_and_its_rows_are_kept(
    workshop: Path, name: str, loop: str
) -> None:
    same = {f"{name}__optim__lr_scheduler_type": "constant", f"{name}__optim__warmup_ratio": 0.0, "grpo__kl_coef": 0.0}
    poison = Poison(lambda step: step == 2)
    assert told(workshop, name, same | {f"{name}__optim__max_steps": 3}, **poison.plants(loop)) == ""
    assert told(workshop, name, same | {f"{name}__optim__max_steps": 2}, "two") == ""
    assert [line["skipped"] for line in steps(workshop)] == [0, 0, 1]
    (kept,) = read_jsonl(workshop / "scratch/skipped.jsonl")
    assert kept["step"] == 3 and kept["rows"]
    two = weights(workshop, "two")
    assert all(torch.equal(value, two[key]) for key, value in weights(workshop).items())


@pytest.mark.parametrize(("name", "loop"), LOOPS)
def test_too_many_such_steps_in_a_row_stop_the_stage_with_the_rows_named(workshop: Path, name: str, loop: str) -> None:
    poison = Poison(lambda step: step != 1)
    sentence = told(workshop, name, {f"{name}__optim__max_skipped_steps": 2}, **poison.plants(loop))
    assert "not finite in 2 steps in a row, the last at step 4" in sentence and "skipped.jsonl" in sentence
    assert [record["step"] for record in read_jsonl(workshop / "scratch/skipped.jsonl")] == [1, 3, 4]
    assert not (workshop / "scratch/out/model.safetensors").exists()


# -- a judge that is down

OUTAGE = {"grpo__outage": {"max_unknown": 0.5, "pause_seconds": 0, "retries": 2}}


class Judge:
    """A check that cannot be made for the calls in `down`, counted from 0."""

    def __init__(self, down: Callable[[int], bool]) -> None:
        self.down, self.calls, self.real = down, -1, verify.verify_all

    def __call__(self, questions: Sequence[Any]) -> list[Verdict]:
        found = []
        for verdict in self.real(questions):
            self.calls += 1
            found.append(unknown("judge: no answer") if self.down(self.calls) else verdict)
        return found


def test_an_outage_of_the_judge_that_passes_changes_nothing(workshop: Path) -> None:
    assert told(workshop, "grpo", OUTAGE, "whole") == ""
    assert told(workshop, "grpo", OUTAGE, rewards__rules__verify__verify_all=Judge(lambda call: 20 <= call < 32)) == ""
    whole = weights(workshop, "whole")
    assert all(torch.equal(value, whole[key]) for key, value in weights(workshop).items())
    assert not any(line["unknown"] for line in steps(workshop))


def test_an_outage_that_stays_stops_training_with_its_checkpoints_kept_and_no_verdict_is_wrong_for_it(
    workshop: Path,
) -> None:
    sentence = told(workshop, "grpo", OUTAGE, rewards__rules__verify__verify_all=Judge(lambda call: call >= 70))
    assert "after 2 pauses" in sentence and "judge: no answer" in sentence and "goes on from the last" in sentence
    logged = list(read_jsonl(workshop / "scratch/rollouts.jsonl"))
    assert not any("judge" in record["reason"] for record in logged)
    assert read_json(workshop / "scratch/state.json")["step"] == 4
    assert told(workshop, "grpo", OUTAGE) == "" and len(steps(workshop)) == 6


def test_below_the_limit_an_unknown_reward_is_left_out_and_training_goes_on(workshop: Path) -> None:
    calls = Judge(lambda call: call % 5 == 0)
    assert (
        told(
            workshop,
            "grpo",
            OUTAGE,
            rewards__rules__verify__verify_all=calls,
            rl__trainer__stop_on_unverifiable_rewards=lambda history: None,
        )
        == ""
    )
    records = list(read_jsonl(workshop / "scratch/rollouts.jsonl"))
    missing = [record for record in records if record["verdict"] == "unknown"]
    assert len(missing) >= len(records) // 6
    assert all(r["reward"] is None and r["accuracy"] is None and r["advantage"] == 0 for r in missing)
    assert all(0 < line["unknown"] < 0.5 for line in steps(workshop))


# -- checkpoints of another run


def test_a_resume_of_another_kind_is_refused_with_the_difference_and_the_remedy(workshop: Path) -> None:
    def stopped(history: list[Any]) -> None:
        if len(history) == 3:
            raise UserError("stopped here")

    assert told(workshop, "grpo", {}, rl__trainer__stop_on_unverifiable_rewards=stopped) == "stopped here"
    sentence = told(workshop, "grpo", {"grpo__optim__muon_lr": 0.01})
    assert "another kind of run (optimizer AdamW there, Muon here)" in sentence
    assert "set these back to go on, or delete that folder" in sentence
    state = workshop / "scratch/state.json"
    whole = read_json(state)
    write_json(state, {key: value for key, value in whole.items() if key != "layout"})
    assert "holds a checkpoint of another version, in a layout that this one cannot read" in told(workshop, "grpo", {})
    write_json(state, whole)
    (tensors,) = (workshop / "scratch/state" / whole["tag"]).iterdir()
    tensors.rename(tensors.with_suffix(".lost"))
    assert "step-2 lacks the tensor weight/" in (lost := told(workshop, "grpo", {})) and "to start over" in lost
    _grow(workshop / "models/base")
    assert "another kind of run (weights " in told(workshop, "grpo", {})


def _grow(folder: Path) -> None:
    """Put another model, with one layer more, in a checkpoint folder."""
    from tests.support.miniature import SHAPE, processor
    from wethink.models.policy import save_policy
    from wethink.models.tiny import build_model

    made = processor()
    save_policy(
        build_model(SHAPE.model_copy(update={"num_hidden_layers": 3}), made.tokenizer, 0), None, made, folder, "card"
    )


def test_a_checkpoint_of_another_architecture_and_one_with_tensors_missing_are_refused(workshop: Path) -> None:
    path = workshop / "models/base/model.safetensors"
    tensors = load_file(path)
    del tensors[next(name for name in tensors if name.endswith("layers.1.mlp.up_proj.weight"))]
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 1 of its tensors, the first is model.*layers.1.mlp.up_proj.weight"):
        load_model(path.parent)
    write_json(path.with_name("config.json"), {"model_type": "llava"})
    with pytest.raises(UserError, match=r"models/base' is of type 'llava'; those that work here are: qwen2_5_vl, qwen"):
        load_model(path.parent)
    write_json(path.with_name("config.json"), {"model_type": "no such"})
    with pytest.raises(UserError, match=r"cannot load the model '.*models/base'"):
        load_model(path.parent)


# -- rows and images that do not fit


def _rows(workshop: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(workshop / "data/valid/rows.jsonl"))


@pytest.mark.parametrize("name", ["sft", "grpo"])
def test_a_question_longer_than_the_context_is_dropped_whole_and_counted(workshop: Path, name: str) -> None:
    rows = _rows(workshop)
    long = next(row for row in rows if bool(row["refined_cot"]) == (name == "sft"))
    long["problem"] = "red " * 600  # the context holds 512
    write_jsonl(workshop / "data/valid/rows.jsonl", rows)
    assert told(workshop, name, {f"{name}__optim__max_steps": 1}) == ""
    assert read_json(workshop / "scratch/out/metrics.json")["dropped_overlong"] == 1
    write_jsonl(workshop / "data/valid/rows.jsonl", [row | {"problem": "red " * 600} for row in rows])
    assert "too long for the model's context" in told(workshop, name, {}, "none")


def test_rows_without_their_images_and_a_dataset_without_images_are_told_with_the_remedy(workshop: Path) -> None:
    rows = _rows(workshop)
    lost = next(row for row in rows if not row["refined_cot"])
    lost["image"] = "0" * 64
    write_jsonl(workshop / "data/valid/rows.jsonl", rows)
    sentence = told(workshop, "grpo", {})
    assert f"row {lost['id']} shows the image '{'0' * 64}'" in sentence and "python -m wethink ingest" in sentence
    for shard in (workshop / "data/images").iterdir():
        shard.unlink()
    assert "holds no images" in told(workshop, "grpo", {})


# -- a machine that is too small


def test_a_rank_has_left_its_process_group_before_the_interpreter_ends() -> None:
    # One that has not is aborted by gloo's worker threads in one exit of three, and finished work counts as failed.
    script = (
        "import atexit, torch.distributed as group\n"
        "from wethink.config.launch import Launch\n"
        "from wethink.training.ranks import join\n"
        "atexit.register(lambda: print('joined at the end:', group.is_initialized()))\n"  # runs last
        "join(Launch(device='cpu', processes=1, threads=1, deepspeed='', deadline_minutes=5))\n"
        "print('joined:', group.is_initialized())\n"
    )
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "joined: True" in run.stdout and "joined at the end: False" in run.stdout


def test_a_profile_that_needs_more_gpus_than_there_are_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = launch(1, tmp_path).model_copy(update={"device": "cuda", "processes": 8})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"no usable GPU; use the tiny profile"):
        join(given)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"launch.processes is 8 but this machine has 1 GPUs; lower it"):
        join(given)


def test_a_gpu_without_enough_memory_is_a_sentence_with_what_to_lower(workshop: Path) -> None:
    def learn(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    sentence = told(workshop, "grpo", {}, rl__trainer__accumulate_gradients=learn)
    assert sentence.startswith("stage 'grpo' needs more memory than this GPU has: lower optim.max_token_len_per_gpu")
    assert read_json(workshop / "scratch/failure.json")["message"] == sentence
