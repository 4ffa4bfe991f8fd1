"""Where completions come from: one protocol, so that the training loop does not know which engine writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from wethink.common.jsonl import Record
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.generation.in_process import Completion, sample, uniforms
from wethink.models.batching import Images, Prompt, micro_batches
from wethink.models.policy import Processor
from wethink.training.ranks import Ranks


class Sampler(Protocol):
    """An engine that writes G completions per row from the weights that `sync` last gave it."""

    config: Grpo

    def sync(self, model: Any, step: int) -> None:
        """Take over the policy's weights as they are after `step` updates: before the first rollout of a run,
        resumed or not, and after every update. Every rank calls it."""

    def sample(
        self, rows: Sequence[Record], prompts: Sequence[Prompt], images: Images, step: int, seed: int
    ) -> list[list[Completion]]:
        """Completions of each row, in order. `prompts` are the rows encoded for the trainer."""

    def close(self) -> None:
        """Let go of what the engine holds (processes, memory)."""


class InProcess:
    """The policy itself, in this process: exact, and nothing to copy."""

    def __init__(self, processor: Processor, config: Grpo, device: torch.device) -> None:
        self.processor, self.config, self.device = processor, config, device
        self.model: Any = None

    def sync(self, model: Any, step: int) -> None:
        self.model = model

    def sample(
        self, rows: Sequence[Record], prompts: Sequence[Prompt], images: Images, step: int, seed: int
    ) -> list[list[Completion]]:
        config = self.config
        budget = config.optim.micro_tokens  # of a pass, here as in learning: what a step samples at once is bounded
        most = [len(prompt.ids) + config.group * config.max_new_tokens for prompt in prompts]
        self.model.eval()
        try:
            found: list[list[Completion]] = []
            for cut in micro_batches(most, budget) if budget else [range(len(prompts))]:
                ids = [rows[i]["id"] for i in cut]
                draws = [uniforms(seed, step, row, config.group, config.max_new_tokens) for row in ids]
                found += sample(
                    self.model,
                    self.processor,
                    [prompts[i] for i in cut],
                    np.concatenate(draws),
                    config.max_new_tokens,
                    config.temperature,
                    config.group,
                    self.device,
                )
            return found
        finally:
            self.model.train()

    def close(self) -> None:
        self.model = None


def open_sampler(processor: Processor, config: Grpo, launch: Launch, scratch: Path, ranks: Ranks) -> Sampler:
    """The sampler that the parameters ask for."""
    if config.sampler == "vllm":
        from wethink.generation.vllm import Vllm

        return Vllm(processor, config, launch, scratch, ranks)
    return InProcess(processor, config, ranks.device)
