"""GRPO policy update: old log-probs, micro-batches and gradient accumulation over all ranks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from wethink.config.grpo import Grpo
from wethink.models.batching import Batch, Packed, dummy_batch, micro_batches, pack
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.lora import without_adapters
from wethink.models.policy import Processor
from wethink.rl.objective import denominator, per_token, policy_loss, token_weights
from wethink.rl.rollouts import Group
from wethink.training.engine import forwards_must_match
from wethink.training.ranks import Ranks, all_max, all_sum


@dataclass(frozen=True)
class Policies:
    """Trained engine and frozen KL reference (None: no KL, or LoRA with its adapters off)."""

    engine: Any
    reference: CompletionLogProbs | None
    processor: Processor
    old: dict[tuple[str, int], Tensor] = field(default_factory=dict)  # log-probs as the step began, by (row, place)


def split_by_update(groups: Sequence[Group], updates: int, everyone: Sequence[int]) -> list[list[Group]]:
    """Split this rank's groups by the optimizer update that they belong to.

    `everyone` has the places of all ranks' groups, so that the split, and with it the gradient, does not depend on
    the assignment of groups to ranks. Updates without any group are left out.
    """
    order = {place: i for i, place in enumerate(sorted(everyone))}
    count = min(updates, len(order))
    return [[g for g in groups if order[g.place] * count // len(order) == update] for update in range(count)]


def accumulate_gradients(policies: Policies, groups: Sequence[Group], config: Grpo, ranks: Ranks) -> dict[str, float]:
    """Accumulate the gradient of one update from this rank's groups.

    The denominator counts the tokens (or completions) of all ranks and micro-batches. Where all ranks must run the
    same number of passes (ZeRO-2 and 3 communicate in each), a rank with fewer runs dummy passes.

    Returns:
        Sums over this rank's tokens (`SUMS` and `is_min`); empty if no completion of any rank carries loss.
    """
    engine = policies.engine
    tokens, sequences = count_loss_tokens(groups, config, ranks)
    if tokens == 0:
        return {}
    total = denominator(tokens, sequences, config.loss_agg_mode, config.max_completion_length)
    stats = dict.fromkeys(SUMS, 0.0) | {"is_min": float("inf")}
    for part, batch in training_micro_batches(policies, groups, config, ranks):
        if part is not None:
            _backward(policies, part, batch, total, config, ranks, stats)
            continue
        if config.kl_coef:  # dummy pass: another rank has more micro-batches
            reference_logps(policies, batch, config.temperature)
        engine.backward(engine(batch, config.temperature)[0].sum() * 0.0)
    if not groups and not forwards_must_match(engine):
        engine.backward(sum(p.sum() for p in engine.module.parameters()) * 0.0)  # a rank must not miss the reduction
    return stats


def count_loss_tokens(groups: Sequence[Group], config: Grpo, ranks: Ranks) -> tuple[int, int]:
    """Count tokens and completions that carry loss, over all ranks."""
    counts = torch.tensor([0.0, 0.0], device=ranks.device)  # [2]: tokens, completions
    for group in groups:
        for completion, carries in zip(group.completions, group.loss_mask(config), strict=True):
            counts += torch.tensor([len(completion.ids), 1.0], device=ranks.device) * carries
    tokens, sequences = (int(count) for count in all_sum(counts).tolist())
    return tokens, sequences


def _backward(
    policies: Policies,
    part: Sequence[Group],
    batch: Batch | Packed,
    total: int,
    config: Grpo,
    ranks: Ranks,
    stats: dict[str, float],
) -> None:
    """Add the gradient of one micro-batch to the engine and its sums to `stats`.

    Shapes: N tokens of S completions.
    """
    device = ranks.device
    completions = [completion for group in part for completion in group.completions]
    lengths = torch.tensor([len(completion.ids) for completion in completions], device=device)  # [S]
    carries = torch.tensor([flag for group in part for flag in group.loss_mask(config)], device=device)  # [S]
    weight = token_weights(lengths, carries, config.loss_agg_mode)  # [N]
    counted = per_token(carries.float(), lengths)  # [N]
    advantages = per_token(torch.cat([_advantages(group) for group in part]).to(device), lengths)  # [N]
    sampled = torch.tensor([logp for c in completions for logp in c.logps], device=device)  # [N]
    logps, entropy = policies.engine(batch, config.temperature)  # [N], [N]
    # With one update per rollout the sampling policy is the trained policy, so old = logps (ρ = 1); [N].
    old = torch.cat([policies.old[key] for key in map(key_of, part)]) if policies.old else logps.detach()
    ref = reference_logps(policies, batch, config.temperature) if config.kl_coef else None  # [N]
    terms = policy_loss(logps, old, sampled, ref, advantages, lengths, config)  # [N] each
    mean = (terms.loss * weight).sum() / total  # scalar
    policies.engine.backward(mean * ranks.world)  # DeepSpeed averages over ranks
    mismatch = (logps.detach() - sampled) if not policies.old else old - sampled  # [N]
    engine_weight = mismatch.clamp(-20, 20).exp()  # [N]
    if terms.kl is not None:
        stats["kl"] += float((terms.kl.detach() * counted).sum())
    stats["loss"] += float(mean.detach())
    stats["tokens"] += float(counted.sum())
    stats["scored"] += len(sampled)
    stats["entropy"] += float((entropy * counted).sum())
    stats["clipped_low"] += float((terms.clipped_low * counted).sum())
    stats["clipped_high"] += float((terms.clipped_high * counted).sum())
    stats["dlogp_sum"] += float(mismatch.abs().sum())
    stats["dlogp_max"] = max(stats["dlogp_max"], float(mismatch.abs().max()))
    stats["is_sum"] += float(engine_weight.sum())
    stats["is_square"] += float(engine_weight.square().sum())
    stats["is_min"] = min(stats["is_min"], float(engine_weight.min()))
    stats["is_max"] = max(stats["is_max"], float(engine_weight.max()))
    stats["masked"] += float((terms.correction == 0).sum())


SUMS = (
    "loss", "tokens", "scored", "entropy", "clipped_low", "clipped_high", "kl", "dlogp_sum", "dlogp_max",
    "is_sum", "is_square", "is_max", "masked",
)  # fmt: skip


def compute_old_logprobs(policies: Policies, groups: Sequence[Group], config: Grpo, ranks: Ranks) -> Policies:
    """Store each group's log-probs [N] before the first of several updates.

    They are the denominators of the ratios; none are stored if `steps_per_generation` is 1.
    """
    old: dict[tuple[str, int], Tensor] = {}
    if config.steps_per_generation > 1:
        with torch.no_grad():
            for part, batch in training_micro_batches(policies, groups, config, ranks):
                logps, _ = policies.engine.module(batch, config.temperature, entropy=False)  # [N]
                sizes = [sum(len(c.ids) for c in group.completions) for group in part or []]
                old |= dict(zip(map(key_of, part or []), torch.split(logps, sizes) if part else [], strict=True))
    return Policies(policies.engine, policies.reference, policies.processor, old)


def training_micro_batches(
    policies: Policies, groups: Sequence[Group], config: Grpo, ranks: Ranks
) -> Iterator[tuple[Sequence[Group] | None, Batch | Packed]]:
    """Yield micro-batches of whole groups.

    Where all ranks must run the same number of passes, a rank with fewer yields (None, dummy batch) for the rest.
    """
    # The size of a group is its packed tokens, or without a token budget its rows.
    sizes = [
        len(g.prompt.ids) + sum(len(c.ids) for c in g.completions)
        if config.optim.max_token_len_per_gpu
        else config.num_generations
        for g in groups
    ]
    cuts = micro_batches(sizes, config.optim.max_token_len_per_gpu or config.optim.micro_batch_size)
    parts: list[Sequence[Group] | None] = [groups[cut.start : cut.stop] for cut in cuts]
    if forwards_must_match(policies.engine):
        parts += [None] * (all_max(len(parts), ranks) - len(parts))
    for part in parts:
        if part:
            completions = [c.ids for group in part for c in group.completions]
            packed = pack([g.prompt for g in part], completions, config.num_generations, shared=config.shared_prefix)
            yield part, packed.to(ranks.device)
        else:
            yield None, dummy_batch(policies.processor).to(ranks.device)


def reference_logps(policies: Policies, batch: Batch | Packed, temperature: float) -> Tensor:
    """Compute log-probs [N] of the starting policy.

    It is a frozen copy, or with LoRA the engine's module with its adapters switched off.
    """
    logps: Tensor
    with torch.no_grad():
        if policies.reference is not None:
            logps, _ = policies.reference(batch, temperature, entropy=False)
        else:
            with without_adapters(policies.engine.module):
                logps, _ = policies.engine.module(batch, temperature, entropy=False)
    return logps


def key_of(group: Group) -> tuple[str, int]:
    return str(group.row["id"]), group.place


def _advantages(group: Group) -> Tensor:
    assert group.advantages is not None, "advantages come before learning"
    return group.advantages
