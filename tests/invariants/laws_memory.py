"""Laws that saving memory changes no number: log-probs without logits, vision chunks of one length."""

import math
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from tests.invariants.invariant import Law, hold, planted
from wethink.models import token_scores

ROWS, WIDTH, VOCABULARY, CHUNK = 37, 24, 211, 8
BANNED = (5, 77)


def stock(hidden: Any, weight: Any, tokens: Any, temperature: float) -> tuple[Any, Any]:
    """The same through the logits of all rows at once."""
    logits = (hidden @ weight.T / temperature).index_fill(-1, torch.tensor(BANNED), -math.inf)
    log_all = logits.log_softmax(-1)
    shares = log_all.detach().exp()
    return log_all.gather(-1, tokens[:, None]).squeeze(-1), -(shares * log_all.detach().clamp(min=-1e30)).sum(-1)


def no_logits(mutant: str, *, frozen: bool, kind: torch.dtype, bound: float) -> dict[str, float]:
    """Log-probs, entropies and both gradients, in units of each tensor's largest entry."""
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(ROWS, WIDTH, generator=draw, dtype=torch.float64).to(kind).requires_grad_()
    weight = torch.randn(VOCABULARY, WIDTH, generator=draw, dtype=torch.float64).to(kind).requires_grad_(not frozen)
    tokens = torch.randint(78, VOCABULARY, (ROWS,), generator=draw)
    pull = torch.randn(ROWS, generator=draw, dtype=torch.float64)
    sides = []
    for ours in (True, False):
        found = [hidden.detach().requires_grad_(), weight.detach().requires_grad_(not frozen)]
        if ours:
            with planted(mutant, "wethink.models.token_scores._logits", MUTANTS.get(mutant)):
                scores = token_scores.token_scores(*found, tokens, torch.tensor(BANNED), 0.7, CHUNK)
                (scores[0] * pull.to(kind)).sum().backward()
        else:
            scores = stock(*found, tokens, 0.7)
            (scores[0] * pull.to(kind)).sum().backward()
        sides.append([*(score.detach() for score in scores), *(x.grad for x in found if x.grad is not None)])
    far = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(*sides, strict=True))
    hold(len(sides[0]) == len(sides[1]) and far <= bound, f"off by {far:.1e}, more than {bound:.0e}")
    return {"off_by": far}


def _unscaled(hidden: Any, weight: Any, banned: Any, temperature: float) -> Any:
    return F.linear(hidden, weight).index_fill_(-1, banned, token_scores.HIDDEN)


def _unbanned(hidden: Any, weight: Any, banned: Any, temperature: float) -> Any:
    return F.linear(hidden, weight).div_(temperature)


MUTANTS = {"the temperature is left out": _unscaled, "banned tokens have a probability": _unbanned}

LAWS = [
    Law(
        f"log-probs without logits: {'frozen' if frozen else 'trained'} head, {name}",
        partial(no_logits, frozen=frozen, kind=kind, bound=bound),
        *list(MUTANTS)[:1],
        quick=True,
        others=tuple(MUTANTS)[1:],
    )
    for frozen in (False, True)
    for name, kind, bound in (("fp64", torch.float64, 1e-12), ("fp32", torch.float32, 2e-6))
]
