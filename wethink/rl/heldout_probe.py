"""Held-out accuracy probe during GRPO training, early stopping against reward hacking, best step."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wethink.common.jsonl import Record
from wethink.config.grpo import Grpo
from wethink.data.schema import Row, row_images
from wethink.generation.responses import Asked, Decoding
from wethink.generation.sampler import Sampler, answers
from wethink.models.batching import Images
from wethink.rewards.hybrid import Scorer
from wethink.training.ranks import Ranks, gather_objects


def accuracy(
    sampler: Sampler, rows: Sequence[Row], images: Images, config: Grpo, scorer: Scorer, ranks: Ranks
) -> float:
    """Measure greedy accuracy on held-out rows over all ranks.

    Completions are scored against the rows' answers; unknown verdicts are left out. 0.0 if none is known.
    """
    mine = rows[ranks.rank :: ranks.world]
    asked = [Asked(row["problem"], row_images(row), row["id"]) for row in mine]
    answered = answers(sampler, asked, images, Decoding(config.max_completion_length, 0.0))
    scores = scorer.score([(response.text, row) for (response,), row in zip(answered, mine, strict=True)])
    found = [scored.accuracy for scored in scores if scored.accuracy is not None]
    everyone = [value for part in gather_objects(found, ranks) for value in part]
    return float(np.mean(everyone)) if everyone else 0.0


def should_stop(log: Sequence[Record], start: float, every: int, patience: int) -> bool:
    """Detect reward hacking: probes below the start while the reward rises.

    `log` has one record per step, with `reward`, and with `probe` at every `every`-th step.

    Returns:
        True if each of the last `patience` probes is below `start` although the mean reward of the `every` steps
        up to it is above that of the first such window. Always False for `patience` 0.
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
    """Return the earliest step with the best probe; 0 if none is above `start`."""
    best, found = start, 0
    for line in log:
        if line["step"] % every == 0 and line["probe"] > best:
            best, found = line["probe"], line["step"]
    return found


def replace_folder(new: Path, old: Path) -> None:
    """Replace folder `old` with the complete folder `new`."""
    shutil.rmtree(old, ignore_errors=True)
    new.rename(old)
