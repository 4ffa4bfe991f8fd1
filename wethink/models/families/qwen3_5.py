"""Qwen3.5, 3.6 and the dense 3.8: gated attention in every fourth layer, Gated DeltaNet in the others."""

from typing import Any

from transformers.models.qwen3_5 import modeling_qwen3_5 as stock

from wethink.config.training import TinyModel
from wethink.models.families.byte_tokenizer import build_byte_tokenizer
from wethink.models.families.family import ModelFamily, base_text_config, base_vision_config, head_width, interleaved
from wethink.models.families.vision import ChunkedAttention, LinearPatches
from wethink.models.recurrence import GatedDeltaNet

PATCH = 16


class LinearPatchEmbed(LinearPatches, stock.Qwen3_5VisionPatchEmbed):  # type: ignore[misc]
    """Patch embedding (with a bias) as one matrix product."""


class VisionAttention(ChunkedAttention, stock.Qwen3_5VisionAttention):  # type: ignore[misc]
    """Vision attention whose chunks are images."""


def text_config(shape: TinyModel) -> dict[str, Any]:
    """Return a tiny text config: every second layer is recurrent, and half of a head rotates.

    The large models rotate a quarter of 256, which is more than a tiny head has.
    """
    text, width = base_text_config(shape), head_width(shape)
    text["rope_parameters"] |= {"mrope_interleaved": True, "mrope_section": interleaved(width // 4)}
    text["rope_parameters"]["partial_rotary_factor"] = 0.5
    kinds = ["full_attention" if layer % 2 else "linear_attention" for layer in range(shape.num_hidden_layers)]
    return text | {
        "head_dim": width,
        "layer_types": kinds,
        "linear_num_key_heads": shape.num_key_value_heads,
        "linear_num_value_heads": shape.num_attention_heads,
        "linear_key_head_dim": width,
        "linear_value_head_dim": width,
    }


def vision_config(shape: TinyModel) -> dict[str, Any]:
    return base_vision_config(shape, PATCH) | {"num_position_embeddings": 64}


FAMILY = ModelFamily(
    name="qwen3_5",
    processor="Qwen3VLProcessor",
    video_processor="Qwen3VLVideoProcessor",
    patch=PATCH,
    text_config=text_config,
    vision_config=vision_config,
    vision={
        stock.Qwen3_5VisionPatchEmbed: LinearPatchEmbed,
        stock.Qwen3_5VisionAttention: VisionAttention,
    },
    packed={stock.Qwen3_5GatedDeltaNet: GatedDeltaNet},
    tokenizer=build_byte_tokenizer,
)
