"""Tiny model of a known family, randomly initialised, with a vocabulary of whole words.

With it the tiny profile runs the code paths of the large models: the same model class, image tokens, M-RoPE positions,
chat template and special tokens.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from wethink.config.training import Family, TinyModel
from wethink.models.families.family import EOS, MERGE, PAD, ROLES, SPECIAL
from wethink.models.families.known import FAMILIES
from wethink.rewards.grammars import TAGS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Qwen2VLImageProcessorPil

JOINER = "\u2060"  # before a character that goes on with a word: Unicode's word joiner, which no text here holds


def words(texts: Iterable[str], most: int | None = None) -> list[str]:
    """Return the sorted vocabulary of `texts`: words and punctuation, or the `most` frequent of them.

    The split is the tokenizer's.
    """
    import re
    from collections import Counter

    found: Counter[str] = Counter()
    for text in texts:
        found.update(re.findall(r"\w+|[^\w\s]+", text))
    return sorted(sorted(found, key=lambda word: (-found[word], word))[:most])


def build_tokenizer(
    vocabulary: Iterable[str],
    marks: Sequence[str] = TAGS,
    with_spelling: bool = False,
    family: Family = "qwen2_5_vl",
) -> "PreTrainedTokenizerBase":
    """Build a tokenizer of whole words with Qwen's special tokens, or the family's own.

    Each of the response format's marks is one token. An unknown word is `<unk>` or, `with_spelling`, its characters; a
    character that no word of the vocabulary has is its bytes, so that nothing is unknown.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    if build := FAMILIES[family].tokenizer:
        return build(vocabulary, marks)
    vocabulary = list(vocabulary)
    tokens = [*SPECIAL, *marks, *ROLES, "<unk>", *vocabulary]
    if with_spelling:
        signs = sorted({*"".join(vocabulary), *map(chr, range(33, 127))})
        tokens += [*signs, *(JOINER + sign for sign in signs), *(f"<0x{byte:02X}>" for byte in range(256))]
    index = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    if with_spelling:
        # Without merges and with `ignore_merges`, BPE knows whole words and else spells.
        spelled = models.BPE(
            index, [], unk_token="<unk>", continuing_subword_prefix=JOINER, byte_fallback=True, ignore_merges=True
        )
        core = Tokenizer(spelled)
        core.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.WordPiece(JOINER, cleanup=False), decoders.Replace(JOINER, "")]
        )
    else:
        core = Tokenizer(models.WordLevel(index, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    core.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in marks])  # kept when decoding
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        eos_token=EOS,
        unk_token="<unk>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def build_image_processor(size: int, family: Family = "qwen2_5_vl") -> "Qwen2VLImageProcessorPil":
    """Build Qwen's image processor for size × size images; mid-grey becomes zero."""
    from transformers import Qwen2VLImageProcessorPil

    pixels = size * size
    return Qwen2VLImageProcessorPil(
        size={"shortest_edge": pixels, "longest_edge": pixels},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
        patch_size=FAMILIES[family].patch,
        merge_size=MERGE,
        temporal_patch_size=2,
    )


def build_model(shape: TinyModel, tokenizer: "PreTrainedTokenizerBase", seed: int) -> "PreTrainedModel":
    """Build a randomly initialised fp32 model; the same seed gives the same bytes."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    special = {"bos_token_id": ids[PAD], "eos_token_id": ids[EOS], "pad_token_id": ids[PAD]}
    family = FAMILIES[shape.family]
    config = AutoConfig.for_model(
        shape.family,
        text_config=family.text_config(shape) | {"vocab_size": -(-len(tokenizer) // 64) * 64} | special,
        vision_config=family.vision_config(shape),
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
        initializer_range=shape.initializer_range,
        attn_implementation="sdpa",
    )
    torch.manual_seed(seed)
    model: PreTrainedModel = AutoModelForImageTextToText.from_config(config)
    model.generation_config.update(do_sample=False, max_new_tokens=64, **special)
    return model
