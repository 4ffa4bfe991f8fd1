"""Decoding with a KV cache that holds each prompt once for all its completions.

Every step appends one token to each of R live rows, through the model's own layers. The keys and values of B prompts
stay fixed, those of the completions grow beside them, and one softmax spans both. A recurrent layer's state changes
with the first token, so each row has its own. Finished rows are dropped, and so are prompts without a live row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wethink.models.batching import Packed
from wethink.models.families.known import use_packing
from wethink.models.logprobs import language_inputs
from wethink.models.recurrence import Carried, GatedDeltaNet


@dataclass
class Attending:
    """An attention module with its KV cache and its fused projections."""

    module: Any
    prompt_keys: Tensor  # [B, K, d, P]
    prompt_values: Tensor  # [B, K, P, d]
    keys: Tensor  # [R, K, limit, d]
    values: Tensor
    qkv: Callable[[Tensor], tuple[Tensor, ...]]


@dataclass
class Recurring:
    """A recurrent module with the states of R rows."""

    module: GatedDeltaNet
    carried: Carried


@dataclass(frozen=True)
class Layer:
    """A decoder layer with the caches of its mixer."""

    module: Any
    mixer: Attending | Recurring
    gate_up: Callable[[Tensor], tuple[Tensor, ...]]


class Decoder:
    """Decoder of G rows for each of B packed prompts, at most `limit` tokens long.

    `hidden` [R, D] predicts the next token of each live row; `rows` [R] are the indices of live rows among all B · G.
    """

    def __init__(self, model: Any, prompts: Packed, group: int, limit: int) -> None:
        use_packing(model)
        self.model = model.model.language_model
        assert prompts.layout.kept is not None
        read = self.model(
            **language_inputs(model, prompts), position_ids=prompts.positions, use_cache=False, packing=prompts.layout
        ).last_hidden_state[0][prompts.sources]  # [B, D]
        count, device = len(read), read.device
        after = prompts.positions[:, 0, prompts.sources, None] + 1 + torch.arange(limit, device=device)
        self.cos, self.sin = self.model.rotary_emb(read, after)  # [B, limit, d]
        self.bias = prompts.layout.trunks.hidden().to(read.dtype)[:, None, None]  # [B, 1, 1, P]
        self.hidden = read.repeat_interleave(group, 0)
        self.rows = torch.arange(count * group, device=device)
        self.prompt = self.rows // group  # [R] index of a row's prompt among the prompts still held
        self.slots = group  # rows per prompt in the table of queries by prompt, padding included
        self.place = self.rows  # [R] index of each row in that table
        self.written = 0
        self.layers = [
            Layer(
                module,
                _recurring(module.linear_attn, kept, group)
                if hasattr(module, "linear_attn")
                else _attending(module.self_attn, kept, count * group, limit),
                _joined(module.mlp.gate_proj, module.mlp.up_proj),
            )
            for module, kept in zip(self.model.layers, prompts.layout.kept, strict=True)
        ]

    def step(self, tokens: Tensor) -> None:
        """Append one token [R] to each live row."""
        x = self.model.embed_tokens(tokens)
        cos, sin = (table[self.prompt, self.written].unsqueeze(1) for table in (self.cos, self.sin))  # [R, 1, d]
        for layer in self.layers:
            read, mixer = layer.module.input_layernorm(x), layer.mixer
            if isinstance(mixer, Recurring):
                mixed, mixer.carried = mixer.module.step(read, mixer.carried)
            else:
                mixed = self._attention(mixer, read, cos, sin)
            x = x + mixed
            gate, up = layer.gate_up(layer.module.post_attention_layernorm(x))
            x = x + layer.module.mlp.down_proj(layer.module.mlp.act_fn(gate) * up)
        self.hidden = self.model.norm(x)
        self.written += 1

    def _attention(self, layer: Attending, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Append one token [R, D] to the cache and attend, [R, D] → [R, D]."""
        attention, width = layer.module, layer.keys.shape[-1]
        q, k, v = (part.view(len(x), -1, width) for part in layer.qkv(x))
        gate = None
        if q.shape[1] > attention.o_proj.in_features // width:  # Qwen3.5: each head's query and gate
            q, gate = q.reshape(len(x), -1, 2 * width).chunk(2, dim=-1)
        if hasattr(attention, "q_norm"):  # since Qwen3
            q, k = attention.q_norm(q), attention.k_norm(k)
        q, k = torch.split(_rotate(torch.cat([q, k], dim=1), cos, sin), [q.shape[1], k.shape[1]], dim=1)
        layer.keys[:, :, self.written], layer.values[:, :, self.written] = k, v
        mixed = self._attend(layer, q * attention.scaling)
        out: Tensor = attention.o_proj(mixed if gate is None else mixed * gate.flatten(1).sigmoid())
        return out

    def _attend(self, layer: Attending, q: Tensor) -> Tensor:
        """Attend over each row's prompt and own tokens, [R, H, d] → [R, H · d].

        One softmax spans both.
        """
        own, heads = slice(0, self.written + 1), layer.keys.shape[1]
        q = q.reshape(len(q), heads, -1, q.shape[-1])  # [R, K, H / K, d]
        by_prompt = self._by_rows(self._by_prompt(q) @ layer.prompt_keys + self.bias)  # [R, K, H / K, P]
        weights = torch.cat([by_prompt, q @ layer.keys[:, :, own].mT], dim=-1).softmax(-1)
        seen, written = torch.split(weights, [by_prompt.shape[-1], self.written + 1], dim=-1)
        mixed: Tensor = self._by_rows(self._by_prompt(seen) @ layer.prompt_values) + written @ layer.values[:, :, own]
        return mixed.flatten(1)

    def _by_prompt(self, x: Tensor) -> Tensor:
        """Group rows by prompt, [R, K, r, n] → [B, K, slots · r, n].

        So a prompt's cache is read once for all its rows.
        """
        if self.slots > 1:
            count = len(self.bias) * self.slots
            table = x if len(x) == count else x.new_zeros(count, *x.shape[1:]).index_copy_(0, self.place, x)
            x = table.view(-1, self.slots, *x.shape[1:]).transpose(1, 2).flatten(2, 3)
        return x

    def _by_rows(self, x: Tensor) -> Tensor:
        """Undo `_by_prompt`, [B, K, slots · r, n] → [R, K, r, n]."""
        if self.slots > 1:
            count, heads, _, width = x.shape
            table = x.view(count, heads, self.slots, -1, width).transpose(1, 2).flatten(0, 1)
            x = table if len(self.place) == len(table) else table[self.place]
        return x

    def keep(self, alive: Tensor) -> None:
        """Drop finished rows, and prompts that have no live row left.

        `alive` [R] is boolean and True at least once.
        """
        rows = alive.nonzero().squeeze(-1)
        self.rows, self.hidden = self.rows[rows], self.hidden[rows]
        prompts, self.prompt, counts = torch.unique_consecutive(
            self.prompt[rows], return_inverse=True, return_counts=True
        )
        self.slots = int(counts.max())
        first = (counts.cumsum(0) - counts)[self.prompt]
        self.place = self.prompt * self.slots + torch.arange(len(rows), device=rows.device) - first
        dropped = len(prompts) < len(self.bias)
        if dropped:
            self.bias, self.cos, self.sin = self.bias[prompts], self.cos[prompts], self.sin[prompts]
        for mixer in (layer.mixer for layer in self.layers):
            if isinstance(mixer, Recurring):
                mixer.carried = mixer.carried.select(rows)
                continue
            mixer.keys, mixer.values = mixer.keys[rows], mixer.values[rows]
            if dropped:
                mixer.prompt_keys, mixer.prompt_values = mixer.prompt_keys[prompts], mixer.prompt_values[prompts]


