"""Sampler protocol for rollouts, independent of the inference engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.data.schema import Item
from wethink.generation.in_process import Completion, sample, uniforms
from wethink.models.batching import Images, Prompt, micro_batches
from wethink.models.policy import Processor
from wethink.training.ranks import Ranks


class Sampler(Protocol):
    """Inference engine that samples G completions per row with the synced weights."""

    config: Grpo

    def sync(self, model: Any, step: int) -> None:
        """Load the policy's weights as they are after `step` updates.

        Every rank calls it: before the first rollout of a run, resumed or not, and after every update.
        """

    def sample(
        self, rows: Sequence[Item], prompts: Sequence[Prompt], images: Images, step: int, seed: int
    ) -> list[list[Completion]]:
        """Return the completions of each row, in order.

        `prompts` are the rows encoded for the trainer.
        """

    def close(self) -> None:
        """Release the engine's processes and memory."""


class InProcess:
    """Sampler that runs the policy itself: exact, without copying weights."""

    def __init__(self, processor: Processor, config: Grpo, device: torch.device) -> None:
        self.processor, self.config, self.device = processor, config, device
        self.model: Any = None

    def sync(self, model: Any, step: int) -> None:
        self.model = model

    def sample(
        self, rows: Sequence[Item], prompts: Sequence[Prompt], images: Images, step: int, seed: int
    ) -> list[list[Completion]]:
        config = self.config
        budget = config.optim.max_token_len_per_gpu  # tokens of a pass, as in training
        most = [len(prompt.ids) + config.num_generations * config.max_completion_length for prompt in prompts]
        self.model.eval()
        try:
            found: list[list[Completion]] = []
            for cut in micro_batches(most, budget) if budget else [range(len(prompts))]:
                ids = [rows[i]["id"] for i in cut]
                draws = [uniforms(seed, step, row, config.num_generations, config.max_completion_length) for row in ids]
                found += sample(
                    self.model,
                    self.processor,
                    [prompts[i] for i in cut],
                    np.concatenate(draws),
                    config.max_completion_length,
                    config.temperature,
                    config.num_generations,
                    self.device,
                )
            return found
        finally:
            self.model.train()

    def close(self) -> None:
        self.model = None


def open_sampler(
    processor: Processor, config: Grpo, launch: Launch, scratch: Path, ranks: Ranks, images: int = 1
) -> Sampler:
    """Create the sampler that `config.sampler` names; `images` is the largest number that a row has."""
    if config.sampler == "vllm":
        from wethink.generation.vllm import Vllm

        return Vllm(processor, config, launch, scratch, ranks, images)
    return InProcess(processor, config, ranks.device)
