"""Log-probs of tokens from hidden states without their logits: one autograd function, in chunks.

The logits of a batch are its largest tensor (600 kB a token in fp32 at a vocabulary of 152,000). Here those of one
chunk exist at a time. The backward pass computes them again for the head's gradient; under a frozen head (LoRA) it
needs none: the gradient of a log-prob by its hidden state is (w_token − Σ p·w) / temperature, which the forward pass
keeps.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = -1e30  # logit of a banned token; finite, so that p · logit is 0


def is_fusible(head: nn.Module) -> bool:
    """Tell whether a head is one plain matrix, whole on this rank (ZeRO-3 gathers it for its own forward only)."""
    return type(head) is nn.Linear and head.bias is None and not hasattr(head.weight, "ds_id")


def token_scores(
    hidden: Tensor, weight: Tensor, tokens: Tensor, banned: Tensor, temperature: float, chunk: int, entropy: bool = True
) -> tuple[Tensor, Tensor]:
    """Score tokens [N] from the hidden states [N, D] that predict them and the head's weight [V, D].

    Args:
        banned: tokens [K] whose probability is 0.
        chunk: rows whose logits are held at once.
        entropy: whether to compute entropies; else they are 0.

    Returns:
        Log-probs [N] and entropies [N] in fp32 (fp64 for fp64 weights); entropies have no gradient.
    """
    scores: tuple[Tensor, Tensor] = _TokenScores.apply(  # type: ignore[no-untyped-call]
        hidden, weight, tokens, banned, temperature, chunk, entropy
    )
    return scores


def _logits(hidden: Tensor, weight: Tensor, banned: Tensor, temperature: float) -> Tensor:
    logits = F.linear(hidden, weight)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).div_(temperature)
    return logits.index_fill_(-1, banned, HIDDEN)


class _TokenScores(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        tokens: Tensor,
        banned: Tensor,
        temperature: float,
        chunk: int,
        entropy: bool,
    ) -> tuple[Tensor, Tensor]:
        logps, entropies, sums, slopes = [], [], [], []
        keeps = ctx.needs_input_grad[0] and not ctx.needs_input_grad[1]
        for h, t in zip(torch.split(hidden, chunk), torch.split(tokens, chunk), strict=True):
            logits = _logits(h, weight, banned, temperature)  # [n, V]
            total = logits.logsumexp(-1)  # [n]
            logps.append(logits.gather(-1, t[:, None]).squeeze(-1) - total)
            sums.append(total)
            if entropy or keeps:
                log_all = logits.sub_(total[:, None])  # [n, V]
                shares = log_all.exp()
                if entropy:
                    entropies.append(-torch.linalg.vecdot(shares, log_all))
                if keeps:
                    slopes.append((weight[t] - shares.to(weight.dtype) @ weight) / temperature)
        ctx.save_for_backward(hidden, weight, tokens, banned, torch.cat(sums), *([torch.cat(slopes)] if keeps else []))
        ctx.temperature, ctx.chunk = temperature, chunk
        scores = torch.cat(logps)
        found = torch.cat(entropies) if entropy else torch.zeros_like(scores)
        ctx.mark_non_differentiable(found)
        return scores, found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, tokens, banned, sums, *slopes = ctx.saved_tensors
        nothing = (None,) * 5
        if slopes:
            return (slopes[0] * gradient[:, None].to(slopes[0].dtype), None, *nothing)
        by_hidden: Tensor | None = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        by_weight: Tensor | None = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        for start in range(0, len(tokens), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            logits = _logits(hidden[part], weight, banned, ctx.temperature)
            by_logits = logits.sub_(sums[part, None]).exp_().mul_(-gradient[part, None])  # −g · p
            by_logits.scatter_add_(-1, tokens[part, None], gradient[part, None])
            by_logits = by_logits.div_(ctx.temperature).to(weight.dtype)
            if by_hidden is not None:
                torch.mm(by_logits, weight, out=by_hidden[part])
            if by_weight is not None:
                by_weight.addmm_(by_logits.T, hidden[part])
        return (by_hidden, by_weight, *nothing)
