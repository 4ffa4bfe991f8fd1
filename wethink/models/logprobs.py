"""Log-probs and entropies of completion tokens: the forward pass of SFT and GRPO."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from wethink.models.batching import Batch, Packed
from wethink.models.families.known import use_packing
from wethink.models.token_scores import is_fusible, token_scores

LOGITS = 2**23  # elements of logits held at once: 32 MB in fp32; fewer are scored without chunks


def language_inputs(model: Any, batch: Batch | Packed) -> dict[str, Any]:
    """Build input embeddings [B, L, D]; encode each distinct image once for all its places.

    For Qwen3-VL the result also holds DeepStack features of inner vision layers (arXiv 2406.04334) and their positions;
    its first decoder layers add them.
    """
    embeddings: Tensor = model.get_input_embeddings()(batch.ids)
    if not len(batch.grids):
        return {"inputs_embeds": embeddings + 0.0 * _tower(model, embeddings)}
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


def _tower(model: Any, like: Tensor) -> Tensor:
    """Run the vision tower on the smallest blank image; return the sum of what it gives, a finite scalar.

    A batch without images runs it for nothing, since ranks must run the same modules (ZeRO-3 gathers their weights) and
    give every weight a gradient, here 0.
    """
    vision = model.config.vision_config
    width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    merge = vision.spatial_merge_size
    grid = torch.tensor([[1, merge, merge]], device=like.device)
    seen = model.model.get_image_features(like.new_zeros(merge * merge, width), grid, return_dict=True)
    total: Tensor = sum(features.sum() for features in seen.pooler_output)
    for layer in getattr(seen, "deepstack_features", None) or []:
        total = total + sum(features.sum() for features in layer)
    return total


class CompletionLogProbs(nn.Module):
    """Policy wrapper for training engines, with one forward over completion tokens.

    forward → (log-probs [N], entropies [N]) of the N completion tokens in row-major order, under softmax(logits /
    temperature) with the banned tokens removed: the distribution that is sampled from.
    """

    def __init__(self, model: nn.Module, banned: list[int]) -> None:
        super().__init__()
        self.model = model
        use_packing(model)
        self.banned = banned

    def forward(self, batch: Batch | Packed, temperature: float = 1.0, entropy: bool = True) -> tuple[Tensor, Tensor]:
        """Score the batch's targets; without `entropy` the entropies are 0."""
        model: Any = self.model
        # Right padding under a causal mask: no real token attends to padding.
        packing = {"packing": batch.layout} if isinstance(batch, Packed) else {}
        hidden = model.model.language_model(
            **language_inputs(model, batch), position_ids=batch.positions, use_cache=False, **packing
        ).last_hidden_state  # [B, L, D]
        if isinstance(batch, Packed):
            hidden, tokens = hidden[0].index_select(0, batch.sources), batch.tokens  # [N, D], [N]
        else:
            chosen = batch.targets[:, 1:].bool()
            hidden, tokens = hidden[:, :-1][chosen], batch.ids[:, 1:][chosen]  # [N, D], [N]
        # Logits are the largest tensor: chunks bound their memory.
        chunk = max(1, LOGITS // model.config.text_config.vocab_size)
        if len(tokens) <= chunk:
            return self._score(hidden, tokens, temperature, entropy)
        if is_fusible(model.lm_head):
            banned = torch.tensor(self.banned, dtype=torch.long, device=hidden.device)
            return token_scores(hidden, model.lm_head.weight, tokens, banned, temperature, chunk, entropy)
        parts = [
            checkpoint(self._score, *part, temperature, entropy, use_reentrant=False)
            for part in zip(torch.split(hidden, chunk), torch.split(tokens, chunk), strict=True)
        ]
        logps, entropies = zip(*parts, strict=True)
        return torch.cat(logps), torch.cat(entropies)

    def _score(self, hidden: Tensor, tokens: Tensor, temperature: float, entropy: bool) -> tuple[Tensor, Tensor]:
        """Score tokens [N] from the hidden states [N, D] that predict them, through the logits of all at once."""
        model: Any = self.model
        logits = model.lm_head(hidden)  # [N, V]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        logits = logits.index_fill(-1, torch.tensor(self.banned, dtype=torch.long, device=logits.device), float("-inf"))
        log_all = logits.log_softmax(dim=-1)
        logps = log_all.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        if not entropy:
            return logps, torch.zeros_like(logps)
        with torch.no_grad():
            found = -(log_all.exp() * log_all.masked_fill(log_all.isinf(), 0)).sum(-1)
        return logps, found
