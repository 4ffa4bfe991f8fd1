"""The one forward pass that learning needs: log-probabilities of completion tokens."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wethink.models.batching import Batch, Packed
from wethink.models.packing import use_packing

LOGITS = 2**26  # elements of logits held at once: 256 MB in fp32


def language_inputs(model: Any, batch: Batch | Packed) -> dict[str, Any]:
    """Input embeddings [B, L, D] with every image encoded once and placed into all rows that show it.

    Qwen3-VL adds features of inner vision layers to its first decoder layers (DeepStack, arXiv 2406.04334); they
    are given with their places.
    """
    embeddings: Tensor = model.get_input_embeddings()(batch.ids)
    seen = model.model.get_image_features(batch.pixels, batch.grids, return_dict=True)
    shown = batch.image_of.tolist()

    def rows(features: Sequence[Tensor]) -> Tensor:
        return torch.cat([features[i] for i in shown]).to(embeddings.dtype)

    places = batch.ids == model.config.image_token_id
    inputs: dict[str, Any] = {
        "inputs_embeds": embeddings.masked_scatter(places.unsqueeze(-1).expand_as(embeddings), rows(seen.pooler_output))
    }
    if getattr(seen, "deepstack_features", None):
        inputs["visual_pos_masks"] = places
        inputs["deepstack_visual_embeds"] = [rows(features) for features in seen.deepstack_features]
    return inputs


class CompletionLogProbs(nn.Module):
    """Wraps a policy so that a training engine sees one module with one forward.

    forward → (log-probs [N], entropies [N]) of the N completion tokens in row-major order, under
    softmax(logits / temperature) with the banned tokens removed: exactly the distribution sampled from.
    """

    def __init__(self, model: nn.Module, banned: list[int]) -> None:
        super().__init__()
        self.model = model
        use_packing(model)
        self.banned = banned

    def forward(self, batch: Batch | Packed, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        # Right padding under a causal mask: what a real token attends to never includes a pad.
        packing = {"packing": batch.layout} if isinstance(batch, Packed) else {}
        hidden = model.model.language_model(
            **language_inputs(model, batch), position_ids=batch.positions, use_cache=False, **packing
        ).last_hidden_state  # [B, L, D]
        if isinstance(batch, Packed):
            hidden, tokens = hidden[0].index_select(0, batch.sources), batch.tokens
        else:
            chosen = batch.targets[:, 1:].bool()
            hidden, tokens = hidden[:, :-1][chosen], batch.ids[:, 1:][chosen]
        # Logits are the largest tensor of all: in chunks, computed again in the backward pass, they stay small.
        chunk = max(1, LOGITS // model.config.text_config.vocab_size)
        if len(tokens) <= chunk:
            return self._score(hidden, tokens, temperature)
        parts = [
            checkpoint(self._score, *part, temperature, use_reentrant=False)
            for part in zip(torch.split(hidden, chunk), torch.split(tokens, chunk), strict=True)
        ]
        logps, entropies = zip(*parts, strict=True)
        return torch.cat(logps), torch.cat(entropies)

    def _score(self, hidden: Tensor, tokens: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies [N] of tokens [N] from the hidden states [N, D] that predict them."""
        model: Any = self.model
        logits = model.lm_head(hidden)  # [N, V]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        logits = logits.index_fill(-1, torch.tensor(self.banned, dtype=torch.long, device=logits.device), float("-inf"))
        log_all = logits.log_softmax(dim=-1)
        logps = log_all.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        with torch.no_grad():
            entropy = -(log_all.exp() * log_all.masked_fill(log_all.isinf(), 0)).sum(-1)
        return logps, entropy
