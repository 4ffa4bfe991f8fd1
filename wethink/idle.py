"""The smallest forward pass: for a rank that has no work left while others still communicate in theirs."""

from PIL import Image

from wethink.batching import Batch, collate, encode_prompts
from wethink.models.policy import Processor


class _Grey:
    def open(self, image: str) -> Image.Image:
        return Image.new("RGB", (56, 56), (128, 128, 128))


def idle_batch(processor: Processor) -> Batch:
    """One grey image, one word, one token to score."""
    prompts = encode_prompts(["?"], ["grey"], _Grey(), processor)
    return collate(prompts, [[processor.tokenizer.eos_token_id]], processor.tokenizer.pad_token_id)
