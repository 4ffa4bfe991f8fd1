"""Laws of the training loops, on a policy of a few thousand weights."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from tests.invariants.gradients import EPS, groups, launch, length_apart, settings, weights
from tests.invariants.workshop import ROOT, build, stage, untimed
from tests.invariants.worlds import in_world
from tests.support.miniature import policy, prompts, taught
from wethink.common.jsonl import read_jsonl, write_jsonl
from wethink.config.launch import Launch
from wethink.config.training import Optim
from wethink.models.batching import collate
from wethink.models.logprobs import CompletionLogProbs
from wethink.rl.objective import surrogate
from wethink.rl.prompt_dataset import shuffle_golds
from wethink.rl.update import Policies, accumulate_gradients
from wethink.training.engine import build_engine, learning_rate, optimizer_step
from wethink.training.ranks import join


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("workshop"))


@pytest.mark.parametrize(("name", "kill_at"), [("sft", 6), ("grpo", 3)])
def test_a_killed_run_ends_with_the_bytes_of_an_uninterrupted_one(workshop: Path, name: str, kill_at: int) -> None:
    import shutil

    whole = stage(workshop, name)
    rows = untimed(workshop, name)
    shutil.rmtree(workshop / "models" / name)
    stage(workshop, name, kill_after_step=kill_at)
    assert not (workshop / "models" / name).exists()
    assert list((workshop / ".wethink/scratch" / name).glob("*/state.json")), "nothing was there to resume from"
    assert stage(workshop, name) == whole
    assert untimed(workshop, name) == rows
    assert [row["step"] for row in rows] == list(range(1, len(rows) + 1))
    assert not (workshop / ".wethink/scratch" / name).exists()


def test_when_one_rank_is_killed_the_stage_ends_and_the_next_start_finishes_with_the_same_bytes(workshop: Path) -> None:
    whole = stage(workshop, "sft", processes=2)
    (workshop / ".wethink/runs/sft.metrics.jsonl").unlink()
    child = subprocess.Popen(
        [sys.executable, "-m", "wethink", "sft"],
        cwd=workshop,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    log = workshop / ".wethink/runs/sft.metrics.jsonl"
    while not log.exists() or sum(1 for _ in log.open()) < 6:
        assert child.poll() is None, child.stderr.read().decode()
        time.sleep(0.005)
    ranks = [p for p in psutil.Process(child.pid).children(recursive=True) if "rank" in p.cmdline()[3:5]]
    assert len(ranks) == 2
    ranks[1].kill()
    _, errors = child.communicate(timeout=120)
    assert child.returncode == 75 and "a rank of stage 'sft' ended" in errors.decode()
    _, alive = psutil.wait_procs(ranks, timeout=10)
    assert not alive
    assert stage(workshop, "sft", processes=2) == whole


def test_rejection_sampling_of_a_policy_that_is_never_right_leaves_it_as_it_is(workshop: Path) -> None:
    rows = workshop / "data/valid/rows.jsonl"
    before = rows.read_bytes()  # of the whole session
    unreachable = [row | {"answer": "zzz", "category": "FIB", "reward": "rule"} for row in list(read_jsonl(rows))]
    write_jsonl(rows, unreachable)
    stage(workshop, "grpo")  # its log is the budget
    command = [sys.executable, "-m", "wethink", "controls", "rejection_sft"]
    ended = subprocess.run(
        command, cwd=workshop, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120
    )
    rows.write_bytes(before)
    assert ended.returncode == 0, ended.stderr[-3000:]
    arm, start = (workshop / "models" / name / "model.safetensors" for name in ("arms/rejection_sft", "sft"))
    assert arm.read_bytes() == start.read_bytes()


def learned(workshop: Path, processes: int, **changes: Any) -> dict[str, torch.Tensor]:
    """How far SFT moved each tensor."""
    from safetensors.torch import load_file

    stage(workshop, "sft", processes, **changes)
    start, found = (load_file(workshop / f"models/{name}/model.safetensors") for name in ("base", "sft"))
    return {key: value - start[key] for key, value in found.items()}


def test_two_processes_descend_as_one_does(workshop: Path) -> None:
    """Plain descent, so that rounding is not magnified and a wrong denominator shows. Without a rank's share: 0.26."""
    changes = {"sft__optim__muon_lr": None, "sft__optim__lr": EPS * 0.1, "sft__optim__max_grad_norm": 0.0}
    one, two = (learned(workshop, n, launch__deepspeed=launch(1, workshop).deepspeed, **changes) for n in (1, 2))
    for key, moved in one.items():
        assert moved.abs().max() > 0 and (moved - two[key]).abs().max() <= 1e-3 * moved.abs().max(), key


