"""Byte-level BPE tokenizer for tiny models of families that Transformers always loads with one."""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from wethink.models.families.family import EOS, PAD, ROLES, SPECIAL

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ENDLESS = 2**20  # tokens: merges are learned until every word is whole


def build_byte_tokenizer(vocabulary: Iterable[str], marks: Sequence[str]) -> "PreTrainedTokenizerBase":
    """Build Qwen3.5's tokenizer with merges learned from a vocabulary of words.

    A known word is one token, with and without a space before it; all other text is spelled in bytes, so that nothing
    is unknown. Each of the response format's marks is one token.
    """
    from tokenizers import AddedToken, pre_tokenizers, trainers
    from transformers import Qwen3_5Tokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=ENDLESS, show_progress=False, initial_alphabet=alphabet)
    words = [*ROLES, *vocabulary]
    learner = Qwen3_5Tokenizer(vocab={}, merges=[]).backend_tokenizer
    learner.train_from_iterator([*words, *(f" {word}" for word in words)], trainer)
    learned = json.loads(learner.to_str())["model"]
    made = Qwen3_5Tokenizer(
        vocab=learned["vocab"],
        merges=[tuple(pair) for pair in learned["merges"]],
        pad_token=PAD,
        eos_token=EOS,
        unk_token=PAD,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    made.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL], special_tokens=True)
    made.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in marks])  # kept when decoding
    return made
