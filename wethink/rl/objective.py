"""The GRPO objective as pure tensor functions; no state, no model, no process group.

Symbols: G completions per prompt with rewards r_i and advantages A_i; T_i tokens of completion i; log-probs
under the current policy (logps), the policy as it was when the step began (old), the sampling engine
(sampled) and the reference (ref); ρ = exp(logps − old). Per-token arguments are [N], all completions'
tokens in one row; `lengths` [S] says where each of the S completions ends.

Sources: GRPO (arXiv 2402.03300), Dr. GRPO (2503.20783), DAPO (2503.14476), GSPO (2507.18071), Lite PPO
(2508.08221, batch std), GDPO (2601.05242, components), dual clip (1912.09729), k1 and k3 (Schulman,
"Approximating KL divergence"), the ratio that mends their gradient (DeepSeek-V3.2), truncated and masked
importance sampling between engine and trainer (verl, TRL).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from wethink.config.grpo import Grpo

EPSILON = 1e-6  # EasyR1
FLAT = 1e-6  # rewards that spread less than this have no variance (fp32 noise, OpenRLHF #1272, NeMo-RL #4158)
LOG_RATIO_LIMIT = 20.0  # before exp (EasyR1)

Ratio = Literal["token", "sequence", "none"]
Aggregation = Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"]


# -- advantages: rewards [B, G] → advantages [B, G]


def centre(rewards: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """(r_i − mean, std) per group over its known members: [B, G] and [B, 1]; std unbiased (n − 1).

    Unknown members get 0 and change nobody else's. Fewer than two known members have no spread: all zeros.
    """
    known = known.to(rewards.dtype)
    count = known.sum(dim=1, keepdim=True)
    mean = (rewards * known).sum(dim=1, keepdim=True) / count.clamp(min=1)
    centred = (rewards - mean) * known
    std = (centred.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    teaches = (count >= 2) & (std > FLAT)
    return torch.where(teaches, centred, torch.zeros_like(centred)), torch.where(teaches, std, torch.zeros_like(std))


def group_advantages(rewards: Tensor, known: Tensor, mode: Literal["group", "none", "batch"]) -> Tensor:
    """Advantages [B, G] of rewards [B, G]; `known` [B, G] marks rows whose reward is known.

    group: A_i = (r_i − mean) / (std + ε); none: A_i = r_i − mean (Dr. GRPO); batch: A_i = (r_i − mean) / (std of
    all known rewards of the batch + ε) (Lite PPO): B must then be the whole batch, over all ranks.
    A group without variance gets zeros, and so does an unknown row.
    """
    centred, std = centre(rewards, known)
    match mode:
        case "group":
            return centred / (std + EPSILON)
        case "none":
            return centred
        case "batch":
            return centred / (batch_std(rewards, known) + EPSILON)


def component_advantages(
    components: Sequence[Tensor], weights: Sequence[float], known: Tensor, mode: Literal["group", "batch"]
) -> Tensor:
    """Each component normalised by its own group std, then the weighted sum: A = Σ_k w_k (r_k − mean_k) / (std_k + ε).

    Dividing the total by its std erases the weights where only one component varies: in a group that is all
    wrong, a difference in format alone weighs as much as an answer. Here it weighs w_format.
    `batch` (GDPO) centres and scales the sum over the known rows of the whole batch, so B must be all of it.
    """
    parts = []
    for component, weight in zip(components, weights, strict=True):
        centred, std = centre(component, known)
        parts.append(weight * centred / (std + EPSILON))
    total = torch.stack(parts).sum(dim=0)
    if mode == "batch":
        total = torch.where(total != 0, total / (batch_std(total, known) + EPSILON), total)
    return total


def batch_std(rewards: Tensor, known: Tensor) -> Tensor:
    """Unbiased std of all known entries of [B, G]; 0 where fewer than two are known."""
    chosen = rewards[known.bool()]
    return chosen.std() if len(chosen) >= 2 else rewards.new_zeros(())


def varied(rewards: Tensor, known: Tensor) -> Tensor:
    """[B] whether a group's total reward has variance: a group without teaches nothing."""
    return centre(rewards, known)[1].squeeze(1) > 0


def overlong_penalty(length: int, limit: int, buffer: int) -> float:
    """DAPO's soft overlong punishment: 0 up to L_max − L_c tokens, then linear, −1 at L_max. buffer = L_c; 0 = off."""
    return 0.0 if buffer == 0 else -min(1.0, max(0.0, (length - (limit - buffer)) / buffer))


# -- the loss: everything is [N] tokens


