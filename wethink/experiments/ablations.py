"""Ablation arms (`make ablations`): the main job's training functions with one change each."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from wethink.common.jsonl import read_jsonl, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.evaluation import Evaluate
from wethink.evaluation.evaluate import evaluate_checkpoints
from wethink.experiments.arms import ARMS, Arm
from wethink.experiments.controls import more_sft, rejection_sft
from wethink.rewards.hybrid import Scorer
from wethink.rl.trainer import grpo
from wethink.training.sft import sft


def train_arm(*, arm: str, run: StageRun[Any], **given: Any) -> dict[str, Any]:
    """Train one arm of experiments/arms.py.

    `given` holds the stage's arguments and, as `start`, the checkpoint to train from.
    """
    settings: Arm = ARMS[arm]
    start: Path = given.pop("start")
    run = _with(run, dict(settings.changes))
    if settings.rewards:
        scorer: Scorer = given["scorer"]
        given["scorer"] = replace(scorer, rewards=scorer.rewards.model_copy(update=dict(settings.rewards)))
    match settings.trains:
        case "sft":
            return sft(base=start, run=run, **given)
        case "grpo":
            run = _with(run, {"start": "sft"})  # the path of `sft` is `start`
            return grpo(base=start, sft=start, run=run, **given)
        case "more_sft":
            return more_sft(sft=start, run=run, **given)
        case "rejection_sft":
            return rejection_sft(sft=start, run=run, **given)


def _with(run: StageRun[Any], update: dict[str, Any]) -> StageRun[Any]:
    return replace(run, config=run.config.model_copy(update=update))


def evaluate_arm(*, name: str, checkpoint: Path, run: StageRun[Evaluate], **given: Any) -> dict[str, Any]:
    """Evaluate one checkpoint on the main job's held-out items.

    A checkpoint that was never taught the tags is parsed leniently, as base is.
    """
    arm = ARMS.get(name)
    lenient = name == "base" or (arm is not None and arm.lenient)
    if arm is not None and arm.longer > 1:
        run = _with(run, {"max_new_tokens": arm.longer * run.config.max_new_tokens})
    called = "base" if lenient else name
    metrics = evaluate_checkpoints({called: checkpoint}, run=run, **given)
    if called != name:
        records = [record | {"checkpoint": name} for record in read_jsonl(run.out / "items.jsonl")]
        write_jsonl(run.out / "items.jsonl", records)
    return {"accuracy": metrics[called]["accuracy"]}