def test_two_processes_learn_with_muon_and_adam_what_one_learns(workshop: Path) -> None:
    """They magnify the rounding of tiny gradients, which differs by CPU: all weights together. Without a share 0.73."""
    one, two = (learned(workshop, n) for n in (1, 2))
    apart = torch.cat([(moved - two[key]).flatten() for key, moved in one.items()]).norm()
    moved = torch.cat([moved.flatten() for moved in one.values()]).norm()
    assert moved > 0 and apart <= 0.05 * moved, f"{float(apart / moved):.1%} apart"


def _moved_by_muon(launch: Launch, shares: list[int]) -> dict[str, np.ndarray]:
    """How far three steps of Muon and Adam on this rank's share of eight groups move each tensor."""
    ranks = join(launch)
    (state, made), (model, _) = taught(), policy()
    model.load_state_dict(state)
    config = settings(4)
    optim = config.optim.model_copy(update={"lr": 1e-3, "muon_lr": 1e-2})
    begin = sum(shares[: ranks.rank])
    engine = build_engine(CompletionLogProbs(model, made.banned), optim, launch)
    before = weights(engine)
    for step in range(3):
        share = groups()[begin : begin + shares[ranks.rank]]
        accumulate_gradients(Policies(engine, None, made), share, config, ranks)
        optimizer_step(engine, optim, step)
    return {name: (value - before[name]).numpy() for name, value in weights(engine).items()}


@pytest.mark.parametrize(("zero", "shares"), [(2, [5, 3]), (3, [8]), (3, [5, 3])])
def test_muon_moves_the_weights_alike_at_every_zero_stage(zero: int, shares: list[int], tmp_path: Path) -> None:
    """Without a rank's share of the groups they would be 0.7 apart."""
    (one,) = in_world(1, _moved_by_muon, launch(1, tmp_path, eps=1e-8), [8])
    for moved in in_world(len(shares), _moved_by_muon, launch(zero, tmp_path, eps=1e-8), shares):
        assert length_apart(moved, one) < 1e-3


def _gradients(micro: int, pad_to: int = 0) -> dict[str, torch.Tensor]:
    """Gradient of the policy loss over 8 rows in micro-batches of `micro` rows (fp64)."""
    model, made = policy()
    model = model.double()
    asked = prompts(made, 8, ("a", "b-wide"))
    completions = [[26 + (i * j) % 9 for j in range(2 + i % 4)] for i in range(8)]
    total = sum(map(len, completions))
    scorer = CompletionLogProbs(model, made.banned)
    for begin in range(0, 8, micro):
        part = completions[begin : begin + micro]
        batch = collate(asked[begin : begin + micro], part, made.tokenizer.pad_token_id)
        batch = type(batch)(**(vars(batch) | {"pixels": batch.pixels.double()}))
        logps, _ = scorer(batch)
        advantages = torch.tensor([(-1.0) ** (begin + i) for i, c in enumerate(part) for _ in c], dtype=torch.float64)
        loss, _, _ = surrogate((logps - logps.detach()).exp(), advantages, clip_low=0.2, clip_high=0.28, dual_clip=3.0)
        (loss.sum() / total).backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("micro", [1, 2, 3, 4])
def test_the_gradient_does_not_depend_on_the_micro_batch(micro: int) -> None:
    whole, parts = _gradients(8), _gradients(micro)
    for name, gradient in whole.items():
        assert (gradient - parts[name]).abs().max() <= 1e-5 * gradient.abs().max() + 1e-12, name


def test_shuffled_golds_keep_each_kinds_answers_and_move_most_of_them() -> None:
    rows = [{"id": str(i), "kind": "ab"[i % 2], "answer": f"{'ab'[i % 2]}{i}"} for i in range(200)]
    shuffled = shuffle_golds(rows, 0)
    for kind in "ab":
        assert sorted(r["answer"] for r in shuffled if r["kind"] == kind) == sorted(
            r["answer"] for r in rows if r["kind"] == kind
        )
    assert sum(a["answer"] != b["answer"] for a, b in zip(rows, shuffled, strict=True)) > 180


def test_the_learning_rate_warms_up_and_ends_near_zero() -> None:
    optim = Optim(lr=1.0, max_steps=100, train_batch_size=1, warmup_ratio=0.1)
    rates = [learning_rate(optim, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == 1.0 and rates[-1] < 0.001
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    constant = optim.model_copy(update={"lr_scheduler_type": "constant"})
    assert learning_rate(constant, 99) == 1.0
