"""The one forward pass that learning needs: log-probabilities of completion tokens."""

from typing import Any

import torch
from torch import Tensor, nn

from wethink.batching import Batch


def embed(model: Any, batch: Batch) -> Tensor:
    """Input embeddings [B, L, D] with every image encoded once and placed into all rows that show it."""
    embeddings: Tensor = model.get_input_embeddings()(batch.ids)
    features = model.model.get_image_features(batch.pixels, batch.grids, return_dict=True).pooler_output
    rows = torch.cat([features[i] for i in batch.image_of.tolist()]).to(embeddings.dtype)
    places = (batch.ids == model.config.image_token_id).unsqueeze(-1).expand_as(embeddings)
    return embeddings.masked_scatter(places, rows)


class CompletionLogProbs(nn.Module):
    """Wraps a policy so that a training engine sees one module with one forward.

    forward → (log-probs [N], entropies [N]) of the N completion tokens in row-major order, under
    softmax(logits / temperature) with the banned tokens removed: exactly the distribution sampled from.
    """

    def __init__(self, model: nn.Module, banned: list[int]) -> None:
        super().__init__()
        self.model = model
        self.banned = banned

    def forward(self, batch: Batch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        # Right padding under a causal mask: what a real token attends to never includes a pad.
        hidden = model.model.language_model(
            inputs_embeds=embed(model, batch), position_ids=batch.positions, use_cache=False
        ).last_hidden_state  # [B, L, D]
        chosen = batch.targets[:, 1:].bool()
        logits = model.lm_head(hidden[:, :-1][chosen]).float() / temperature  # [N, V]
        logits = logits.index_fill(-1, torch.tensor(self.banned, device=logits.device), float("-inf"))
        log_all = logits.log_softmax(dim=-1)
        tokens = batch.ids[:, 1:][chosen]
        logps = log_all.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        with torch.no_grad():
            entropy = -(log_all.exp() * log_all.masked_fill(log_all.isinf(), 0)).sum(-1)
        return logps, entropy
