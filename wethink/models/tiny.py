"""Tiny Qwen2.5-VL or Qwen3-VL, randomly initialised, with a vocabulary of whole words.

With it the tiny profile runs the code paths of the large models: the same model class, image tokens, M-RoPE positions,
chat template and special tokens.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from wethink.config.training import Family, TinyModel
from wethink.rewards.grammars import TAGS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen2VLImageProcessorPil

PAD, EOS = "<|endoftext|>", "<|im_end|>"
SPECIAL = (
    PAD,
    "<|im_start|>",
    EOS,
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
ROLES = ("system", "user", "assistant")
PATCH = {"qwen2_5_vl": 14, "qwen3_vl": 16}  # pixels
MERGE = 2
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
    vocabulary: Iterable[str], marks: Sequence[str] = TAGS, with_spelling: bool = False
) -> "PreTrainedTokenizerFast":
    """Build a tokenizer of whole words with Qwen's special tokens.

    Each of the response format's marks is one token. An unknown word is `<unk>` or, `with_spelling`, its characters; a
    character that no word of the vocabulary has is its bytes, so that nothing is unknown.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

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
        patch_size=PATCH[family],
        merge_size=MERGE,
        temporal_patch_size=2,
    )


def build_model(shape: TinyModel, tokenizer: "PreTrainedTokenizerFast", seed: int) -> "PreTrainedModel":
    """Build a randomly initialised fp32 model; the same seed gives the same bytes."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    special = {"bos_token_id": ids[PAD], "eos_token_id": ids[EOS], "pad_token_id": ids[PAD]}
    config = AutoConfig.for_model(
        shape.family,
        text_config=_text_config(shape) | {"vocab_size": -(-len(tokenizer) // 64) * 64} | special,
        vision_config=_vision_config(shape),
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


def _text_config(shape: TinyModel) -> dict[str, Any]:
    head_dim = shape.hidden_size // shape.num_attention_heads
    text: dict[str, Any] = {
        "hidden_size": shape.hidden_size,
        "intermediate_size": shape.intermediate_size,
        "num_hidden_layers": shape.num_hidden_layers,
        "num_attention_heads": shape.num_attention_heads,
        "num_key_value_heads": shape.num_key_value_heads,
        "max_position_embeddings": 512,
        "initializer_range": shape.initializer_range,
        "tie_word_embeddings": True,
        "rope_parameters": {
            "rope_type": "default",
            # M-RoPE gives an image's width the last frequencies. With the usual theta of 10,000 they rotate by
            # thousandths per token, and a tiny model cannot tell its 2 × 2 image tokens apart.
            "rope_theta": 20.0,
            "mrope_section": _contiguous(head_dim // 2),
        },
    }
    if shape.family == "qwen2_5_vl":
        return text | {"use_sliding_window": False}
    text["rope_parameters"] |= {"mrope_interleaved": True, "mrope_section": _interleaved(head_dim // 2)}
    return text | {"head_dim": head_dim}


def _vision_config(shape: TinyModel) -> dict[str, Any]:
    vision: dict[str, Any] = {
        "depth": shape.vision_depth,
        "hidden_size": shape.vision_hidden_size,
        "intermediate_size": 2 * shape.vision_hidden_size,
        "num_heads": 4,
        "out_hidden_size": shape.hidden_size,
        "patch_size": PATCH[shape.family],
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "initializer_range": shape.initializer_range,
    }
    if shape.family == "qwen2_5_vl":
        return vision | {"window_size": 112, "fullatt_block_indexes": [shape.vision_depth - 1]}
    return vision | {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}


def _contiguous(half: int) -> list[int]:
    """Return Qwen2.5's M-RoPE sections of `half` frequencies: temporal, height, width."""
    temporal = half // 4
    height = (half - temporal) // 2
    return [temporal, height, half - temporal - height]


def _interleaved(half: int) -> list[int]:
    """Return Qwen3's M-RoPE sections of `half` frequencies.

    They are interleaved: height and width take every third frequency each, so neither exceeds a third.
    """
    third = half // 3
    return [half - 2 * third, third, third]
