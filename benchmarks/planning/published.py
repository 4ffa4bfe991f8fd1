"""Published figures of other trainers beside plans of the nearest settings here."""

from dataclasses import dataclass
from typing import Any

from wethink.config.params import Params
from wethink.config.profiles import profile_params
from wethink.config.training import Lora
from wethink.training.planning.devices import device_named
from wethink.training.planning.memory import total
from wethink.training.planning.plan import Model, StagePlan, model_of, placed, plan_stage
from wethink.training.planning.work import Lengths, Stage

EASYR1 = "EasyR1 0.3.2, assets/baselines.md"
UNSLOTH = "unsloth.ai/docs, Qwen3.5 fine-tuning guide"
ROLLOUT = 725  # tokens a rollout: 1,600 tokens/s and GPU × 8 × 145 s / (512 prompts × 5), from the same table
GEOMETRY = Lengths(text=80, pixels=320 * 320, completion=ROLLOUT - 330)  # about Geometry3K's; the sum is the table's


@dataclass(frozen=True)
class Published:
    """A figure of another trainer, and the plan's."""

    what: str
    source: str
    unit: str
    theirs: float
    planned: float
    note: str

    @property
    def distance(self) -> float:
        return self.planned / self.theirs - 1


def easyr1(file: str, budget: int) -> Params:
    """Return EasyR1's default recipe for Qwen2.5-VL-7B in this project's keys."""
    found = profile_params(["qwen2_5_vl_7b"])
    optim = found.grpo.optim.model_copy(update={"train_batch_size": 512, "max_token_len_per_gpu": budget})
    grpo: dict[str, Any] = {"optim": optim, "steps_per_generation": 4, "shared_prefix": False}
    launch = {"deepspeed": f"infra/deepspeed/{file}.json", "vllm_memory": 0.6, "processes": 8}
    return found.model_copy(
        update={
            "grpo": found.grpo.model_copy(update=grpo),
            "launch": found.launch.model_copy(update=launch),
            "ingest": found.ingest.model_copy(update={"max_pixels": 1_003_520}),
        }
    )


def lora(name: str) -> Params:
    """Return SFT with LoRA of rank 16 on one device, a row of 2,048 tokens at most a pass."""
    found = profile_params([name])
    optim = found.sft.optim.model_copy(
        update={"lora": Lora(rank=16, alpha=16), "gradient_checkpointing": True, "micro_batch_size": 1}
    )
    return found.model_copy(
        update={
            "sft": found.sft.model_copy(update={"optim": optim}),
            "launch": found.launch.model_copy(update={"processes": 1}),
            "ingest": found.ingest.model_copy(update={"max_pixels": 512 * 512}),
            "validate_": found.validate_.model_copy(update={"max_problem_chars": 800, "max_cot_chars": 5600}),
        }
    )


def compare() -> list[Published]:
    """Plan the nearest settings of each published figure."""
    models: dict[str, Model] = {}

    def planned(params: Params, device: str, stage: Stage, lengths: Lengths) -> StagePlan:
        name = params.base.model
        models.setdefault(name, model_of(params.base))
        found = device_named(device)
        return plan_stage(placed(params, found, None), models[name], found, stage, lengths)

    rows = []
    whole = planned(easyr1("zero3_bf16", 2 * (2048 + 2048)), "h100", "grpo", GEOMETRY)
    apart = "they hand weights over in memory: the plan without `sync`; they pad, with micro-batches of 1"
    step = sum(whole.seconds.values()) - whole.seconds["sync"]
    rows.append(Published("7B GRPO, 8 × H100, seconds a step", EASYR1, "s", 145, step, apart))
    larger = "the same, micro-batches of 4"
    rows.append(Published("7B GRPO, 8 × H100, seconds a step", EASYR1, "s", 120, step, larger))
    slow = planned(easyr1("zero3_bf16", 2 * (2048 + 2048)), "l20", "grpo", GEOMETRY)
    step = sum(slow.seconds.values()) - slow.seconds["sync"]
    rows.append(Published("7B GRPO, 8 × L20, seconds a step", EASYR1, "s", 580, step, apart))
    learn = total(whole.memory["learn"]) / 1e9
    theirs = "their peak is of vLLM at 0.6 (48 GB) and offloaded weights; the plan's of learning, weights gathered"
    rows.append(Published("7B GRPO, 8 × H100, GB a GPU", EASYR1, "GB", 68, learn, theirs))
    for size, theirs_gb in (("2B", 5.0), ("4B", 10.0), ("9B", 22.0)):
        name = {"2B": "qwen3_5_2b_lora", "4B": "qwen3_5_4b", "9B": "qwen3_5_9b"}[size]
        found = planned(lora(name), "h100", "sft", Lengths(text=80, pixels=512 * 512, completion=400))
        peak = total(found.memory["learn"]) / 1e9
        note = "their length and batch are not stated; the plan's learning phase, loading apart"
        rows.append(Published(f"Qwen3.5-{size}, LoRA, bf16, GB", UNSLOTH, "GB", theirs_gb, peak, note))
    return rows
