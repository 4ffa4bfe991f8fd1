"""GRPO objective as pure tensor functions: advantages, clipped surrogate, KL penalty, aggregation.

Symbols: G completions per prompt with rewards r_i and advantages A_i; T_i tokens of completion i; log-probs
under the current policy (logps), the policy as it was when the step began (old), the sampling engine
(sampled) and the reference (ref); ρ = exp(logps − old). Per-token arguments are [N], all completions'
tokens in one row; `lengths` [S] has the token count of each of the S completions.

Sources: GRPO (arXiv 2402.03300), Dr. GRPO (2503.20783), DAPO (2503.14476), GSPO (2507.18071), Lite PPO
(2508.08221, batch std), GDPO (2601.05242, components), dual clip (1912.09729), k1 and k3 (Schulman,
"Approximating KL divergence"), the ratio that corrects their gradient (DeepSeek-V3.2), truncated and masked
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
    """Centre rewards [B, G] by their group mean over known members.

    Returns:
        r_i − mean [B, G], 0 for unknown members; and the unbiased std (n − 1) [B, 1]. Both are 0 in groups with
        fewer than two known members or a std of at most `FLAT`.
    """
    known = known.to(rewards.dtype)  # [B, G]
    count = known.sum(dim=1, keepdim=True)  # [B, 1]
    mean = (rewards * known).sum(dim=1, keepdim=True) / count.clamp(min=1)  # [B, 1]
    centred = (rewards - mean) * known  # [B, G]
    std = (centred.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()  # [B, 1]
    teaches = (count >= 2) & (std > FLAT)  # [B, 1]
    return torch.where(teaches, centred, torch.zeros_like(centred)), torch.where(teaches, std, torch.zeros_like(std))


def group_advantages(rewards: Tensor, known: Tensor, mode: Literal["group", "none", "batch"]) -> Tensor:
    """Compute advantages [B, G] from rewards [B, G]; `known` [B, G] is a mask.

    group: A_i = (r_i − mean) / (std + ε); none: A_i = r_i − mean (Dr. GRPO); batch: A_i = (r_i − mean) / (std of
    all known rewards of the batch + ε) (Lite PPO): B must then be the whole batch, over all ranks.
    Groups without variance and unknown members get 0.
    """
    centred, std = centre(rewards, known)  # [B, G], [B, 1]
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
    """Normalise each component by its group std, then sum with weights: [B, G].

    A = Σ_k w_k (r_k − mean_k) / (std_k + ε), components [B, G] each. `batch` (GDPO) then divides the sum by its
    std over the known members of the whole batch: B must then be the whole batch, over all ranks.
    """
    # Dividing the total by its std instead would erase the weights where only one component varies: in a group
    # of wrong answers, a difference in format would weigh as much as a right answer. Here it weighs w_format.
    parts = []
    for component, weight in zip(components, weights, strict=True):
        centred, std = centre(component, known)  # [B, G], [B, 1]
        parts.append(weight * centred / (std + EPSILON))
    total = torch.stack(parts).sum(dim=0)  # [K, B, G] → [B, G]
    if mode == "batch":
        total = torch.where(total != 0, total / (batch_std(total, known) + EPSILON), total)
    return total


def batch_std(rewards: Tensor, known: Tensor) -> Tensor:
    """Return the unbiased std (scalar) of all known rewards; 0 for fewer than two."""
    chosen = rewards[known.bool()]  # [number of known]
    return chosen.std() if len(chosen) >= 2 else rewards.new_zeros(())


def varied(rewards: Tensor, known: Tensor) -> Tensor:
    """Mark the groups [B] whose rewards [B, G] have variance; others have advantage 0."""
    return centre(rewards, known)[1].squeeze(1) > 0


def overlong_penalty(length: int, limit: int, buffer: int) -> float:
    """Compute DAPO's soft overlong punishment in [−1, 0].

    0 up to L_max − L_c tokens, then linear, −1 at L_max. `limit` is L_max and `buffer` L_c, in tokens; 0 = off.
    """
    return 0.0 if buffer == 0 else -min(1.0, max(0.0, (length - (limit - buffer)) / buffer))


# -- the loss: everything is [N] tokens


def log_ratio(logps: Tensor, old: Tensor, lengths: Tensor, level: Ratio) -> Tensor:
    """Compute log ρ [N], clamped to ±20.

    token: log ρ_t; sequence (GSPO): the mean over the completion's tokens, for each of them;
    none: log 1, whose gradient is that of log π (REINFORCE).
    """
    if level == "none":
        return logps - logps.detach()
    difference = logps - old  # [N]
    if level == "sequence":
        difference = per_token(per_completion_sum(difference, lengths) / lengths.clamp(min=1), lengths)
    return difference.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def surrogate(
    ratio: Tensor, advantages: Tensor, *, clip_low: float, clip_high: float, dual_clip: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the clipped surrogate loss and the masks of clipped tokens.

    L = −min(ρA, clip(ρ, 1 − ε_low, 1 + ε_high)·A); with dual_clip c > 0 and A < 0: L = min(L, −cA).

    Returns:
        The loss, and 0/1 masks of the tokens clipped at the low and at the high side; each [N].
    """
    clipped_ratio = ratio.clamp(1 - clip_low, 1 + clip_high)  # [N]
    loss = -torch.minimum(ratio * advantages, clipped_ratio * advantages)  # [N]
    if dual_clip > 0:
        loss = torch.where(advantages < 0, torch.minimum(loss, -dual_clip * advantages), loss)
    low = (ratio < 1 - clip_low) & (advantages < 0)
    high = (ratio > 1 + clip_high) & (advantages > 0)
    return loss, low.to(loss.dtype), high.to(loss.dtype)


