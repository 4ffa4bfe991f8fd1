"""Where completions come from: one protocol, so that the training loop does not know which engine writes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from wethink.batching import Images, Prompt
from wethink.config import Grpo, Launch
from wethink.distributed import Ranks
from wethink.models.policy import Processor
from wethink.records import Record
from wethink.rl.rollout import Completion, sample, uniforms


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
        draws = np.concatenate([uniforms(seed, step, row["id"], config.group, config.max_new_tokens) for row in rows])
        self.model.eval()
        try:
            return sample(
                self.model,
                self.processor,
                prompts,
                draws,
                config.max_new_tokens,
                config.temperature,
                config.group,
                self.device,
            )
        finally:
            self.model.train()

    def close(self) -> None:
        self.model = None


def open_sampler(processor: Processor, config: Grpo, launch: Launch, scratch: Path, ranks: Ranks) -> Sampler:
    """The sampler that the parameters ask for."""
    if config.sampler == "vllm":
        from wethink.rl.vllm_engine import Vllm

        return Vllm(processor, config, launch, scratch, ranks)
    return InProcess(processor, config, ranks.device)
