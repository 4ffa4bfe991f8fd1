"""Questions to a policy, how they are decoded, and its responses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from wethink.models.batching import Images, Prompt, encode_prompts
from wethink.models.policy import Processor


@dataclass(frozen=True)
class Asked:
    """Question about images of the image source that the sampler is given, or about none."""

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
class Completion:
    """Sampled response: token ids (any stop token included) and their log-probs."""

    ids: tuple[int, ...]
    logps: tuple[float, ...]
    finished: bool  # False: cut at the length limit


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


def encode(asked: Sequence[Asked], images: Images, processor: Processor) -> list[Prompt]:
    """Encode questions with their images for a model in this process."""
    return encode_prompts(
        [one.problem for one in asked], [one.images for one in asked], images, processor, [one.system for one in asked]
    )