def kl_penalty(logps: Tensor, ref: Tensor, estimator: Literal["k1", "k3"], ratio: Tensor | None = None) -> Tensor:
    """Estimate KL(π ‖ π_ref) per token: [N].

    d = ref − logps, clamped to ±20. k1: −d; k3: exp(d) − d − 1. k3's value is unbiased but its gradient is not,
    and k1's gradient has mean zero. With `ratio` [N], ∇(ρ·k) is in expectation the gradient of the divergence for
    both (DeepSeek-V3.2).
    """
    difference = (ref - logps).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)  # [N]
    penalty = -difference if estimator == "k1" else difference.exp() - difference - 1  # [N]
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
    """Compute importance weights w [N] between engine and trainer.

    w = exp(old − sampled). truncate: w is clamped to [floor, cap]; mask: 0 where w lies outside; none: 1. At the
    sequence level w is the product over the completion's tokens.
    """
    if mode == "none":
        return torch.ones_like(old)
    difference = old - sampled  # [N]
    if level == "sequence":
        difference = per_token(per_completion_sum(difference, lengths), lengths)  # [N] → [S] → [N]
    weight = difference.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp()  # [N]
    if mode == "truncate":
        return weight.clamp(floor, cap)
    return torch.where((weight >= floor) & (weight <= cap), weight, torch.zeros_like(weight))


@dataclass(frozen=True)
class LossTerms:
    """Policy loss per token and its terms; every tensor is [N]."""

    loss: Tensor
    clipped_low: Tensor  # 0/1
    clipped_high: Tensor  # 0/1
    correction: Tensor  # importance weights between engine and trainer
    kl: Tensor | None  # KL estimate per token, before its coefficient


def policy_loss(
    logps: Tensor,
    old: Tensor,
    sampled: Tensor,
    ref: Tensor | None,
    advantages: Tensor,
    lengths: Tensor,
    config: Grpo,
) -> LossTerms:
    """Compose the loss [N] from log-probs [N], advantages [N] and lengths [S].

    L = w · surrogate(ρ, A) + β · KL. `ref` is the reference's log-probs, needed where `kl_coef` is above 0.
    """
    ratio = log_ratio(logps, old, lengths, config.importance_sampling_level).exp()  # [N]
    loss, low, high = surrogate(
        ratio,
        advantages,
        clip_low=config.clip_ratio_low,
        clip_high=config.clip_ratio_high,
        dual_clip=config.clip_ratio_c,
    )
    trust = correction(old, sampled, lengths, **config.rollout_correction.model_dump())  # [N]
    if config.rollout_correction.mode != "none":
        loss = loss * trust
    if config.kl_coef == 0:
        return LossTerms(loss, low, high, trust, None)
    assert ref is not None, "a KL penalty needs the reference's log-probs"
    penalty = kl_penalty(logps, ref, config.kl_estimator, ratio if config.use_bias_correction_kl else None)
    return LossTerms(loss + config.kl_coef * penalty, low, high, trust, penalty)


# -- aggregation: Σ loss · weight / denominator does not depend on the split into ranks and micro-batches


def token_weights(lengths: Tensor, learned: Tensor, aggregation: Aggregation) -> Tensor:
    """Weight each token: [N]; `learned` [S] marks completions that carry loss.

    token-mean and seq-mean-token-sum-norm: 1; seq-mean-token-mean: 1 / T_i (GRPO: each completion
    weighs the same).
    """
    weight = learned.float()  # [S]
    if aggregation == "seq-mean-token-mean":
        weight = weight / lengths.clamp(min=1)
    return per_token(weight, lengths)


def denominator(tokens: int, sequences: int, aggregation: Aggregation, max_new_tokens: int) -> int:
    """Return the divisor of the weighted loss sum.

    `tokens` and `sequences` are counts over all ranks and micro-batches of the update.

    token-mean: Σ T_i (DAPO); seq-mean-token-mean: the number of completions (GRPO);
    seq-mean-token-sum-norm: the number of completions × L_max (Dr. GRPO).
    """
    match aggregation:
        case "token-mean":
            return tokens
        case "seq-mean-token-mean":
            return sequences
        case "seq-mean-token-sum-norm":
            return sequences * max_new_tokens


def per_completion_sum(values: Tensor, lengths: Tensor) -> Tensor:
    """Sum token values [N] within each completion: [S]."""
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=values.device), lengths)  # [N]
    return values.new_zeros(len(lengths)).index_add(0, owner, values)


def per_token(values: Tensor, lengths: Tensor) -> Tensor:
    """Repeat each completion's value [S] for all its tokens: [N]."""
    return values.repeat_interleave(lengths)
