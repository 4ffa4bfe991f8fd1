"""Resume invariant: a killed and restarted run ends with the bytes of an undisturbed one."""

import shutil
import tempfile
import time
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from tests.invariants import gradients
from tests.invariants.invariant import Law, hold, planted
from tests.invariants.workshop import ROOT, build, rank
from tests.invariants.worlds import end, in_world, start_world
from tests.support.miniature import policy, taught
from wethink.common.jsonl import read_jsonl
from wethink.config.launch import Launch
from wethink.config.training import Family
from wethink.models.logprobs import CompletionLogProbs
from wethink.rl.update import Policies, accumulate_gradients
from wethink.training import checkpoints
from wethink.training.engine import adam_state, adam_step, build_engine, optimizer_step
from wethink.training.ranks import join

STEPS, KILL_AFTER = 6, 3
FP32 = 2e-5  # per tensor, in units of its largest entry; squares of gradients double their distance


@cache
def workshop(mixed: bool, family: Family) -> Path:
    return build(Path(tempfile.mkdtemp(prefix="resume-")), mixed=mixed, family=family)


def settings(stage: str, zero: int) -> dict[str, Any]:
    """Six steps, a checkpoint after every second, and everything switched on that moves the data cursor."""
    return {
        f"{stage}__optim__max_steps": STEPS,
        f"{stage}__optim__save_steps": 2,
        "grpo__max_resample_rounds": 2,
        "grpo__curriculum_pool": 2,
        "launch__deepspeed": str(ROOT / f"infra/deepspeed/zero{zero}_fp32.json"),
    }


def published(scratch: Path) -> dict[str, Any]:
    timed = {name: (scratch / "out" / name).read_bytes() for name in ("model.safetensors", "curves.csv")}
    rollouts = scratch / "rollouts.jsonl"
    lines = [{k: v for k, v in r.items() if "second" not in k} for r in read_jsonl(scratch / "metrics.jsonl")]
    return timed | {"log": lines, "rollouts": rollouts.read_bytes() if rollouts.exists() else b""}


def survives(
    mutant: str, *, stage: str, zero: int, world: int = 1, mixed: bool = False, family: Family = "qwen2_5_vl"
) -> None:
    folder, home, given = workshop(mixed, family), Path(tempfile.mkdtemp(prefix="scratch-")), settings(stage, zero)
    try:
        in_world(world, rank, folder, stage, home / "whole", given)
        children = start_world(world, rank, folder, stage, home / "killed", given, folder=home)
        log, until = home / "killed/metrics.jsonl", time.monotonic() + 600
        while not log.exists() or log.read_bytes().count(b"\n") < KILL_AFTER:
            assert time.monotonic() < until, "it never came to the step at which it is killed"
            time.sleep(0.002)
        end(children)  # SIGKILL
        assert (home / "killed/state.json").exists(), "nothing was there to go on from"
        with planted(mutant, f"wethink.{'training.supervised' if stage == 'sft' else 'rl.run'}.restore_state", forgets):
            in_world(world, rank, folder, stage, home / "killed", given)
        whole, ours = published(home / "whole"), published(home / "killed")
        steps = [row["step"] for row in ours["log"]]
        hold(steps == list(range(1, STEPS + 1)), f"steps {steps} in the log: one is missing or logged twice")
        for name, value in whole.items():
            hold(ours[name] == value, f"{name} differs")
    finally:
        shutil.rmtree(home, ignore_errors=True)


restore_state, load_adam_state = checkpoints.restore_state, checkpoints.load_adam_state


def forgets(engine: Any, scratch: Path, ranks: Any, identity: Any) -> tuple[int, int]:
    """Weights and step come back, the optimizer's moments do not."""
    load = engine.load_checkpoint
    engine.load_checkpoint = lambda folder, tag: load(folder, tag=tag, load_optimizer_states=False)
    with mock.patch("wethink.training.checkpoints.load_adam_state", _without_moments):
        return restore_state(engine, scratch, ranks, identity)


def _without_moments(engine: Any, read: Any, step: int) -> None:
    load_adam_state(engine, read, 0)


