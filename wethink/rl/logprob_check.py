"""Log-prob mismatch check between sampling engine and trainer, before training and at every step.

The check detects an engine that serves stale weights, another prompt, log-probs before the temperature, or a
repetition penalty from a model's files: its log-probs differ from the trainer's.
"""

from collections.abc import Sequence
from typing import Any

import torch

from wethink.common.errors import UserError
from wethink.config.grpo import Grpo
from wethink.data.schema import Row, row_images
from wethink.generation.sampler import Sampler
from wethink.models.batching import Images, encode_prompts, pack
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor
from wethink.training.ranks import Ranks, gather_objects

ROWS, SAMPLES, TOKENS = 8, 2, 64
TEMPERATURE = 0.7  # not 1, where log-probs before and after the temperature are equal


@torch.no_grad()
def differences(
    sampler: Sampler,
    model: Any,
    processor: Processor,
    rows: Sequence[Row],
    images: Images,
    ranks: Ranks,
    seed: int = 0,
) -> torch.Tensor:
    """Return |Δlogp| [N] between sampler and trainer for the same tokens.

    The sampler draws them at T = 0.7; the trainer computes their log-probs in one forward pass.
    """
    prompts = encode_prompts([row["problem"] for row in rows], [row_images(row) for row in rows], images, processor)
    config = sampler.config
    limit = min(TOKENS, config.max_completion_length)
    sampler.config = config.model_copy(
        update={"temperature": TEMPERATURE, "num_generations": SAMPLES, "max_completion_length": limit}
    )
    try:
        completions = [c for group in sampler.sample(rows, prompts, images, 0, seed) for c in group]
    finally:
        sampler.config = config
    model.eval()
    batch = pack(prompts, [c.ids for c in completions], SAMPLES).to(ranks.device)
    logps, _ = CompletionLogProbs(model, processor.banned)(batch, TEMPERATURE)  # [N]
    model.train()
    drawn = torch.tensor([logp for c in completions for logp in c.logps])  # [N]
    return torch.abs(logps.cpu() - drawn)


def self_test(
    sampler: Sampler,
    model: Any,
    processor: Processor,
    rows: Sequence[Row],
    images: Images,
    config: Grpo,
    ranks: Ranks,
) -> float:
    """Return the mean |Δlogp| over all ranks before the first update.

    Raises:
        UserError: the mean is above `max_logprob_diff`.
    """
    found = differences(sampler, model, processor, rows[:ROWS], images, ranks)
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
