"""Log-prob mismatch check between sampling engine and trainer, before training and at every step.

The check detects an engine that serves stale weights, another prompt, log-probs before the temperature, or a
repetition penalty from a model's files: its log-probs differ from the trainer's.
"""

from collections.abc import Sequence
from typing import Any

from wethink.common.errors import UserError
from wethink.config.grpo import Grpo
from wethink.data.schema import Row, row_images
from wethink.generation.agreement import TEMPERATURE, differences
from wethink.generation.responses import Asked, Decoding
from wethink.generation.sampler import Sampler
from wethink.models.batching import Images
from wethink.training.ranks import Ranks, gather_objects

ROWS, SAMPLES, TOKENS = 8, 2, 64


def self_test(sampler: Sampler, model: Any, rows: Sequence[Row], images: Images, config: Grpo, ranks: Ranks) -> float:
    """Return the mean |Δlogp| over all ranks before the first update.

    Raises:
        UserError: the mean is above `max_logprob_diff`.
    """
    asked = [Asked(row["problem"], row_images(row), row["id"]) for row in rows[:ROWS]]
    decoding = Decoding(min(TOKENS, config.max_completion_length), TEMPERATURE, samples=SAMPLES)
    found = differences(sampler, model, asked, images, decoding)
    everyone = gather_objects((float(found.mean()), float(found.max())), ranks)
    mean = sum(float(value) for value, _ in everyone) / len(everyone)
    refuse_disagreement(mean, max(value for _, value in everyone), config, "before the first step")
    return mean


def refuse_disagreement(mean: float, largest: float, config: Grpo, when: str) -> None:
    """Raise UserError if the mean |Δlogp| is above `max_logprob_diff` or NaN."""
    if not mean <= config.max_logprob_diff:  # true for NaN, too
        raise UserError(
            f"{when}, the sampler's log-probs differ from the trainer's by {mean:.3g} on average (largest "
            f"{largest:.3g}), above grpo.max_logprob_diff = {config.max_logprob_diff:g}: it does not sample "
            "from the policy that is trained. Look for stale weights, another "
            "pixel budget, or a precision that differs; raise the bound only "
            "if you know why."
        )
