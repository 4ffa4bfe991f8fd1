"""Agreement of a sampler's log-probs with those of a model in this process, for the same tokens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from wethink.common.errors import UserError
from wethink.generation.responses import Asked, Decoding, InMemory, encode
from wethink.models.batching import Images, pack
from wethink.models.logprobs import CompletionLogProbs

if TYPE_CHECKING:
    from wethink.generation.sampler import Sampler

TEMPERATURE = 0.7  # not 1, where log-probs before and after the temperature are equal
MOST = 0.05  # mean |Δlogp|: engines differ by 1e-6 in fp32 and by about 0.01 in bf16, another policy by more
PROBES = (Asked("What does this picture show ?", ("probe",), "picture"), Asked("How many are 1 and 2 ?", (), "text"))
TOKENS = Decoding(32, TEMPERATURE, samples=2)


@torch.no_grad()
def differences(
    sampler: "Sampler", model: Any, asked: Sequence[Asked], images: Images, decoding: Decoding
) -> torch.Tensor:
    """Return |Δlogp| [N] between sampler and model for the same tokens.

    The sampler draws them; the model computes their log-probs in one forward pass.
    """
    processor, trains = sampler.processor, model.training
    prompts = encode(asked, images, processor)
    completions = [c for group in sampler.sample(asked, images, decoding, prompts) for c in group]
    batch = pack(prompts, [c.ids for c in completions], decoding.samples).to(next(model.parameters()).device)
    model.eval()
    logps, _ = CompletionLogProbs(model, processor.banned)(batch, decoding.temperature)  # [N]
    model.train(trains)
    drawn = torch.tensor([logp for c in completions for logp in c.logps])  # [N]
    return torch.abs(logps.cpu() - drawn)


def refuse_another_policy(sampler: "Sampler", model: Any, name: str) -> None:
    """Check that a sampler answers two probes with this model's log-probs.

    Raises:
        UserError: they differ by more than `MOST` on average, or are NaN.
    """
    picture = Image.linear_gradient("L").convert("RGB").resize((112, 84))
    mean = float(differences(sampler, model, PROBES, InMemory({"probe": picture}), TOKENS).mean())
    if not mean <= MOST:  # true for NaN, too
        raise UserError(
            f"vLLM's log-probs differ from those of {name} by {mean:.3g} on average (bound: {MOST:g}): it samples from "
            "another model or revision, or in another precision. Start the server anew from this checkpoint, or set "
            "the section's 'sampler' to in_process."
        )