def _elsewhere(given: Launch, folder: Path, shares: list[int], first: bool) -> dict[str, np.ndarray]:
    """Weights and moments after three updates: two before a checkpoint and one after it, or the last alone."""
    ranks, (state, made), (model, _) = join(given), taught(), policy()
    model.load_state_dict(state)
    config = gradients.settings(4)
    optim = config.optim.model_copy(update={"lr": 1e-3, "betas": (0.9, 0.95)})
    begin, who = sum(shares[: ranks.rank]), {"optimizer": "AdamW"}
    engine = build_engine(CompletionLogProbs(model, made.banned), optim, given)
    if not first:
        assert restore_state(engine, folder, ranks, who) == (2, 7)
    for step in range(3) if first else (2,):
        if first and step == 2:
            checkpoints.save_state(engine, folder, 2, ranks, who, 1, cursor=7)
        mine = gradients.groups()[begin : begin + shares[ranks.rank]]
        accumulate_gradients(Policies(engine, None, made), mine, config, ranks)
        optimizer_step(engine, optim, step)
    assert adam_step(engine) == 3
    return {name: value.detach().cpu().numpy().copy() for name, value in adam_state(engine)}


def goes_on_elsewhere(mutant: str, *, there: tuple[int, list[int]], here: tuple[int, list[int]]) -> dict[str, float]:
    """After the third update at another number of ranks and ZeRO stage all is as in the undisturbed run.

    The moments hold that update's gradient. With this ε Adam follows its momentum, so that rounding is not magnified.
    """
    home = Path(tempfile.mkdtemp(prefix="elsewhere-"))
    try:
        (_, shares), (_, others) = there, here
        launches = [gradients.launch(stage, home, eps=0.1) for stage, _ in (there, here)]
        whole = in_world(len(shares), _elsewhere, launches[0], home, shares, True)[0]
        with planted(mutant, "wethink.training.checkpoints.load_adam_state", _without_moments):
            found = in_world(len(others), _elsewhere, launches[1], home, others, False)
        distance = max(gradients.furthest(ours, whole) for ours in found)
        hold(distance <= FP32, f"off by {distance:.1e}")
        return {"off_by": distance}
    finally:
        shutil.rmtree(home, ignore_errors=True)


LAWS = [
    Law(
        f"6 steps = 3 + kill -9 + 3: {stage} at ZeRO-{zero}, {world} rank{'s' * (world > 1)}",
        partial(survives, stage=stage, zero=zero, world=world),
        "the optimizer's state is not restored",
        quick=(stage, zero, world) in (("grpo", 0, 1), ("grpo", 3, 1), ("sft", 2, 2)),
    )
    for stage in ("sft", "grpo")
    for zero, world in ((0, 1), (2, 1), (3, 1), (2, 2))
]
LAWS += [
    Law(
        f"6 steps = 3 + kill -9 + 3, 0 to 5 images a row: {stage} at ZeRO-{zero}, {world} rank{'s' * (world > 1)}",
        partial(survives, stage=stage, zero=zero, world=world, mixed=True),
        "the optimizer's state is not restored",
        quick=(stage, zero) == ("grpo", 0),
    )
    for stage in ("sft", "grpo")
    for zero, world in ((0, 1), (3, 2))
]
LAWS += [
    Law(
        f"6 steps = 3 + kill -9 + 3, 0 to 5 images a row: {stage} at ZeRO-0, 1 rank (qwen3_5)",
        partial(survives, stage=stage, zero=0, mixed=True, family="qwen3_5"),
        "the optimizer's state is not restored",
    )
    for stage in ("sft", "grpo")
]
LAWS += [
    Law(
        f"a checkpoint of {len(there[1])} ranks at ZeRO-{there[0]} goes on at {len(here[1])} at ZeRO-{here[0]}",
        partial(goes_on_elsewhere, there=there, here=here),
        "the optimizer's state is not restored",
        quick=there[0] == 2,
    )
    for there, here in (
        ((2, [5, 3]), (3, [8])),
        ((3, [5, 3]), (1, [8])),
        ((0, [8]), (2, [3, 5])),
        ((1, [8]), (3, [4, 2, 2])),
        ((3, [8]), (0, [8])),
    )
]
