"""A model's shape and parameter counts from its config alone, on PyTorch's meta device."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json
from wethink.config.training import Base, Optim

KNOWN = Path(__file__).with_name("known_models.json")  # shapes as published, so that a plan needs no network
TINY_WORDS = 512  # of the tiny model's vocabulary, which is known only once there are rows


@dataclass(frozen=True)
class Shape:
    """Sizes of a model that memory and time depend on. Widths are in elements."""

    name: str
    family: str
    hidden: int
    layers: int
    query: int  # all heads' queries
    key: int  # all heads' keys; values are as wide
    heads: int
    inner: int  # of the MLP
    vocabulary: int
    context: int
    recurrent: int  # of the layers, Gated DeltaNet
    state_key: int  # of a recurrent layer, after repetition for the value heads: all heads together
    state_value: int
    state_heads: int
    convolved: int  # channels of its convolution
    patch: int  # pixels per side
    merge: int  # patches per side of an image token
    vision_hidden: int
    vision_layers: int
    vision_whole: int  # of them, attend to the whole image; others to windows
    vision_window: int  # patches of a window
    vision_inner: int
    vision_heads: int

    @property
    def attending(self) -> int:
        return self.layers - self.recurrent


@dataclass(frozen=True)
class Counts:
    """Parameters by part (language, vision, embeddings, head, lora), and the weights of matrix products."""

    weights: Mapping[str, int]
    trained: Mapping[str, int]
    language: int  # weights that one token is multiplied with, without head and adapters
    adapters: int
    vision: int  # weights that one patch is multiplied with
    merger: int  # weights that one image token is multiplied with, at the end of the vision tower
    head: int
    tensors: int  # number of parameter tensors
    largest: int  # elements of the largest one
    joined: int  # weights that the in-process sampler copies on a CPU (q, k, v and gate, up)

    @property
    def total(self) -> int:
        return sum(self.weights.values())

    @property
    def learned(self) -> int:
        return sum(self.trained.values())


def read_config(base: Base) -> tuple[Any, str]:
    """Read a model's Transformers config; return it with the model's name.

    `base.model` is `tiny`, a folder, a config.json, or a hub id that is in the local cache or in known_models.json.

    Raises:
        UserError: there is no such config, or no plan for it (another family, quantised, no vision part).
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from wethink.models.families.known import family_named

    if base.model == "tiny":
        assert base.tiny is not None  # the section's own validator
        return _tiny(base), "tiny"
    raw = _raw(base.model, base.revision)
    kind = str(raw.get("model_type", "unknown"))
    family_named(kind.removesuffix("_text"), base.model)
    if "vision_config" not in raw:
        raise UserError(f"the model '{base.model}' ({kind}) has no vision part; name a vision-language model.")
    if quantised := raw.get("quantization_config"):
        method = quantised.get("quant_method", "some method") if isinstance(quantised, dict) else quantised
        raise UserError(
            f"the model '{base.model}' is quantised ({method}), and quantised weights cannot be trained; name the "
            "original in 16 or 32 bits."
        )
    try:
        return CONFIG_MAPPING[kind].from_dict(raw), base.model
    except Exception as error:  # a library's validation of a hand-written file raises many types
        raise UserError(f"the config of '{base.model}' cannot be read: {str(error).splitlines()[0]}") from None


def _raw(model: str, revision: str | None) -> dict[str, Any]:
    path = Path(model)
    if path.is_dir():
        path = path / "config.json"
    if path.suffix == ".json" or path.exists():
        return _checked(read_json(path, "give a model's config.json"), model)
    known: dict[str, Any] = json.loads(KNOWN.read_text(encoding="utf-8"))
    cached = _cached(model, revision)
    if cached is None and model not in known:
        raise UserError(
            f"the config of '{model}' is neither on this machine nor among the known ones ({', '.join(known)}); "
            "download its config.json (a few kB) and give that file: wethink plan --model config.json."
        )
    return _checked(known[model] if cached is None else read_json(cached), model)


