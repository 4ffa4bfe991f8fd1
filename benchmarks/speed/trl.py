"""TRL's side of `make bench`: GRPOTrainer and SFTTrainer on the same workload. Runs in .venv-trl."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForImageTextToText, AutoProcessor, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from benchmarks.speed.workload import REPEATS, SFT_BATCH, SFT_WORDS, picture, question

torch.set_num_threads(1)
COMMON: dict[str, Any] = {
    "max_steps": REPEATS,
    "learning_rate": 1e-4,
    "gradient_accumulation_steps": 1,
    "report_to": [],
    "save_strategy": "no",
    "logging_steps": 10**6,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
}


class Clock(TrainerCallback):  # type: ignore[misc]
    """Timer of CPU seconds per step, without the first (warm-up) step."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.marks.append(time.process_time())

    @property
    def seconds(self) -> list[float]:
        return [after - before for before, after in zip(self.marks[1:], self.marks[2:], strict=False)]


def asked(i: int, words: int) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question(i, words)}]}]


def reward(completions: list[Any], **_: Any) -> list[float]:
    texts = [c[0]["content"] if isinstance(c, list) else c for c in completions]
    return [float(len(set(str(text).split()))) for text in texts]


def side(folder: Path) -> dict[str, Callable[..., Any]]:
    processor = AutoProcessor.from_pretrained(folder / "model", padding_side="left")

    def model() -> Any:
        return AutoModelForImageTextToText.from_pretrained(folder / "model", attn_implementation="sdpa")

    def grpo(name: str, prompts: int, group: int, words: int, length: int, **_: int) -> dict[str, Any]:
        rows = [{"prompt": asked(i, words), "image": picture(i)} for i in range(prompts * REPEATS)]
        clock = Clock()
        with tempfile.TemporaryDirectory() as out:
            config = GRPOConfig(
                out,
                per_device_train_batch_size=prompts * group,
                num_generations=group,
                max_completion_length=length,
                generation_kwargs={"min_new_tokens": length},
                beta=0.0,
                temperature=1.0,
                **COMMON,
            )
            GRPOTrainer(
                model(),
                reward,
                args=config,
                train_dataset=Dataset.from_list(rows),
                processing_class=processor,
                callbacks=[clock],
            ).train()
        return {"seconds": clock.seconds}

    def sft() -> dict[str, Any]:
        rows = [
            {
                "prompt": asked(i, 12),
                "completion": [{"role": "assistant", "content": question(i, SFT_WORDS)}],
                "images": [picture(i)],
            }
            for i in range(SFT_BATCH * REPEATS)
        ]
        clock = Clock()
        with tempfile.TemporaryDirectory() as out:
            config = SFTConfig(out, per_device_train_batch_size=SFT_BATCH, max_length=None, **COMMON)
            SFTTrainer(
                model(),
                args=config,
                train_dataset=Dataset.from_list(rows),
                processing_class=processor,
                callbacks=[clock],
            ).train()
        return {"seconds": clock.seconds}

    return {"grpo": grpo, "sft": sft}
