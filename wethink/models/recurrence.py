"""Gated DeltaNet layers (arXiv 2412.06464) over packed sequences, with states handed from prompts to completions.

All that a sequence leaves behind is the tail of its causal convolution's input and the state of the delta rule. A
prompt's are computed once and handed to its G completions, and the gradient flows back through both. Rows are padded
for one call of the stock delta rule; a padded token has write strength 0 and decay 1, so it changes no state. The stock
layer on a CPU runs on from one packed sequence into the next.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.qwen3_5 import modeling_qwen3_5 as stock

from wethink.models.packing import Layout, Rows

CHUNK = 64  # tokens that the delta rule solves at once; shorter rows take a smaller power of two


@dataclass(frozen=True)
class Carried:
    """Convolution tail and state of R sequences in one layer, behind their last token."""

    tail: Tensor  # [R, 3, C] last inputs of the convolution
    state: Tensor  # [R, H, dk, dv] of the delta rule, fp32

    def for_each(self, group: int) -> "Carried":
        """Give each sequence's state to its `group` consecutive successors."""
        return Carried(self.tail.repeat_interleave(group, 0), self.state.repeat_interleave(group, 0))

    def select(self, rows: Tensor) -> "Carried":
        return Carried(self.tail[rows], self.state[rows])


@dataclass(frozen=True)
class Inputs:
    """Projections of tokens [..., D], before the convolution."""

    mixed: Tensor  # [..., C] queries, keys and values
    gate: Tensor  # [..., H · dv] of the output
    strength: Tensor  # [..., H] of a write, in (0, 1)
    decay: Tensor  # [..., H] logarithm, at most 0

    def split(self, sizes: list[int]) -> "Iterable[Inputs]":
        """Split T packed tokens into runs of the given sizes."""
        parts = (torch.split(x, sizes) for x in (self.mixed, self.gate, self.strength, self.decay))
        return (Inputs(*part) for part in zip(*parts, strict=True))


class GatedDeltaNet(stock.Qwen3_5GatedDeltaNet):  # type: ignore[misc]
    """Qwen3.5's recurrent layer; with a layout, trunks start from nothing and branches from their trunk."""

    def forward(self, hidden_states: Tensor, *args: Any, packing: Layout | None = None, **kwargs: Any) -> Tensor:
        if packing is None:
            stocked: Tensor = super().forward(hidden_states, *args, **kwargs)
            return stocked
        trunks, branches = packing.trunks, packing.branches
        sizes = [sum(trunks.lengths), *([sum(branches.lengths)] if branches else [])]
        trunk, *branch = self.project(hidden_states[0]).split(sizes)
        mixed, carried = self.read(trunks, trunk, None)
        if packing.kept is not None:
            packing.kept.append((carried.tail, carried.state))
        outputs = [mixed]
        if branches is not None:
            outputs.append(self.read(branches, branch[0], carried.for_each(packing.group))[0])
        return torch.cat(outputs).unsqueeze(0)

    def project(self, x: Tensor) -> Inputs:
        """Project tokens [..., D]."""
        # In fp16 exp(A_log) could be infinite: the decay is computed in fp32, as in the stock layer.
        decay = -self.A_log.float().exp() * F.softplus(self.in_proj_a(x).float() + self.dt_bias)
        return Inputs(self.in_proj_qkv(x), self.in_proj_z(x), self.in_proj_b(x).sigmoid(), decay)

    def read(self, rows: Rows, inputs: Inputs, before: Carried | None) -> tuple[Tensor, Carried]:
        """Read R packed rows from the states before them.

        Returns:
            outputs [Σ lengths, D], and the states behind each row's last token.
        """
        count, width = rows.shape
        padded = rows.pad(inputs.mixed)  # [R, L, C]
        tail = padded.new_zeros(count, self.conv_kernel_size - 1, self.conv_dim) if before is None else before.tail
        joined = torch.cat([tail, padded], dim=1)  # [R, 3 + L, C]
        query, key, value = self.heads(self.convolve(joined))
        mixed, state = stock.torch_chunk_gated_delta_rule(
            query,
            key,
            value,
            g=rows.pad(inputs.decay),  # zeros behind a row: no decay and, below, no write
            beta=rows.pad(inputs.strength),
            chunk_size=min(CHUNK, 1 << max(0, width - 1).bit_length()),
            initial_state=None if before is None else before.state,
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
        )
        lengths = torch.tensor(rows.lengths, device=padded.device)
        last = lengths[:, None] + torch.arange(tail.shape[1], device=padded.device)  # [R, 3] in `joined`
        kept = joined.gather(1, last.unsqueeze(-1).expand(-1, -1, self.conv_dim))
        return self.close(rows.unpad(mixed), inputs.gate), Carried(kept, state)

    def step(self, x: Tensor, before: Carried) -> tuple[Tensor, Carried]:
        """Read one token [R, D] of each of R rows."""
        inputs = self.project(x)
        joined = torch.cat([before.tail, inputs.mixed[:, None]], dim=1)  # [R, 4, C]
        query, key, value = self.heads(self.convolve(joined))
        mixed, state = stock.torch_recurrent_gated_delta_rule(
            query,
            key,
            value,
            g=inputs.decay[:, None],
            beta=inputs.strength[:, None],
            initial_state=before.state,
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
        )
        return self.close(mixed[:, 0], inputs.gate), Carried(joined[:, 1:], state)

    def convolve(self, joined: Tensor) -> Tensor:
        """Apply the causal convolution and its activation, [R, 3 + L, C] → [R, L, C]."""
        weight = self.conv1d.weight
        mixed = F.conv1d(joined.mT.to(weight.dtype), weight, self.conv1d.bias, groups=self.conv_dim)
        return F.silu(mixed).to(joined.dtype).mT

    def heads(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split [R, L, C] into queries and keys [R, L, H, dk] and values [R, L, H, dv]."""
        query, key, value = torch.split(mixed, [self.key_dim, self.key_dim, self.value_dim], dim=-1)
        repeat = self.num_v_heads // self.num_k_heads
        rows = mixed.shape[:2]
        query, key = (x.reshape(*rows, -1, self.head_k_dim).repeat_interleave(repeat, dim=2) for x in (query, key))
        return query, key, value.reshape(*rows, -1, self.head_v_dim)

    def close(self, mixed: Tensor, gate: Tensor) -> Tensor:
        """Norm, gate and project the heads, [T, H, dv] → [T, D]."""
        normed = self.norm(mixed.reshape(-1, self.head_v_dim), gate.reshape(-1, self.head_v_dim))
        out: Tensor = self.out_proj(normed.view(len(mixed), -1))
        return out
