"""Exact fast paths for Qwen's vision towers, mixed into the classes of each family.

Modules change their class, so weights and parameter names stay. The stock towers run a Conv3d over patches (slow on
CPUs; kernel = stride makes it a matrix product) and attend chunk by chunk in a Python loop; chunks of one length
share one attention call. tests/models/test_models.py checks both against the stock models.
"""

from typing import Any

import numpy as np
import torch
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
    """Compute the attention of all chunks (images or windows) of one length in a single call."""

    def forward(
        self: Any,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor] | None = None,
        max_seqlen: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        if qwen2_5.is_flash_attention_requested(self.config) or position_embeddings is None:
            stocked: Tensor = super().forward(  # type: ignore[misc]
                hidden_states, cu_seqlens, position_embeddings=position_embeddings, max_seqlen=max_seqlen, **kwargs
            )
            return stocked
        shapes, order, back = chunks_by_length(cu_seqlens)
        q, k, v = self.qkv(hidden_states).reshape(len(hidden_states), 3, self.num_heads, -1).unbind(1)
        q, k = qwen2_5.apply_rotary_pos_emb_vision(q, k, *position_embeddings)  # [P, H, d]
        if len(shapes) == 1:
            mixed = self._attended(q, k, v, *shapes[0])
        else:
            sizes = [count * length for count, length in shapes]
            parts = zip(*(torch.split(x.index_select(0, order), sizes) for x in (q, k, v)), shapes, strict=True)
            mixed = torch.cat([self._attended(*part, *shape) for *part, shape in parts]).index_select(0, back)
        out: Tensor = self.proj(mixed)
        return out

    def _attended(self: Any, q: Tensor, k: Tensor, v: Tensor, count: int, length: int) -> Tensor:
        """Attend within `count` chunks of `length` patches: [P, H, d] → [P, D]."""
        q, k, v = (x.reshape(count, length, self.num_heads, -1).transpose(1, 2) for x in (q, k, v))  # [n, H, L, d]
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scaling)
        return mixed.transpose(1, 2).reshape(count * length, -1)


def chunks_by_length(cu_seqlens: Tensor) -> tuple[list[tuple[int, int]], Tensor, Tensor]:
    """Group chunks by length.

    Returns:
        (count, length) of each group; the order [P] of patches that puts groups one behind another; its inverse [P].
    """
    # All layers of a forward pass get the same tensor. Reading it waits for the GPU, so that happens once.
    known = getattr(cu_seqlens, "_wethink_chunks", None)
    if known is None:
        lengths = np.diff(cu_seqlens.cpu().numpy())
        chunk_of = np.repeat(lengths, lengths)  # [P] length of each patch's chunk
        order = np.argsort(chunk_of, kind="stable")
        shapes = [
            (int(count), int(length)) for length, count in zip(*np.unique(lengths, return_counts=True), strict=True)
        ]
        places = (torch.from_numpy(x).to(cu_seqlens.device) for x in (order, np.argsort(order, kind="stable")))
        known = (shapes, *places)
        cu_seqlens._wethink_chunks = known  # type: ignore[attr-defined]
    return known
