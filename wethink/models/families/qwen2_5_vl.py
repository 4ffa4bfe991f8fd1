"""Qwen2.5-VL (arXiv 2502.13923): windowed vision attention, contiguous M-RoPE sections."""

from typing import Any

from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as stock

from wethink.config.training import TinyModel
from wethink.models.families.family import ModelFamily, base_text_config, base_vision_config, head_width
from wethink.models.families.vision import ChunkedAttention, LinearPatches

PATCH = 14


class LinearPatchEmbed(LinearPatches, stock.Qwen2_5_VisionPatchEmbed):  # type: ignore[misc]
    """Patch embedding as one matrix product."""


class VisionAttention(ChunkedAttention, stock.Qwen2_5_VLVisionAttention):  # type: ignore[misc]
    """Vision attention whose chunks are windows or images."""


def text_config(shape: TinyModel) -> dict[str, Any]:
    text = base_text_config(shape)
    text["rope_parameters"]["mrope_section"] = _contiguous(head_width(shape) // 2)
    return text | {"use_sliding_window": False}


def vision_config(shape: TinyModel) -> dict[str, Any]:
    last = shape.vision_depth - 1
    return base_vision_config(shape, PATCH) | {"window_size": 112, "fullatt_block_indexes": [last]}


def _contiguous(half: int) -> list[int]:
    """Return Qwen2.5's M-RoPE sections of `half` frequencies: temporal, height, width."""
    temporal = half // 4
    height = (half - temporal) // 2
    return [temporal, height, half - temporal - height]


FAMILY = ModelFamily(
    name="qwen2_5_vl",
    processor="Qwen2_5_VLProcessor",
    video_processor="Qwen2VLVideoProcessor",
    patch=PATCH,
    text_config=text_config,
    vision_config=vision_config,
    vision={
        stock.Qwen2_5_VisionPatchEmbed: LinearPatchEmbed,
        stock.Qwen2_5_VLVisionAttention: VisionAttention,
    },
)
