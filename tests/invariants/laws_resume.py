"""Resume invariant: a killed and restarted run ends with the bytes of an undisturbed one."""

import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from torch import Tensor

from tests.invariants.invariant import Law, hold, planted
from tests.invariants.workshop import ROOT, build, rank
from tests.invariants.worlds import end, in_world, start_world
from wethink.common.jsonl import read_jsonl
from wethink.config.training import Family
from wethink.training import optimizer_state

STEPS, KILL_AFTER = 6, 3


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
        with planted(mutant, "wethink.training.checkpoints.set_state", forgets):
            in_world(world, rank, folder, stage, home / "killed", given)
        whole, ours = published(home / "whole"), published(home / "killed")
        steps = [row["step"] for row in ours["log"]]
        hold(steps == list(range(1, STEPS + 1)), f"steps {steps} in the log: one is missing or logged twice")
        for name, value in whole.items():
            hold(ours[name] == value, f"{name} differs")
    finally:
        shutil.rmtree(home, ignore_errors=True)


set_state = optimizer_state.set_state


def forgets(engine: Any, read: Callable[[str], Tensor], updates: int) -> None:
    """Weights and step come back, the optimizer's moments do not."""
    set_state(engine, lambda name: read(name) * float(name.startswith("weight/")), updates)


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
