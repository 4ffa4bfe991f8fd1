"""Ablation arms (`make ablations`): the main job's training functions with one change each.

`train_<arm>` and `evaluate_<arm>` are functions of this module by name, made on access from the table in
wethink/experiments/arms.py.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from wethink.common.jsonl import read_jsonl, write_jsonl
from wethink.config.evaluation import Evaluate
from wethink.evaluation.evaluate import evaluate_checkpoints
from wethink.experiments.arms import ARMS, Arm
from wethink.experiments.controls import more_sft, rejection_sft
from wethink.rl.trainer import grpo
from wethink.training.sft import sft


def __getattr__(name: str) -> Callable[..., dict[str, Any]]:
    kind, _, arm = name.partition("_")
    if kind == "train" and arm in ARMS:
        return partial(train_arm, ARMS[arm])
    if kind == "evaluate":
        return partial(evaluate_arm, arm)
    raise AttributeError(name)


def train_arm(arm: Arm, **given: Any) -> dict[str, Any]:
    """Train one arm.

    `given` holds the stage's arguments and, as `start`, the checkpoint to train from.
    """
    start: Path = given.pop("start")
    given["config"] = given["config"].model_copy(update=dict(arm.changes))
    if arm.rewards:
        given["rewards"] = given["rewards"].model_copy(update=dict(arm.rewards))
    match arm.trains:
        case "sft":
            return sft(base=start, **given)
        case "grpo":
            given["config"] = given["config"].model_copy(update={"start": "sft"})  # the path of `sft` is `start`
            return grpo(base=start, sft=start, **given)
        case "more_sft":
            return more_sft(sft=start, **given)
        case "rejection_sft":
            return rejection_sft(sft=start, **given)


def evaluate_arm(name: str, *, checkpoint: Path, out: Path, config: Evaluate, **given: Any) -> dict[str, Any]:
    """Evaluate one checkpoint on the main job's held-out items.

    A checkpoint that was never taught the tags is parsed leniently, as base is.
    """
    arm = ARMS.get(name)
    lenient = name == "base" or (arm is not None and arm.lenient)
    if arm is not None and arm.longer > 1:
        config = config.model_copy(update={"max_new_tokens": arm.longer * config.max_new_tokens})
    called = "base" if lenient else name
    metrics = evaluate_checkpoints({called: checkpoint}, out=out, config=config, **given)
    if called != name:
        records = [record | {"checkpoint": name} for record in read_jsonl(out / "items.jsonl")]
        write_jsonl(out / "items.jsonl", records)
    return {"accuracy": metrics[called]["accuracy"]}
