"""Tiny policy of a few thousand weights, and noise images, for tests of the maths."""

from functools import cache

import numpy as np
import torch
from PIL import Image

from wethink.config.response_format import ResponseFormat
from wethink.config.training import Family, TinyModel
from wethink.models.batching import Prompt, encode_prompts
from wethink.models.chat_prompts import chat_template
from wethink.models.policy import Processor
from wethink.models.tiny import build_image_processor, build_model, build_tokenizer, words
from wethink.rewards.format import DEFAULT, marks, render

SHAPE = TinyModel(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    num_key_value_heads=1,
    intermediate_size=48,
    vision_depth=2,
    vision_hidden_size=32,
    initializer_range=0.3,
)
TEXT = "think then answer how many things are red or blue ? what is the level of green circle square 1 2 3 4 , : yes no"


class NoiseImages:
    """Images by id: reproducible noise, 56 × 56 (ids ending in 'wide' are 56 × 84)."""

    def open(self, image: str) -> Image.Image:
        rng = np.random.default_rng(list(image.encode()))
        width = 84 if image.endswith("wide") else 56
        return Image.fromarray(rng.integers(0, 255, (56, width, 3), dtype=np.uint8))


def processor(family: Family = "qwen2_5_vl", form: ResponseFormat = DEFAULT) -> Processor:
    tokenizer = build_tokenizer(words([TEXT]), marks(form), family=family)
    tokenizer.chat_template = chat_template("think then answer", form)
    images = build_image_processor(56, family)
    images.size = {
        "shortest_edge": 28 * 28,
        "longest_edge": 4 * 56 * 84,
    }  # both sizes stay (for Qwen3: about) as they are
    return Processor(tokenizer, images)


def policy(
    seed: int = 0, family: Family = "qwen2_5_vl", form: ResponseFormat = DEFAULT
) -> tuple[torch.nn.Module, Processor]:
    made = processor(family, form)
    return build_model(SHAPE.model_copy(update={"family": family}), made.tokenizer, seed).eval(), made


def prompts(made: Processor, count: int, images: tuple[str, ...] = ("a", "b", "c")) -> list[Prompt]:
    questions = [" ".join(TEXT.split()[3 : 5 + i % 7]) for i in range(count)]
    return encode_prompts(questions, [images[i % len(images)] for i in range(count)], NoiseImages(), made)


MIXED = (  # images of a prompt: 0, 1, 2 and 5 of them; some are shared, and one stands twice in a prompt
    (),
    ("a",),
    ("b-wide", "a"),
    ("c", "b-wide", "d", "c", "e-wide"),
)


def mixed_prompts(made: Processor, count: int = 4) -> list[Prompt]:
    """Prompts about 0, 1, 2 and 5 images in turn; those of every second four place them in their text."""
    shown = [MIXED[i % 4] for i in range(count)]
    questions = [" ".join(TEXT.split()[3 : 5 + i % 7]) for i in range(count)]
    questions = [
        q + " or <image>" * len(s) * (i // 4 % 2) for i, (q, s) in enumerate(zip(questions, shown, strict=True))
    ]
    return encode_prompts(questions, shown, NoiseImages(), made)


@cache
def taught(form: ResponseFormat = DEFAULT, family: Family = "qwen2_5_vl") -> tuple[dict[str, torch.Tensor], Processor]:
    """Weights of a policy that writes the format most of the time and guesses the answer: GRPO has what to learn."""
    from wethink.models.batching import collate
    from wethink.models.logprobs import CompletionLogProbs

    model, made = policy(form=form, family=family)
    scorer, rng = CompletionLogProbs(model, made.banned), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    asked = prompts(made, 12)
    for _ in range(50):
        said = [render(" ".join(TEXT.split()[3 : 5 + i % 3]), str(rng.integers(1, 4)), form) for i in range(12)]
        ids = [[*made.text_ids(text), made.tokenizer.eos_token_id] for text in said]
        logps, _ = scorer(collate(asked, ids, made.tokenizer.pad_token_id))
        optimizer.zero_grad()
        (-logps.mean()).backward()
        optimizer.step()
    return {name: value.detach().clone() for name, value in model.state_dict().items()}, made
