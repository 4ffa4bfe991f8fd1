"""The in-process sampler: exact, and fast on a CPU.

A prompt is read once per group: its image is encoded once, its keys and values computed once and then
shared by the G completions. Finished rows are dropped from the batch. What is sampled depends on
(seed, step, prompt) only, never on which rows happen to share a batch or on how many processes there are.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wethink.batching import Batch, Prompt, collate
from wethink.models.logprobs import embed
from wethink.models.policy import Processor


@dataclass(frozen=True)
class Completion:
    """One sampled response: its tokens (with the final stop token, if it stopped) and their log-probs."""

    ids: tuple[int, ...]
    logps: tuple[float, ...]
    finished: bool  # False: cut at the length limit


def uniforms(seed: int, step: int, prompt: str, group: int, length: int) -> np.ndarray:
    """[group, length] uniform draws for one prompt at one step: counter-based, so order-free."""
    key = hashlib.sha256(f"{seed} {step} {prompt}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key[:16], dtype=np.uint64))).random((group, length))


@torch.no_grad()
def sample(
    model: Any,
    processor: Processor,
    prompts: Sequence[Prompt],
    draws: np.ndarray | None,
    max_new_tokens: int,
    temperature: float,
    group: int = 1,
    device: torch.device | None = None,
) -> list[list[Completion]]:
    """`group` completions for each prompt. `draws` [B·G, max_new_tokens] are uniform; None means greedy."""
    device = device or torch.device("cpu")
    batch = collate(prompts, None, processor.tokenizer.pad_token_id).to(device)
    cache, hidden = _read(model, batch)
    cache.batch_repeat_interleave(group)
    rows = torch.arange(len(prompts) * group)  # which completion each live row writes
    mask = batch.mask.repeat_interleave(group, 0)
    hidden = hidden.repeat_interleave(group, 0)
    position = batch.positions[:, :, -1:].repeat_interleave(group, 1) + 1
    noise = None if draws is None else torch.from_numpy(draws).to(device)
    tokens = torch.full((len(rows), max_new_tokens), -1)
    logps = torch.zeros(len(rows), max_new_tokens)
    stops = torch.tensor(processor.stop_ids, device=device)
    alive = torch.ones(len(rows), dtype=torch.bool, device=device)
    for t in range(max_new_tokens):
        column = None if noise is None else noise[rows.to(device), t]
        chosen, logp = _choose(model.lm_head(hidden), processor.banned, temperature, column)
        live = rows[alive.cpu()]
        tokens[live, t] = chosen[alive].cpu()
        logps[live, t] = logp[alive].cpu()
        alive &= ~torch.isin(chosen, stops)
        if not alive.any() or t + 1 == max_new_tokens:
            break
        if alive.float().mean() < 0.75:  # copying the cache costs: drop finished rows in batches
            keep = alive.nonzero().squeeze(-1)
            cache.batch_select_indices(keep)
            rows, mask, position, chosen = rows[keep.cpu()], mask[keep], position[:, keep], chosen[keep]
            alive = alive[keep]
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        hidden = model.model.language_model(
            inputs_embeds=model.get_input_embeddings()(chosen.unsqueeze(-1)),
            attention_mask=mask,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[:, -1]
        position = position + 1
    return _completions(tokens, logps, processor.stop_ids, group)


def _read(model: Any, batch: Batch) -> tuple[Any, Tensor]:
    """Prefill: the prompts' cache and the last hidden state [B, D]."""
    out = model.model.language_model(
        inputs_embeds=embed(model, batch), attention_mask=batch.mask, position_ids=batch.positions, use_cache=True
    )
    return out.past_key_values, out.last_hidden_state[:, -1]


def _choose(logits: Tensor, banned: list[int], temperature: float, draw: Tensor | None) -> tuple[Tensor, Tensor]:
    """Next tokens [N] and their log-probs under softmax(logits / T) without the banned tokens."""
    logits = logits.float() / (temperature or 1.0)
    logits[:, banned] = float("-inf")
    log_all = logits.log_softmax(-1)
    if draw is None:
        chosen = log_all.argmax(-1)
    else:  # inverse transform sampling: the first token whose cumulative probability passes the draw
        cumulative = log_all.double().exp().cumsum(-1)
        chosen = torch.searchsorted(cumulative, (draw * cumulative[:, -1]).unsqueeze(-1), right=True).squeeze(-1)
        chosen = chosen.clamp(max=logits.shape[-1] - 1)
    return chosen, log_all.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)


def _completions(tokens: Tensor, logps: Tensor, stops: tuple[int, ...], group: int) -> list[list[Completion]]:
    found = []
    for ids, values in zip(tokens.tolist(), logps.tolist(), strict=True):
        length = ids.index(-1) if -1 in ids else len(ids)
        found.append(Completion(tuple(ids[:length]), tuple(values[:length]), ids[length - 1] in stops))
    return [found[i : i + group] for i in range(0, len(found), group)]
