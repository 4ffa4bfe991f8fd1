"""`base` and `sft` sections of `params.yaml`, optimizer, LoRA and the tiny model's shape."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config.base import Positive, Section, Share


class Lora(Section):
    """LoRA adapters on every linear layer of the language model, optionally of the vision tower; the head is frozen."""

    rank: Positive
    alpha: Positive
    dropout: Share = 0.0
    vision: bool = False  # adapters on the vision tower's linear layers, too
    load_in_4bit: bool = False  # QLoRA: the adapted layers' own weights in 4-bit NF4 (bitsandbytes)


class Optim(Section):
    """AdamW, optionally with Muon, and linear warm-up, then constant or cosine decay to zero."""

    lr: Annotated[float, Field(gt=0)]
    muon_lr: Annotated[float, Field(gt=0)] | None = None  # if set, Muon updates the hidden matrices; needs fewer steps
    max_steps: Positive
    train_batch_size: Positive  # samples per optimizer step over all processes
    warmup_ratio: Share = 0.05
    lr_scheduler_type: Literal["constant", "cosine"] = "cosine"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    micro_batch_size: Positive = 64  # rows per forward pass and process
    max_token_len_per_gpu: Positive | None = (
        None  # GRPO: packed tokens per pass in place of rows; a larger group stands alone
    )
    save_steps: Positive = 100  # steps between resumable checkpoints
    save_total_limit: Positive = 2  # resumable checkpoints kept
    gradient_checkpointing: bool = False  # compute activations again in the backward pass instead of keeping them
    frozen_parameters: tuple[str, ...] = ()  # regular expressions; parameters with a matching name are frozen
    lora: Lora | None = None
    max_skipped_steps: Positive = 3  # this many steps in a row without a finite gradient stop the stage

    @model_validator(mode="after")
    def _lora_stands_alone(self) -> "Optim":
        if self.lora and self.frozen_parameters:
            raise ValueError(
                "'lora' and 'frozen_parameters' exclude each other: with adapters everything else is frozen"
            )
        if self.lora and self.muon_lr is not None:
            raise ValueError(
                "'lora' and 'muon_lr' exclude each other: Muon is for whole matrices, not for their factors"
            )
        return self


Family = Literal["qwen2_5_vl", "qwen3_vl", "qwen3_5"]  # model types as Transformers names them


class TinyModel(Section):
    """Shape of the tiny model, named as in its Hugging Face config.

    Image sizes are multiples of 28 or, for Qwen3 and 3.5, of 32.
    """

    family: Family = "qwen2_5_vl"
    hidden_size: Positive
    num_hidden_layers: Positive
    num_attention_heads: Positive
    num_key_value_heads: Positive
    intermediate_size: Positive
    vision_depth: Positive
    vision_hidden_size: Positive
    initializer_range: float


class Base(Section):
    """Starting policy: `model: tiny` builds and pre-trains one; otherwise a path or hub id."""

    model: str
    revision: str | None = None
    tiny: TinyModel | None
    optim: Optim | None
    direct_share: Share = 0.15  # share of pre-training samples that answer first and describe later
    tagged_share: Share = 0.15  # share of pre-training samples in the response format

    @model_validator(mode="after")
    def _tiny_is_whole(self) -> "Base":
        if self.model == "tiny" and (self.tiny is None or self.optim is None):
            raise ValueError("model 'tiny' needs both 'tiny' and 'optim'")
        return self


class Sft(Section):
    optim: Optim
    paths: Literal["refined", "raw", "answers"] = "refined"  # training target; 'raw' and 'answers' are ablations
    sources: tuple[str, ...] | None = None  # image sources to learn from; None: all
    share_images: bool = False  # rows about one image learn in one step, behind one copy of it
