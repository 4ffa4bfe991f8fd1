"""Workload of the trainer benchmark: prompts, images and step sizes."""

from dataclasses import dataclass
from typing import Any

REPEATS = 7  # steps of each side and setting, in two turns; the first of a turn warms up
TEXT = "how many things are red or blue and what is the level of the green circle above a square 1 2 3 4 , : yes no ?"


@dataclass(frozen=True)
class Setting:
    """A GRPO step: `prompts` × `group` completions.

    A completion has `length` tokens, a question `words` words.
    """

    name: str
    prompts: int = 8
    group: int = 8
    words: int = 24
    length: int = 32
    budget: int = 4096  # packed tokens a pass


GRPO = (
    Setting("base"),
    Setting("prompts x4 as long", words=162),  # 46 tokens with frame and image, then 184
    Setting("G x2", group=16),
)
SFT_BATCH, SFT_WORDS = 16, 40


def question(i: int, words: int) -> str:
    vocabulary = TEXT.split()
    return " ".join(vocabulary[(i + 3 * j) % len(vocabulary)] for j in range(words))


def picture(i: int) -> Any:
    """Return an 84 × 84 noise image: nine image tokens."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(np.random.default_rng(i).integers(0, 255, (84, 84, 3), dtype=np.uint8))
