"""Training and evaluation of a challenger on the union of old and new rows."""

from pathlib import Path
from typing import Any

from wethink.common.jsonl import Record, read_jsonl
from wethink.config.evaluation import Evaluate
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.config.retraining import Retrain
from wethink.config.rewards import Rewards


def challenger(
    *,
    images: Path,
    rows: Path,
    start: Path,
    out: Path,
    scratch: Path,
    config: Grpo,
    rewards: Rewards,
    retrain: Retrain,
    launch: Launch,
    seed: int,
) -> dict[str, Any]:
    """GRPO on the union's answers, from `start`."""
    from wethink.rl.trainer import grpo

    optim = config.optim.model_copy(update={"steps": retrain.steps})
    return grpo(
        images=images,
        rows=rows,
        base=start,
        sft=start,
        out=out,
        scratch=scratch,
        config=config.model_copy(update={"optim": optim}),
        rewards=rewards,
        launch=launch,
        seed=seed,
    )


def evaluate_challenger(
    *,
    union: Path,
    champion: Path,
    challenger: Path,
    out: Path,
    scratch: Path,
    config: Evaluate,
    rewards: Rewards,
    launch: Launch,
    seed: int,
) -> dict[str, Any]:
    """Both on all held-out items of the union, greedily; the controls (blank and swapped images) beside them."""
    from wethink.evaluation.evaluate import evaluate_checkpoints

    greedy = config.model_copy(update={"temperatures": (0.0,)})
    both = {"champion": champion, "challenger": challenger}
    return evaluate_checkpoints(both, union / "images", union, out, scratch, greedy, rewards, launch, seed)


def gate_records(evaluation: Path, model: str) -> list[Record]:
    """One model's records that the gate decides on."""
    every = read_jsonl(evaluation / "items.jsonl")
    return [r for r in every if r["checkpoint"] == model and r["temperature"] == 0 and r["pixels"] == "true"]
