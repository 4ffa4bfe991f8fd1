"""Sequences without padding, and groups that share their prompt: where tokens stand, and the attention that follows.

T tokens of many sequences stand in one row. `trunks` attend causally to themselves; each trunk may have G
`branches` of equal number, and a branch attends to its whole trunk and causally to itself: a prompt and its G
completions (as PrefixGrouper, arXiv 2506.05433), computed once per group, exactly. All trunks come first, then
all branches, so that both are slices.

The attention is registered with Transformers under the name `wethink` and is the stock one wherever no layout is
given. On a GPU it is flex attention with a block mask; on a CPU trunks and branches are padded for one fused call
each. No [T, T] mask is ever made.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NAME = "wethink"
HIDDEN = -1e30  # added to a score that must not count; finite, so that a row of them gives no NaN


@dataclass(frozen=True)
class Rows:
    """R sequences of at most L tokens, as slices of a packed tensor and as a padded one."""

    lengths: tuple[int, ...]  # R
    places: Tensor  # [Σ lengths] of each token in the padded [R · L]

    @classmethod
    def of(cls, lengths: Sequence[int]) -> "Rows":
        width = max(lengths)
        return cls(tuple(lengths), torch.cat([torch.arange(length) + i * width for i, length in enumerate(lengths)]))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.lengths), max(self.lengths)

    def pad(self, packed: Tensor) -> Tensor:
        """[Σ lengths, …] → [R, L, …], zeros behind each row."""
        padded: Tensor = _Pad.apply(packed, self.places, self.shape)  # type: ignore[no-untyped-call]
        return padded

    def unpad(self, padded: Tensor) -> Tensor:
        """[R, L, …] → [Σ lengths, …]."""
        packed: Tensor = _Unpad.apply(padded, self.places)  # type: ignore[no-untyped-call]
        return packed

    def hidden(self) -> Tensor:
        """Bias [R, L] that hides the padding."""
        bias = torch.full(self.shape, HIDDEN, device=self.places.device)
        bias.view(-1)[self.places] = 0
        return bias

    def to(self, device: torch.device) -> "Rows":
        return Rows(self.lengths, self.places.to(device))


class _Pad(torch.autograd.Function):
    """Copies rows apart; its derivative copies them together. Indexing would add where copying will do."""

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
    """Which of the T packed tokens see which: B trunks, and B · G branches (G in a row belong to a trunk) or none."""

    trunks: Rows
    branches: Rows | None = None
    kept: list[tuple[Tensor, Tensor]] | None = field(default=None, compare=False)  # trunk keys, values per layer

    @cached_property
    def group(self) -> int:
        return len(self.branches.lengths) // len(self.trunks.lengths) if self.branches else 0

    @cached_property
    def bias(self) -> Tensor:
        """What a branch's tokens see of trunk and branch, as a bias [B · G, 1, N, P + N] (CPU only)."""
        assert self.branches is not None
        rows, width = self.branches.shape
        trunk = self.trunks.hidden().repeat_interleave(self.group, 0)[:, None].expand(-1, width, -1)
        own = torch.full((width, width), HIDDEN).triu(1).expand(rows, -1, -1)
        return torch.cat([trunk, own], dim=-1).unsqueeze(1)

    @cached_property
    def block_mask(self) -> Any:
        """The same for flex attention: blocks of 128 × 128 tokens, of which most are skipped."""
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
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    packing: Layout | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of Transformers' interface, [1, T, H, d]; the stock one if there is no `packing`."""
    if packing is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        stock: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return stock
    trunks, branches = packing.trunks, packing.branches
    split = [sum(trunks.lengths), sum(branches.lengths) if branches else 0]
    q, k, v = (torch.split(x[0].transpose(0, 1), split) for x in (query, key, value))  # [Tp, H, d], [Tc, H, d]
    trunk_k, trunk_v = trunks.pad(k[0]), trunks.pad(v[0])  # [B, P, K, d]
    if packing.kept is not None:
        packing.kept.append((trunk_k, trunk_v))
    if blocked(query):
        from transformers.integrations.flex_attention import flex_attention_forward

        mixed: Tensor = flex_attention_forward(module, query, key, value, packing.block_mask, scaling=scaling)[0]
        return mixed, None
    # Padding behind a causal row is seen by nothing in it, and the padded queries are dropped.
    out = [trunks.unpad(_fused(trunks.pad(q[0]), trunk_k, trunk_v, None, scaling))]
    if branches is not None:
        keys, values = (
            torch.cat([trunk.repeat_interleave(packing.group, 0), branches.pad(own)], dim=1)
            for trunk, own in ((trunk_k, k[1]), (trunk_v, v[1]))
        )  # [B · G, P + N, K, d]
        out.append(branches.unpad(_fused(branches.pad(q[1]), keys, values, packing.bias.to(query.dtype), scaling)))
    return torch.cat(out).unsqueeze(0), None


def blocked(query: Tensor) -> bool:
    """Whether flex attention serves: its kernels are fast on a GPU and have no backward pass on a CPU."""
    return query.device.type == "cuda"


def _fused(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scaling: float | None) -> Tensor:
    """Attention of padded rows [R, L, H, d]; causal without a bias."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, bias, is_causal=bias is None, scale=scaling, enable_gqa=True)
    return mixed.transpose(1, 2)


def use_packing(model: Any) -> None:
    """Let the language model of a policy understand `packing=Layout(…)`; what it publishes stays the same.

    Whoever passes a layout calls this first: another attention would ignore it, and see too much.
    """
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    AttentionInterface.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    model.model.language_model.config._attn_implementation = NAME
