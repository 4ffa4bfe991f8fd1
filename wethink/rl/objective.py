"""The GRPO objective as pure tensor functions; no state, no model.

Symbols: G completions per prompt with rewards r_i and advantages A_i; log-probs under the current policy
(logps), the policy that sampled (old) and the reference (ref); ρ = exp(logps − old).
Sources: GRPO (arXiv 2402.03300), Dr. GRPO (2503.20783), DAPO (2503.14476), dual clip (1912.09729),
k3 (Schulman, "Approximating KL divergence").
"""

from typing import Literal

import torch
from torch import Tensor

EPSILON = 1e-6  # EasyR1
FLAT = 1e-6  # a group whose rewards spread less than this has no variance (fp32 noise, pains P11)


def group_advantages(rewards: Tensor, known: Tensor, mode: Literal["group", "none"]) -> Tensor:
    """Advantages [B, G] of rewards [B, G]; `known` [B, G] marks rows whose reward is known.

    group: A_i = (r_i − mean) / (std + ε), std unbiased (n − 1); none: A_i = r_i − mean (Dr. GRPO).
    Mean and std are over the known members only. An unknown row gets 0 and changes nobody else's;
    a group with fewer than two known members, or without variance, gets zeros.
    """
    known = known.to(rewards.dtype)
    count = known.sum(dim=1, keepdim=True)
    mean = (rewards * known).sum(dim=1, keepdim=True) / count.clamp(min=1)
    centred = (rewards - mean) * known
    std = (centred.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)).sqrt()
    advantages = centred / (std + EPSILON) if mode == "group" else centred
    return torch.where((count >= 2) & (std > FLAT), advantages, torch.zeros_like(advantages))


def policy_loss(
    logps: Tensor,
    old: Tensor,
    advantages: Tensor,
    *,
    clip_low: float,
    clip_high: float,
    dual_clip: float,
) -> tuple[Tensor, Tensor]:
    """Per-token clipped surrogate and a 0/1 mask of clipped tokens; all arguments are [N] tokens.

    L = −min(ρA, clip(ρ, 1 − ε_low, 1 + ε_high)·A); with dual_clip c > 0 and A < 0: L = min(L, −cA).
    """
    log_ratio = (logps - old).clamp(-20, 20)
    ratio = log_ratio.exp()
    clipped_ratio = ratio.clamp(1 - clip_low, 1 + clip_high)
    loss = -torch.minimum(ratio * advantages, clipped_ratio * advantages)
    if dual_clip > 0:
        loss = torch.where(advantages < 0, torch.minimum(loss, -dual_clip * advantages), loss)
    clipped = ((ratio < 1 - clip_low) & (advantages < 0)) | ((ratio > 1 + clip_high) & (advantages > 0))
    return loss, clipped.to(logps.dtype)


def kl_k3(logps: Tensor, ref: Tensor) -> Tensor:
    """k3 estimate of KL(π ‖ π_ref) per token: exp(d) − d − 1 with d = ref − logps, d clamped to ±20."""
    difference = (ref - logps).clamp(-20, 20)
    return difference.exp() - difference - 1
