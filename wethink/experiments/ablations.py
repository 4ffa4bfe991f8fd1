"""Ablation arms (`make ablations`): the main job's training functions with one change each."""

from pathlib import Path
from typing import Any

from wethink.common.jsonl import read_jsonl, write_jsonl
from wethink.config.evaluation import Evaluate
from wethink.evaluation.evaluate import evaluate_checkpoints
from wethink.experiments.arms import ARMS, Arm
from wethink.experiments.controls import more_sft, rejection_sft
from wethink.rl.trainer import grpo
from wethink.training.sft import sft


def train_arm(*, arm: str, **given: Any) -> dict[str, Any]:
    """Train one arm of experiments/arms.py.

    `given` holds the stage's arguments and, as `start`, the checkpoint to train from.
    """
    settings: Arm = ARMS[arm]
    start: Path = given.pop("start")
    given["config"] = given["config"].model_copy(update=dict(settings.changes))
    if settings.rewards:
        given["rewards"] = given["rewards"].model_copy(update=dict(settings.rewards))
    match settings.trains:
        case "sft":
            return sft(base=start, **given)
        case "grpo":
            given["config"] = given["config"].model_copy(update={"start": "sft"})  # the path of `sft` is `start`
            return grpo(base=start, sft=start, **given)
        case "more_sft":
            return more_sft(sft=start, **given)
        case "rejection_sft":
            return rejection_sft(sft=start, **given)


def evaluate_arm(*, name: str, checkpoint: Path, out: Path, config: Evaluate, **given: Any) -> dict[str, Any]:
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
