"""Training and evaluation of a challenger on the union of old and new rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from wethink.common.jsonl import Record, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.evaluation import Evaluate
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.config.retraining import Retrain
from wethink.config.rewards import Rewards
from wethink.rewards.hybrid import Scorer


def challenger(
    *, images: Path, rows: Path, start: Path, scorer: Scorer, retrain: Retrain, launch: Launch, run: StageRun[Grpo]
) -> dict[str, Any]:
    """Train GRPO from `start` on the union's answers."""
    from wethink.rl.trainer import grpo

    optim = run.config.optim.model_copy(update={"max_steps": retrain.steps})
    return grpo(
        images=images,
        rows=rows,
        base=start,
        sft=start,
        scorer=scorer,
        launch=launch,
        run=replace(run, config=run.config.model_copy(update={"optim": optim})),
    )


def evaluate_challenger(
    *, union: Path, champion: Path, challenger: Path, rewards: Rewards, launch: Launch, run: StageRun[Evaluate]
) -> dict[str, Any]:
    """Evaluate champion and challenger on the union's held-out items, greedily.

    The image controls (blank and shuffled) run as well.
    """
    from wethink.evaluation.evaluate import evaluate_checkpoints

    greedy = replace(run, config=run.config.model_copy(update={"temperatures": (0.0,)}))
    both = {"champion": champion, "challenger": challenger}
    return evaluate_checkpoints(both, union / "images", union, rewards, launch, greedy)


def gate_records(evaluation: Path, model: str) -> list[Record]:
    """Read one model's greedy records: with true, blank and shuffled images."""
    every = read_jsonl(evaluation / "items.jsonl")
    return [r for r in every if r["checkpoint"] == model and r["temperature"] == 0]
