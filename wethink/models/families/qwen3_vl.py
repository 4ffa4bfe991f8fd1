"""Qwen3-VL (arXiv 2511.21631): DeepStack features, interleaved M-RoPE sections."""

from typing import Any

from transformers.models.qwen3_vl import modeling_qwen3_vl as stock

from wethink.config.training import TinyModel
from wethink.models.families.family import ModelFamily, base_text_config, base_vision_config, head_width, interleaved
from wethink.models.families.vision import ChunkedAttention, LinearPatches

PATCH = 16


class LinearPatchEmbed(LinearPatches, stock.Qwen3VLVisionPatchEmbed):  # type: ignore[misc]
    """Patch embedding (with a bias) as one matrix product."""


class VisionAttention(ChunkedAttention, stock.Qwen3VLVisionAttention):  # type: ignore[misc]
    """Vision attention whose chunks are images."""


def text_config(shape: TinyModel) -> dict[str, Any]:
    text, width = base_text_config(shape), head_width(shape)
    text["rope_parameters"] |= {"mrope_interleaved": True, "mrope_section": interleaved(width // 2)}
    return text | {"head_dim": width}


def vision_config(shape: TinyModel) -> dict[str, Any]:
    return base_vision_config(shape, PATCH) | {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}


FAMILY = ModelFamily(
    name="qwen3_vl",
    processor="Qwen3VLProcessor",
    video_processor="Qwen3VLVideoProcessor",
    patch=PATCH,
    text_config=text_config,
    vision_config=vision_config,
    vision={
        stock.Qwen3VLVisionPatchEmbed: LinearPatchEmbed,
        stock.Qwen3VLVisionAttention: VisionAttention,
    },
)
