"""Exact fast paths for Qwen's vision towers, mixed into the classes of each family.

Modules change their class, so weights and parameter names stay. The stock towers run a Conv3d over patches (slow on
CPUs; kernel = stride makes it a matrix product) and attend image by image in a Python loop; images of one size can
share one attention call. tests/models/test_models.py checks both against the stock models.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen2_5


class LinearPatches:
    """Patch embedding as one matrix product."""

    proj: nn.Conv3d

    def forward(self, hidden_states: Tensor) -> Tensor:  # [P, C·T·p·p] → [P, D]
        weight = self.proj.weight
        return F.linear(hidden_states.to(weight.dtype), weight.flatten(1), self.proj.bias)


class ChunkedAttention:
    """One attention call for chunks (images or windows) of equal length.

    Chunks of unequal length take the stock loop.
    """

    def forward(
        self: Any,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        max_seqlen: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        lengths = cu_seqlens.diff()
        flash = qwen2_5.is_flash_attention_requested(self.config)
        if flash or position_embeddings is None or bool((lengths != lengths[0]).any()):
            stocked: Tensor = super().forward(  # type: ignore[misc]
                hidden_states, cu_seqlens, position_embeddings=position_embeddings, max_seqlen=max_seqlen, **kwargs
            )
            return stocked
        n, length = len(lengths), int(lengths[0])
        q, k, v = self.qkv(hidden_states).reshape(n * length, 3, self.num_heads, -1).unbind(1)
        q, k = qwen2_5.apply_rotary_pos_emb_vision(q, k, *position_embeddings)
        q, k, v = (x.reshape(n, length, self.num_heads, -1).transpose(1, 2) for x in (q, k, v))  # [n, H, L, d]
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scaling)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(n * length, -1))
        return out
