"""Configurations of `make plan-check`: models with random weights that a CPU trains for a step or two."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.config.params import Params, load_params
from wethink.config.training import Family, Lora, Optim, Sft, TinyModel


@dataclass(frozen=True)
class Case:
    """Training run: a model's shape, a stage, and the settings that memory and time depend on."""

    name: str
    stage: str  # sft or grpo
    hidden: int = 512
    layers: int = 8
    heads: int = 8
    kv_heads: int = 4
    inner: int = 1408
    vocabulary: int = 32_000
    vision_layers: int = 4
    vision_hidden: int = 256
    family: Family = "qwen2_5_vl"
    image: int = 336  # pixels per side
    words: int = 32  # of a question
    completion: int = 64  # tokens
    batch: int = 2  # prompts or samples of a step, all ranks
    group: int = 8
    micro: int = 2  # rows of a pass (SFT)
    budget: int = 4096  # tokens of a pass (GRPO)
    ranks: int = 1
    deepspeed: str = "zero1_fp32.json"
    checkpointing: bool = False
    lora: int = 0  # rank; 0: all weights
    kl: float = 0.0
    steps: int = 2

    def shape(self) -> TinyModel:
        return TinyModel(
            family=self.family,
            hidden_size=self.hidden,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            intermediate_size=self.inner,
            vision_depth=self.vision_layers,
            vision_hidden_size=self.vision_hidden,
            initializer_range=0.02,
        )

    def params(self) -> Params:
        """Return the tiny profile with this case's settings."""
        tiny = load_params(Path("profiles/tiny.yaml"))
        optim = Optim(
            lr=1e-5,
            max_steps=self.steps,
            train_batch_size=self.batch,
            micro_batch_size=self.micro,
            max_token_len_per_gpu=self.budget if self.stage == "grpo" else None,
            gradient_checkpointing=self.checkpointing,
            lora=Lora(rank=self.lora, alpha=self.lora) if self.lora else None,
            save_steps=1000,
        )
        changes: dict[str, Any] = {
            "draw": tiny.draw.model_copy(update={"image_size": self.image}),
            "launch": Launch(
                device="cpu",
                processes=self.ranks,
                threads=1,
                deepspeed=f"infra/deepspeed/{self.deepspeed}",
                deadline_minutes=60,
            ),
            "sft": Sft(optim=optim),
            "grpo": Grpo(
                **tiny.grpo.model_dump()
                | {
                    "optim": optim,
                    "num_generations": self.group,
                    "max_completion_length": self.completion,
                    "kl_coef": self.kl,
                }
            ),
        }
        return tiny.model_copy(update=changes)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


TINY: dict[str, Any] = {
    "hidden": 128, "layers": 4, "heads": 4, "kv_heads": 2, "inner": 384, "vocabulary": 500, "vision_layers": 2,
    "vision_hidden": 64, "image": 56, "words": 24, "micro": 64, "budget": 100_000,
}  # fmt: skip
LARGE: dict[str, Any] = {
    "hidden": 1024, "layers": 22, "heads": 16, "kv_heads": 8, "inner": 2816, "vision_layers": 8, "vision_hidden": 512,
    "image": 112, "words": 16, "completion": 32, "batch": 2, "micro": 1,
}  # fmt: skip
LARGEST = LARGE | {"hidden": 1536, "layers": 26, "heads": 12, "kv_heads": 4, "inner": 5120, "batch": 1}
QWEN3_VL: dict[str, Any] = {
    "family": "qwen3_vl", "image": 128, "completion": 16, "batch": 1, "lora": 16, "deepspeed": "zero0_fp32.json",
}  # fmt: skip
QWEN3_5: dict[str, Any] = {
    "family": "qwen3_5", "image": 128, "completion": 32, "ranks": 2, "deepspeed": "zero3_fp32.json", "micro": 1,
}  # fmt: skip
CASES = (
    Case("tiny profile, SFT, 2 ranks", "sft", **TINY | {"completion": 40, "batch": 32, "ranks": 2, "steps": 3}),
    Case("tiny profile, GRPO, KL", "grpo", **TINY | {"completion": 48, "batch": 8, "kl": 0.01, "steps": 3}),
    Case("45 M, GRPO, KL, checkpointing", "grpo", image=224, completion=24, batch=1, kl=0.01, checkpointing=True),
    Case("Qwen3-VL, 45 M, GRPO, LoRA, ZeRO-0", "grpo", **QWEN3_VL),
    Case("0.3 B, SFT, ZeRO-1", "sft", **LARGE),
    Case("45 M, SFT, ZeRO-2, 2 ranks", "sft", image=112, completion=32, ranks=2, deepspeed="zero2_fp32.json", micro=1),
    Case("Qwen3.5, 45 M, SFT, ZeRO-3, 2 ranks", "sft", **QWEN3_5),
    Case("45 M, SFT, 430 tokens", "sft", image=112, words=200, completion=200),
    Case("45 M, SFT, 430 tokens, checkpointing", "sft", image=112, words=200, completion=200, checkpointing=True),
    Case("0.3 B, SFT, ZeRO-2, 2 ranks", "sft", **LARGE | {"ranks": 2, "deepspeed": "zero2_fp32.json"}),
    Case("0.3 B, SFT, ZeRO-3, 2 ranks", "sft", **LARGE | {"ranks": 2, "deepspeed": "zero3_fp32.json"}),
    Case("0.9 B, SFT, LoRA, checkpointing", "sft", **LARGEST | {"lora": 16, "checkpointing": True}),
)  # fmt: skip