def _attending(attention: Any, kept: tuple[Tensor, Tensor], rows: int, limit: int) -> Attending:
    keys, values = kept  # [B, P, K, d]
    shape = (rows, keys.shape[2], limit, keys.shape[-1])
    return Attending(
        attention,
        keys.permute(0, 2, 3, 1).contiguous(),
        values.transpose(1, 2).contiguous(),
        keys.new_zeros(shape),
        keys.new_zeros(shape),
        _joined(attention.q_proj, attention.k_proj, attention.v_proj),
    )


def _recurring(module: GatedDeltaNet, kept: tuple[Tensor, Tensor], group: int) -> Recurring:
    return Recurring(module, Carried(*kept).for_each(group))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary embedding (arXiv 2104.09864) to [R, heads, d], or to its first part if only that rotates."""
    turned = cos.shape[-1]
    if turned < x.shape[-1]:
        return torch.cat([_rotate(x[..., :turned], cos, sin), x[..., turned:]], dim=-1)
    left, right = x.chunk(2, dim=-1)
    rotated: Tensor = x * cos + torch.cat([-right, left], dim=-1) * sin
    return rotated


def _joined(*projections: nn.Module) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Fuse projections of one input into one matrix product.

    Only plain linear layers on a CPU are fused (with a copy of their weights); others are called one by one.
    """
    if any(type(p) is not nn.Linear or p.weight.device.type != "cpu" for p in projections):
        return lambda x: tuple(p(x) for p in projections)
    linears = [p for p in projections if isinstance(p, nn.Linear)]
    weight = torch.cat([p.weight for p in linears])
    bias = torch.cat([p.bias for p in linears]) if all(p.bias is not None for p in linears) else None
    sizes = [p.out_features for p in linears]
    return lambda x: torch.split(F.linear(x, weight, bias), sizes, dim=-1)