def _checked(raw: object, model: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise UserError(f"the config of '{model}' is no JSON object; give a model's config.json.")
    return dict(raw)


def _cached(model: str, revision: str | None) -> Path | None:
    """Return the path of a hub model's config.json in the local cache; nothing is downloaded."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(hf_hub_download(model, "config.json", revision=revision, local_files_only=True))
    except (OSError, HFValidationError):  # not in the cache; no name of a hub model
        return None


def _tiny(base: Base) -> Any:
    from transformers import AutoConfig

    from wethink.models.families.known import FAMILIES

    assert base.tiny is not None
    family = FAMILIES[base.tiny.family]
    return AutoConfig.for_model(
        base.tiny.family,
        text_config=family.text_config(base.tiny)
        | {"vocab_size": TINY_WORDS}
        | dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), 0),
        vision_config=family.vision_config(base.tiny),
        tie_word_embeddings=True,
    )


def shape_of(config: Any, name: str) -> Shape:
    """Read the sizes from a Transformers config."""
    text, vision = config.get_text_config(), config.vision_config
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    kinds = getattr(text, "layer_types", None) or []
    recurrent = sum(kind == "linear_attention" for kind in kinds)
    heads = text.linear_num_value_heads if recurrent else 0
    keys = text.linear_num_key_heads * text.linear_key_head_dim if recurrent else 0
    values = heads * text.linear_value_head_dim if recurrent else 0
    whole = getattr(vision, "fullatt_block_indexes", None)
    merged = vision.patch_size * vision.spatial_merge_size
    window = getattr(vision, "window_size", None)
    return Shape(
        name=name,
        family=config.model_type,
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        query=text.num_attention_heads * width,
        key=text.num_key_value_heads * width,
        heads=text.num_attention_heads,
        inner=text.intermediate_size,
        vocabulary=text.vocab_size,
        context=text.max_position_embeddings,
        recurrent=recurrent,
        state_key=heads * text.linear_key_head_dim if recurrent else 0,
        state_value=values,
        state_heads=heads,
        convolved=2 * keys + values,
        patch=vision.patch_size,
        merge=vision.spatial_merge_size,
        vision_hidden=vision.hidden_size,
        vision_layers=vision.depth,
        vision_whole=vision.depth if whole is None else len([i for i in whole if i < vision.depth]),
        vision_window=(window // merged * vision.spatial_merge_size) ** 2 if window else 0,
        vision_inner=vision.intermediate_size,
        vision_heads=vision.num_heads,
    )


def count(config: Any, optim: Optim, name: str) -> Counts:
    """Build the model on the meta device, shape what is trained as an engine does, and count.

    Raises:
        UserError: no model can be built from the config, or `optim` freezes everything.
    """
    import torch
    from transformers import AutoModelForImageTextToText

    from wethink.training.engine import shape_trainable

    try:
        with torch.device("meta"):
            model: Any = AutoModelForImageTextToText.from_config(config, attn_implementation="sdpa")
    except Exception as error:  # whatever a model's constructor raises for sizes that do not fit together
        raise UserError(
            f"no model can be built from the config of '{name}': {str(error).strip().splitlines()[0]}"
        ) from None
    joined = sum(
        module.weight.numel()
        for path, module in model.named_modules()
        if "language_model" in path.split(".")
        and path.rsplit(".", 1)[-1] in ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
    )
    whole = optim.lora and optim.lora.model_copy(update={"load_in_4bit": False})  # weights are counted, none is packed
    shape_trainable(model, optim.model_copy(update={"gradient_checkpointing": False, "lora": whole}))
    weights, trained = dict.fromkeys(PARTS, 0), dict.fromkeys(PARTS, 0)
    sizes = []
    for path, parameter in model.named_parameters():
        weights[part_of(path)] += parameter.numel()
        trained[part_of(path)] += parameter.numel() * parameter.requires_grad
        sizes.append(parameter.numel())
    products = dict.fromkeys((*PARTS, "merger"), 0)
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv3d):
            part = part_of(path)
            products["merger" if part == "vision" and "merger" in path else part] += module.weight.numel()
    return Counts(
        weights=weights,
        trained=trained,
        language=products["language"],
        adapters=products["lora"],
        vision=products["vision"],
        merger=products["merger"],
        head=int(model.lm_head.weight.numel()),
        tensors=len(sizes),
        largest=max(sizes),
        joined=0 if optim.lora else joined,
    )


PARTS = ("language", "vision", "embeddings", "head", "lora")


def part_of(path: str) -> str:
    """Return the part that a parameter or module belongs to, from its name."""
    names = path.split(".")
    if any(name.startswith("lora_") for name in names):
        return "lora"
    if "visual" in names:
        return "vision"
    if "embed_tokens" in names:
        return "embeddings"
    return "head" if "lm_head" in names else "language"
