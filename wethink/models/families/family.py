"""Model family: a record of what a model type needs, and the shapes that families share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import nn

from wethink.config.training import TinyModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MERGE = 2  # patches per side of a merged image token
PAD, EOS = "<|endoftext|>", "<|im_end|>"
SPECIAL = (
    PAD,
    "<|im_start|>",
    EOS,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ROLES = ("system", "user", "assistant")
TokenizerBuilder = Callable[[Iterable[str], Sequence[str]], "PreTrainedTokenizerBase"]


def language_linears(model: nn.Module) -> list[str]:
    """List the names of the language model's linear layers."""
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "language_model" in name.split(".")
    ]


@dataclass(frozen=True)
class ModelFamily:
    """A model type of Transformers, as training and sampling see it.

    All families here turn images into merged patches with M-RoPE positions (`batching.mrope_positions`). The swaps are
    stock classes and the subclasses that replace them in place: `vision` makes the tower fast, `packed` makes layers
    with a recurrent state follow a `packing.Layout` (attention follows it by itself).
    """

    name: str  # Transformers' model type
    processor: str  # stock class of text with images
    video_processor: str
    patch: int  # pixels per side
    text_config: Callable[[TinyModel], dict[str, Any]]  # of the tiny model
    vision_config: Callable[[TinyModel], dict[str, Any]]
    vision: dict[type, type] = field(default_factory=dict)
    packed: dict[type, type] = field(default_factory=dict)
    lora_targets: Callable[[nn.Module], list[str]] = language_linears
    tokenizer: TokenizerBuilder | None = None  # of the tiny model; None: whole words (`tiny.build_tokenizer`)


def base_text_config(shape: TinyModel) -> dict[str, Any]:
    """Return the keys that every family's text config has."""
    return {
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "max_position_embeddings": 512,
        "initializer_range": shape.initializer_range,
        "tie_word_embeddings": True,
        # M-RoPE gives an image's width the last frequencies. With the usual theta of 10,000 they rotate by
        # thousandths per token, and a tiny model cannot tell its 2 × 2 image tokens apart.
        "rope_parameters": {"rope_type": "default", "rope_theta": 20.0},
    }


def base_vision_config(shape: TinyModel, patch: int) -> dict[str, Any]:
    """Return the keys that every family's vision config has."""
    return {
        "depth": shape.vision_depth,
        "hidden_size": shape.vision_hidden_size,
        "intermediate_size": 2 * shape.vision_hidden_size,
        "num_heads": 4,
        "out_hidden_size": shape.hidden_size,
        "patch_size": patch,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "initializer_range": shape.initializer_range,
    }


def head_width(shape: TinyModel) -> int:
    return shape.hidden_size // shape.num_attention_heads


def interleaved(half: int) -> list[int]:
    """Return Qwen3's M-RoPE sections of `half` frequencies: temporal, height, width.

    They are interleaved: height and width take every third frequency each, so neither exceeds a third.
    """
    third = half // 3
    return [half - 2 * third, third, third]
