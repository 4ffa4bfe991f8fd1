"""Training and evaluation of a challenger on the union of old and new rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from wethink.common.jsonl import Record, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.evaluation import Evaluate
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.config.response_format import ResponseFormat
from wethink.config.retraining import Retrain
from wethink.config.rewards import Rewards
from wethink.config.training import Sft
from wethink.rewards.hybrid import Scorer


def warm_start(
    *,
    images: Path,
    rows: Path,
    start: Path,
    format: ResponseFormat,
    retrain: Retrain,
    launch: Launch,
    run: StageRun[Sft],
) -> dict[str, Any]:
    """Train SFT from `start` on the union's reasoning paths, old and new, for `retrain.sft_steps` steps.

    GRPO alone cannot teach what the policy never says: from a champion that has not met a source it learns the form of
    its answers. A source without paths has nothing to warm up on, so `start` is passed on as it is.
    """
    from wethink.training.sft import chosen_rows, passed_on, sft

    config = run.config
    if not retrain.sft_steps:
        return passed_on(start, run.out, format, launch, "retrain.sft_steps is 0")
    if not any(row["source"] == retrain.source for row in chosen_rows(rows, config)):
        return passed_on(start, run.out, format, launch, f"no row of '{retrain.source}' has a reasoning path")
    config = config.model_copy(update={"optim": config.optim.model_copy(update={"max_steps": retrain.sft_steps})})
    return sft(images=images, rows=rows, base=start, format=format, launch=launch, run=replace(run, config=config))


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
