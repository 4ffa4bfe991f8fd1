"""Responses of a policy in this process to questions about images: encode, sample and decode in one call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from wethink.generation.in_process import sample, uniforms
from wethink.models.batching import Images, encode_prompts
from wethink.models.policy import Processor


@dataclass(frozen=True)
class Asked:
    """Question about images of the image source that `respond` is given, or about none."""

    problem: str
    images: tuple[str, ...]
    draw: str = ""  # names the random draw: equal names and steps draw alike
    step: int = 0
    system: str | None = None  # as in `Processor.prompt_ids`


@dataclass(frozen=True)
class Decoding:
    """Decoding settings; temperature 0 is greedy."""

    max_new_tokens: int
    temperature: float
    seed: int = 0
    samples: int = 1  # responses to each question


@dataclass(frozen=True)
class Response:
    """Decoded text, and the number of its tokens with any stop token."""

    text: str
    tokens: int


@dataclass(frozen=True)
class InMemory:
    """Image source over pictures in memory, by name."""

    pictures: Mapping[str, Image.Image]

    def open(self, image: str) -> Image.Image:
        return self.pictures[image]


def respond(
    model: Any, processor: Processor, asked: Sequence[Asked], images: Images, decoding: Decoding
) -> list[list[Response]]:
    """Return the policy's responses to each question, in order.

    The model must be in evaluation mode; its device is used. Responses depend on seed, draw and step only, not on the
    questions that share the batch.
    """
    prompts = encode_prompts(
        [one.problem for one in asked],
        [one.images for one in asked],
        images,
        processor,
        [one.system for one in asked],
    )
    limit, draws = decoding.max_new_tokens, None
    if decoding.temperature > 0:  # [B·G, max_new_tokens]
        draws = np.concatenate([uniforms(decoding.seed, one.step, one.draw, decoding.samples, limit) for one in asked])
    device = next(model.parameters()).device
    groups = sample(model, processor, prompts, draws, limit, decoding.temperature, decoding.samples, device)
    return [[Response(processor.decode(one.ids), len(one.ids)) for one in group] for group in groups]
