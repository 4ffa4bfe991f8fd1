"""Sequence packing with shared prompts: token layout and the attention over it.

T tokens of many sequences form one row. `trunks` (prompts) attend causally to themselves. Every trunk may have the same
number G of `branches` (completions); a branch attends to its whole trunk and causally to itself. So a prompt is
computed once per group, exactly (as in PrefixGrouper, arXiv 2506.05433). All trunks come first, then all branches, so
that both are slices.

The attention is registered with Transformers as `wethink`; without a layout it is the stock SDPA attention. On a GPU it
is flex attention with a block mask; on a CPU trunks and branches are padded for one fused call each. No [T, T] mask is
ever materialised.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NAME = "wethink"
HIDDEN = -1e30  # added to masked attention scores; finite, so that a fully masked row gives no NaN


@dataclass(frozen=True)
class Rows:
    """R sequences of at most L tokens, convertible between packed and padded form."""

    lengths: tuple[int, ...]  # R
    places: Tensor  # [Σ lengths] index of each token in the padded [R · L]

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "Rows":
        width = max(lengths)
        return cls(tuple(lengths), torch.cat([torch.arange(length) + i * width for i, length in enumerate(lengths)]))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.lengths), max(self.lengths)

    def pad(self, packed: Tensor) -> Tensor:
        """Pad [Σ lengths, …] to [R, L, …] with zeros behind each row."""
        padded: Tensor = _Pad.apply(packed, self.places, self.shape)  # type: ignore[no-untyped-call]
        return padded

    def unpad(self, padded: Tensor) -> Tensor:
        """Unpad [R, L, …] to [Σ lengths, …]."""
        packed: Tensor = _Unpad.apply(padded, self.places)  # type: ignore[no-untyped-call]
        return packed

    def hidden(self) -> Tensor:
        """Build the bias [R, L] that masks the padding."""
        bias = torch.full(self.shape, HIDDEN, device=self.places.device)
        bias.view(-1)[self.places] = 0
        return bias

    def to(self, device: torch.device) -> "Rows":
        return Rows(self.lengths, self.places.to(device))


class _Pad(torch.autograd.Function):
    """Scatter packed rows to padded ones; the backward pass gathers their gradients."""

    # Not by indexing: its backward pass accumulates where a copy suffices.

    @staticmethod
    def forward(ctx: Any, packed: Tensor, places: Tensor, shape: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(places)
        flat = packed.new_zeros(shape[0] * shape[1], *packed.shape[1:])
        return flat.index_copy_(0, places, packed).view(*shape, *packed.shape[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return gradient.flatten(0, 1).index_select(0, places), None, None


class _Unpad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.shape = padded.shape[:2]
        return padded.flatten(0, 1).index_select(0, places)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        flat = gradient.new_zeros(ctx.shape[0] * ctx.shape[1], *gradient.shape[1:])
        return flat.index_copy_(0, places, gradient).view(*ctx.shape, *gradient.shape[1:]), None


@dataclass(frozen=True)
class Layout:
    """Attention layout of T packed tokens: B trunks and, if any, B · G branches.

    G consecutive branches belong to one trunk.
    """

    trunks: Rows
    branches: Rows | None = None
    # per layer: keys and values of the trunks, or the convolution's tail and the state of a recurrent layer
    kept: list[tuple[Tensor, Tensor]] | None = field(default=None, compare=False)

    @cached_property
    def group(self) -> int:
        return len(self.branches.lengths) // len(self.trunks.lengths) if self.branches else 0

    @cached_property
    def bias(self) -> Tensor:
        """Attention bias of branches over trunk and branch, [B · G, 1, N, P + N] (CPU)."""
        assert self.branches is not None
        rows, width = self.branches.shape
        trunk = self.trunks.hidden().repeat_interleave(self.group, 0)[:, None].expand(-1, width, -1)
        own = torch.full((width, width), HIDDEN).triu(1).expand(rows, -1, -1)
        return torch.cat([trunk, own], dim=-1).unsqueeze(1)

    @cached_property
    def block_mask(self) -> Any:
        """Flex attention's block mask; most of its 128 × 128 blocks are skipped."""
        from torch.nn.attention.flex_attention import create_block_mask

        device = self.trunks.places.device
        trunk_of, branch_of = [], []
        for i, length in enumerate(self.trunks.lengths):
            trunk_of += [i] * length
            branch_of += [-1] * length
        for i, length in enumerate(self.branches.lengths if self.branches else ()):
            trunk_of += [i // self.group] * length
            branch_of += [i] * length
        trunk, branch = torch.tensor(trunk_of, device=device), torch.tensor(branch_of, device=device)

        def sees(_batch: Tensor, _head: Tensor, q: Tensor, k: Tensor) -> Tensor:
            same = (branch[k] == -1) | (branch[q] == branch[k])
            return (q >= k) & (trunk[q] == trunk[k]) & same

        count = len(trunk_of)
        return create_block_mask(sees, None, None, count, count, device=device, _compile=device.type == "cuda")

    def to(self, device: torch.device) -> "Layout":
        return Layout(self.trunks.to(device), self.branches.to(device) if self.branches else None, self.kept)


def attend(
    module: nn.Module,
    query: Tensor,  # [1, H, T, d]
    key: Tensor,  # [1, K, T, d], K divides H
    value: Tensor,  # [1, K, T, d]
    attention_mask: Tensor | None,
    scaling: float | None = None,
    packing: Layout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within the layout; return ([1, T, H, d], None).

    It has the interface of Transformers' attention functions; without `packing` it calls the stock one.
    """
    if packing is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        stock: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return stock
    trunks, branches = packing.trunks, packing.branches
    split = [sum(trunks.lengths), sum(branches.lengths) if branches else 0]
    q, k, v = (torch.split(x[0].transpose(0, 1), split) for x in (query, key, value))  # [Tp, H, d], [Tc, H, d]
    if packing.kept is not None:
        packing.kept.append((trunks.pad(k[0]), trunks.pad(v[0])))
    if blocked(query):
        from transformers.integrations.flex_attention import flex_attention_forward

        mixed: Tensor = flex_attention_forward(module, query, key, value, packing.block_mask, scaling=scaling)[0]
        return mixed, None
    trunk_k, trunk_v = (
        packing.kept[-1] if packing.kept is not None else (trunks.pad(k[0]), trunks.pad(v[0]))
    )  # [B, P, K, d]
    # No real token attends to the padding behind its causal row, and outputs of padded queries are dropped.
    out = [trunks.unpad(_fused(trunks.pad(q[0]), trunk_k, trunk_v, None, scaling))]
    if branches is not None:
        keys, values = (
            torch.cat([trunk.repeat_interleave(packing.group, 0), branches.pad(own)], dim=1)
            for trunk, own in ((trunk_k, k[1]), (trunk_v, v[1]))
        )  # [B · G, P + N, K, d]
        out.append(branches.unpad(_fused(branches.pad(q[1]), keys, values, packing.bias.to(query.dtype), scaling)))
    return torch.cat(out).unsqueeze(0), None


def blocked(query: Tensor) -> bool:
    """Tell whether flex attention is used: on a CPU it has no backward pass."""
    return query.device.type == "cuda"


def _fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scaling: float | None) -> Tensor:
    """Attend within padded rows [R, L, H, d]; causal if there is no bias."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, bias, is_causal=bias is None, scale=scaling, enable_gqa=True)
    return mixed.transpose(1, 2)


def use_packed_attention(model: Any) -> None:
    """Register the packed attention, so that attention layers follow `packing=Layout(…)`."""
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    AttentionInterface.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.model.language_model.config._attn_implementation = NAME