def log_ratio(logps: Tensor, old: Tensor, lengths: Tensor, level: Ratio) -> Tensor:
    """log ρ [N], clamped to ±20.

    token: log ρ_t; sequence (GSPO): the mean over the completion's tokens, for each of them;
    none: log 1, whose gradient is that of log π (REINFORCE).
    """
    if level == "none":
        return logps - logps.detach()
    difference = logps - old
    if level == "sequence":
        difference = per_token(per_completion_sum(difference, lengths) / lengths.clamp(min=1), lengths)
    return difference.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def surrogate(
    ratio: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float, dual_clip: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Per-token clipped surrogate, and 0/1 masks of the tokens clipped at the low and at the high side.

    L = −min(ρA, clip(ρ, 1 − ε_low, 1 + ε_high)·A); with dual_clip c > 0 and A < 0: L = min(L, −cA).
    """
    clipped_ratio = ratio.clamp(1 - clip_low, 1 + clip_high)
    loss = -torch.minimum(ratio * advantages, clipped_ratio * advantages)
    if dual_clip > 0:
        loss = torch.where(advantages < 0, torch.minimum(loss, -dual_clip * advantages), loss)
    low = (ratio < 1 - clip_low) & (advantages < 0)
    high = (ratio > 1 + clip_high) & (advantages > 0)
    return loss, low.to(loss.dtype), high.to(loss.dtype)


def kl_penalty(logps: Tensor, ref: Tensor, estimator: Literal["k1", "k3"], ratio: Tensor | None = None) -> Tensor:
    """Estimate of KL(π ‖ π_ref) per token, d = ref − logps clamped to ±20. k1: −d; k3: exp(d) − d − 1.

    k3's value is unbiased but its gradient is not, and k1's gradient has mean zero. `ratio` mends both: in
    expectation ∇(ρ·k) is the gradient of the divergence (DeepSeek-V3.2).
    """
    difference = (ref - logps).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    penalty = -difference if estimator == "k1" else difference.exp() - difference - 1
    return penalty if ratio is None else ratio * penalty


def correction(
    old: Tensor,
    sampled: Tensor,
    lengths: Tensor,
    mode: Literal["none", "truncate", "mask"],
    level: Literal["token", "sequence"],
    floor: float,
    cap: float,
) -> Tensor:
    """Weights w [N] for tokens that an engine sampled with log-probs unlike the trainer's: w = exp(old − sampled).

    truncate: w cut to [floor, cap]; mask: 0 where w lies outside. At the sequence level w is the product
    over the completion's tokens.
    """
    if mode == "none":
        return torch.ones_like(old)
    difference = old - sampled
    if level == "sequence":
        difference = per_token(per_completion_sum(difference, lengths), lengths)
    weight = difference.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()
    if mode == "truncate":
        return weight.clamp(floor, cap)
    return torch.where((weight >= floor) & (weight <= cap), weight, torch.zeros_like(weight))


@dataclass(frozen=True)
class LossTerms:
    """The policy loss per token, and what it was made of; everything is [N]."""

    loss: Tensor
    clipped_low: Tensor  # 0/1
    clipped_high: Tensor  # 0/1
    correction: Tensor  # weights between engine and trainer
    kl: Tensor | None  # estimate of the divergence from the reference, before its coefficient


def policy_loss(
    logps: Tensor,
    old: Tensor,
    sampled: Tensor,
    ref: Tensor | None,
    advantages: Tensor,
    lengths: Tensor,
    config: Grpo,
) -> LossTerms:
    """Compose the configured loss [N] from log-probs [N], advantages [N] and lengths [S].

    L = w · surrogate(ρ, A) + β · KL. `ref` is the reference's log-probs, needed where `kl_coef` is above 0.
    """
    ratio = log_ratio(logps, old, lengths, config.importance_sampling_level).exp()
    loss, low, high = surrogate(
        ratio,
        advantages,
        clip_low=config.clip_ratio_low,
        clip_high=config.clip_ratio_high,
        dual_clip=config.clip_ratio_c,
    )
    trust = correction(old, sampled, lengths, **config.rollout_correction.model_dump())
    if config.rollout_correction.mode != "none":
        loss = loss * trust
    if config.kl_coef == 0:
        return LossTerms(loss, low, high, trust, None)
    assert ref is not None, "a KL penalty needs the reference's log-probs"
    penalty = kl_penalty(logps, ref, config.kl_estimator, ratio if config.use_bias_correction_kl else None)
    return LossTerms(loss + config.kl_coef * penalty, low, high, trust, penalty)


# -- aggregation: Σ loss · weight / denominator is one number for the optimizer step, however it is cut up


def token_weights(lengths: Tensor, learned: Tensor, aggregation: Aggregation) -> Tensor:
    """[N] weight of each token; `learned` [S] marks the completions that carry loss.

    token-mean and seq-mean-token-sum-norm: 1; seq-mean-token-mean: 1 / T_i (GRPO: each completion
    weighs the same).
    """
    weight = learned.float()
    if aggregation == "seq-mean-token-mean":
        weight = weight / lengths.clamp(min=1)
    return per_token(weight, lengths)


def denominator(tokens: int, sequences: int, aggregation: Aggregation, max_new_tokens: int) -> int:
    """What the weighted sum is divided by, from counts over all ranks and micro-batches of the step.

    token-mean: Σ T_i (DAPO); seq-mean-token-mean: the number of completions (GRPO);
    seq-mean-token-sum-norm: that × L_max (Dr. GRPO).
    """
    match aggregation:
        case "token-mean":
            return tokens
        case "seq-mean-token-mean":
            return sequences
        case "seq-mean-token-sum-norm":
            return sequences * max_new_tokens


def per_completion_sum(values: Tensor, lengths: Tensor) -> Tensor:
    """Sums of [N] values over the S completions: [S]."""
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), lengths)
    return values.new_zeros(len(lengths)).index_add(0, owner, values)


def per_token(values: Tensor, lengths: Tensor) -> Tensor:
    """One value per completion [S] to its tokens [N]."""
    return values.repeat_interleave(lengths)
