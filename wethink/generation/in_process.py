"""In-process sampler with one prefill per prompt: exact, and fast on a CPU.

A prompt is read once per group: its image is encoded once, its keys and values are computed once and shared by the G
completions. Finished rows leave the batch. Samples depend on (seed, step, prompt) only, never on the rows that share a
batch or on the number of processes.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wethink.generation.decoding import Decoder
from wethink.generation.responses import Completion
from wethink.models.batching import Prompt, pack_prompts
from wethink.models.policy import Processor

KEPT = 0.75  # rows are dropped when fewer than this share of them is alive


def uniforms(seed: int, step: int, prompt: str, group: int, length: int) -> np.ndarray:
    """Draw uniforms [group, length] for one prompt at one step.

    The generator is counter-based (Philox, keyed by seed, step and prompt), so the order of calls does not matter.
    """
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
    """Sample `group` completions for each prompt.

    `draws` [B·G, max_new_tokens] are uniform in [0, 1); None means greedy.
    """
    device = device or torch.device("cpu")
    decoder = Decoder(model, pack_prompts(prompts).to(device), group, max_new_tokens)
    count = len(decoder.rows)
    noise = None if draws is None else torch.from_numpy(draws).to(device)
    tokens = torch.full((count, max_new_tokens), -1, device=device)  # [B·G, max_new_tokens], -1: not written
    logps = torch.zeros(count, max_new_tokens, device=device)
    stops = torch.tensor(processor.stop_ids, device=device)
    alive = torch.ones(count, dtype=torch.bool, device=device)
    for t in range(max_new_tokens):
        column = None if noise is None else noise[decoder.rows, t]
        chosen, logp = _choose(model.lm_head(decoder.hidden), processor.banned, temperature, column)
        live = decoder.rows[alive]
        tokens[live, t] = chosen[alive]
        logps[live, t] = logp[alive]
        alive &= ~torch.isin(chosen, stops)
        share = float(alive.float().mean())
        if share == 0 or t + 1 == max_new_tokens:
            break
        if share < KEPT:  # copying the cache costs: drop finished rows in batches
            decoder.keep(alive)
            chosen, alive = chosen[alive], alive[alive]
        decoder.step(chosen)
    return _completions(tokens, logps, processor.stop_ids, group)


def _choose(logits: Tensor, banned: list[int], temperature: float, draw: Tensor | None) -> tuple[Tensor, Tensor]:
    """Choose the next tokens [N]; return them with their log-probs.

    The distribution is softmax(logits / T) without the banned tokens; without a draw its maximum is chosen.
    """
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
