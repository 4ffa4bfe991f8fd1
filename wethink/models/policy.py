"""Policy checkpoints: weights and processor, loaded from and saved to a Transformers folder."""

import copy
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from wethink.common.errors import UserError
from wethink.config.response_format import ResponseFormat
from wethink.data.schema import problem_parts
from wethink.models.families.known import FAMILIES, family_named, use_fast_paths
from wethink.rewards.format import opened, shape

OWN_FILES = ("preprocessor_config.json", "video_preprocessor_config.json")  # published as they were loaded


@dataclass(frozen=True)
class Processor:
    """Tokenizer and image processor, loaded separately to avoid torchvision."""

    tokenizer: Any
    image_processor: Any
    files: Mapping[str, bytes] = field(default_factory=dict, compare=False)  # `OWN_FILES` as they were loaded

    @property
    def image_token_id(self) -> int:
        return int(self.tokenizer.convert_tokens_to_ids("<|image_pad|>"))

    @property
    def banned(self) -> list[int]:
        """Tokens never to be generated: image and video placeholders (R1-V #91)."""
        return [int(self.tokenizer.convert_tokens_to_ids(token)) for token in ("<|image_pad|>", "<|video_pad|>")]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return tuple({int(self.tokenizer.eos_token_id), int(self.tokenizer.pad_token_id)})

    def pixels(self, images: Sequence[Image.Image]) -> tuple[Tensor, Tensor]:
        """Convert images to patches [ΣP, C·T·p·p] and grids [n, 3].

        A grid is (temporal, height, width) in patches of side p = 14 or 16.
        """
        features = self.image_processor(images=list(images), return_tensors="pt")
        return features["pixel_values"], features["image_grid_thw"]

    def prompt_ids(self, problem: str, grids: Sequence[Sequence[int]], system: str | None = None) -> list[int]:
        """Tokenize a question with its images, one grid each; expand the image placeholders.

        Images stand at the question's `<image>`, or before it. A placeholder is repeated once per merged image token.
        `system=None` means the template's own system prompt (think, then answer); "" means none at all.

        Raises:
            ValueError: the question contains a model's image placeholder, or `<image>` other than once per image.
        """
        content = [
            {"type": "image"} if part is None else {"type": "text", "text": part}
            for part in problem_parts(problem, len(grids))
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if system is not None:
            messages.insert(0, {"role": "system", "content": system})
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        merged = self.image_processor.merge_size**2
        first, *others = text.split("<|image_pad|>")
        for grid, after in zip(grids, others, strict=True):  # raises if the question contains a placeholder
            first += "<|image_pad|>" * (int(np.prod(grid)) // merged) + after
        return list(self.tokenizer(first, add_special_tokens=False)["input_ids"])

    def text_ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def turn_ids(self, problem: str) -> list[int]:
        """Tokenize a later user turn and the header of its answer.

        The turn before it must end with its stop token.
        """
        messages = [{"role": "system", "content": ""}, {"role": "user", "content": problem}]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return self.text_ids("\n" + text)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def unknown_words(self, text: str) -> list[str]:
        """List the words outside a word-level vocabulary; [] for other tokenizers."""
        unknown = self.tokenizer.unk_token_id
        if unknown is None:
            return []
        return [word for word in text.split() if unknown in self.tokenizer(word, add_special_tokens=False)["input_ids"]]


def load_processor(folder: Path | str, revision: str | None = None) -> Processor:
    """Load tokenizer and image processor from a folder or hub id.

    Raises:
        UserError: the chat template is no valid Jinja.
    """
    from jinja2 import TemplateError
    from transformers import AutoImageProcessor, AutoTokenizer
    from transformers.utils import cached_file

    tokenizer = AutoTokenizer.from_pretrained(folder, revision=revision)
    try:
        if tokenizer.chat_template:
            tokenizer.apply_chat_template([{"role": "user", "content": "?"}], tokenize=False)
    except TemplateError as error:
        raise UserError(
            f"the chat template of the model '{folder}' cannot be read: {error}. Copy its chat_template.jinja again."
        ) from None
    found = {
        name: cached_file(folder, name, revision=revision, _raise_exceptions_for_missing_entries=False)
        for name in OWN_FILES
    }
    return Processor(
        tokenizer,
        AutoImageProcessor.from_pretrained(folder, revision=revision, backend="pil"),
        {name: Path(path).read_bytes() for name, path in found.items() if path},
    )


def load_model(folder: Path | str, revision: str | None = None, dtype: torch.dtype | None = torch.float32) -> nn.Module:
    """Load weights from a folder or hub id (safetensors only), fast paths enabled.

    In the checkpoint's own precision (`dtype=None`, or the same) they are the mapped file: all processes of a machine
    hold them once, until one writes to them.

    Raises:
        UserError: there is no such folder and no such model in the local hub cache; its model type is not in
            `FAMILIES`; its weights are quantised; or tensors are missing (Transformers would initialise them randomly).
    """
    from transformers import AutoConfig, AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()  # one bar per stage is enough
    try:
        config = AutoConfig.from_pretrained(folder, revision=revision)
        family_named(config.model_type, folder)
        if quantised := getattr(config, "quantization_config", None):
            method = quantised.get("quant_method", "some method") if isinstance(quantised, dict) else quantised
            raise UserError(
                f"the model '{folder}' is quantised ({method}), and quantised weights cannot be trained; name the "
                "original in 16 or 32 bits."
            )
        model: nn.Module
        model, found = AutoModelForImageTextToText.from_pretrained(
            folder,
            revision=revision,
            dtype=dtype or "auto",
            use_safetensors=True,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:  # not found; unknown type; mismatched shapes
        raise UserError(
            f"cannot load the model '{folder}': {str(error).strip().splitlines()[0]} "
            "Name a checkpoint folder, or a hub id that this machine can reach."
        ) from None
    if missing := sorted(found["missing_keys"]):
        raise UserError(
            f"the model '{folder}' lacks {len(missing)} of its tensors, the first is {missing[0]}; copy the "
            "whole folder again, or name another."
        )
    use_fast_paths(model)
    return model


def save_policy(
    model: nn.Module, state: dict[str, Tensor] | None, processor: Processor, folder: Path, card: str
) -> None:
    """Write a checkpoint folder that plain Transformers and vLLM load.

    It holds weights, processor, chat template and model card. `state=None` saves the model's own weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, state_dict=state)  # type: ignore[operator]
    save_processor(processor, folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def save_config(model: Any, state: dict[str, Tensor], folder: Path, untie: bool) -> dict[str, Tensor]:
    """Write the config for an inference engine, and return the weights that belong to it, under plain names.

    `untie` makes of a tied head a tensor of its own.
    """
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__]
    if untie and config.get_text_config().tie_word_embeddings:
        config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = False
        embeddings = next(name for name, p in model.named_parameters() if p is model.get_input_embeddings().weight)
        state = state | {"lm_head.weight": state[embeddings].clone()}
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    return {name: value.detach().contiguous() for name, value in state.items()}


def save_processor(processor: Processor, folder: Path) -> None:
    """Write the complete processor beside an existing config.json."""
    processor.tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    complete_processor_files(folder)
    for name, content in processor.files.items():  # byte for byte: the model's own
        (folder / name).write_bytes(content)


def complete_processor_files(folder: Path) -> None:
    """Add the stock processor classes and the video preprocessor to a saved processor.

    AutoProcessor reads them where torchvision is installed, as in vLLM's environment.
    """
    model_type = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    family = FAMILIES[model_type]
    image = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    image["processor_class"] = family.processor
    (folder / "preprocessor_config.json").write_text(
        json.dumps(image, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    video = {
        key: image[key]
        for key in ("image_mean", "image_std", "patch_size", "merge_size", "temporal_patch_size", "size")
    }
    video |= {"video_processor_type": family.video_processor, "processor_class": family.processor}
    path = folder / "video_preprocessor_config.json"
    path.write_text(json.dumps(video, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    path = folder / "tokenizer_config.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8")) | {"processor_class": family.processor}
    path.write_text(json.dumps(tokenizer, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def written_before(tokenizer: Any) -> str:
    """Return what a chat template writes between the assistant's header and the response."""
    messages = [{"role": "user", "content": "?"}]
    asked = [
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=more) for more in (False, True)
    ]
    return str(asked[1].removeprefix(asked[0]).rpartition("assistant\n")[2])


def continues(written: str, form: ResponseFormat) -> bool:
    """Tell whether a response in this format can go on from what the template has written.

    A thought that was opened and closed empty is a model's own way to say that it does not think: any format that opens
    nothing can follow it.
    """
    return written == opened(form) or (not opened(form) and re.fullmatch(r"<think>\s*</think>\s*", written) is not None)


def check_template(processor: Processor, form: ResponseFormat, folder: Path) -> None:
    """Check that a checkpoint's chat template opens what `rewards.format` says.

    Raises:
        UserError: it was made for another format.
    """
    written = written_before(processor.tokenizer)
    if not continues(written, form):
        raise UserError(
            f"the chat template of {folder} opens {written!r} before a response, but rewards.format '{form.kind}' "
            f"needs {opened(form)!r}; make the checkpoint anew with `python -m wethink base`, or set rewards.format to "
            "its own."
        )


def model_card(stage: str, model: str, form: ResponseFormat) -> str:
    """Return a short model card in the hub's format."""
    return f"""---
library_name: transformers
pipeline_tag: image-text-to-text
tags: [wethink, {stage}]
---
# WeThink `{stage}` checkpoint

Started from: `{model}`. Published by the `{stage}` stage of the WeThink pipeline (arXiv 2506.07905).

The chat template carries the system prompt: {shape(form)}.
Load it with `AutoModelForImageTextToText` and `AutoProcessor`, serve it with vLLM, or ask:

    python -m wethink ask --model FOLDER --image FILE --question "..."

`curves.csv` has the training curves, `manifest.json` the hash of every file.
"""
