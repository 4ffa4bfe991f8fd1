"""Held-out accuracy while GRPO trains: a reward that rises while it falls is a reward that is being gamed."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wethink.common.jsonl import Record
from wethink.config.grpo import Grpo
from wethink.config.rewards import Rewards
from wethink.generation.in_process import sample
from wethink.models.batching import Images, encode_prompts
from wethink.models.policy import Processor
from wethink.rewards.hybrid import score
from wethink.training.ranks import Ranks, gather_objects

ROWS_AT_ONCE = 64


def accuracy(
    model: Any,
    processor: Processor,
    rows: Sequence[Record],
    images: Images,
    config: Grpo,
    rewards: Rewards,
    ranks: Ranks,
) -> float:
    """Greedy accuracy over all ranks on rows that are never trained on, by their answers; unknown ones left out."""
    mine, found = rows[ranks.rank :: ranks.world], list[float]()
    model.eval()
    for begin in range(0, len(mine), ROWS_AT_ONCE):
        part = mine[begin : begin + ROWS_AT_ONCE]
        prompts = encode_prompts([row["problem"] for row in part], [row["image"] for row in part], images, processor)
        for row, (completion,) in zip(
            part,
            sample(model, processor, prompts, None, config.max_completion_length, 0.0, 1, ranks.device),
            strict=True,
        ):
            text = processor.decode(completion.ids)
            scored = score(text, row["problem"], row["answer"], row["category"], row["reward"], rewards)
            if scored.accuracy is not None:
                found.append(scored.accuracy)
    model.train()
    everyone = [value for part in gather_objects(found, ranks) for value in part]
    return float(np.mean(everyone)) if everyone else 0.0


def should_stop(log: Sequence[Record], start: float, every: int, patience: int) -> bool:
    """Whether the last `patience` probes all lay below the start although the sampled reward had risen by then.

    `log` has the run's lines, one per step, with `reward`, and `probe` at every `every`-th of them. Risen: the
    mean reward since the probe before is above that of the first such window.
    """
    probed = [line for line in log if line["step"] % every == 0]
    if patience == 0 or len(probed) < patience:
        return False
    windows = {
        line["step"]: np.mean([r["reward"] for r in log if 0 <= line["step"] - r["step"] < every]) for line in probed
    }
    first = windows[probed[0]["step"]]
    return all(line["probe"] < start and windows[line["step"]] > first for line in probed[-patience:])


def best_step(log: Sequence[Record], start: float, every: int) -> int:
    """The step with the best probe, the earliest of equals; 0 if none is better than the start."""
    best, found = start, 0
    for line in log:
        if line["step"] % every == 0 and line["probe"] > best:
            best, found = line["probe"], line["step"]
    return found


def replace_folder(new: Path, old: Path) -> None:
    """Put a complete folder in the place of an older one."""
    shutil.rmtree(old, ignore_errors=True)
    new.rename(old)
