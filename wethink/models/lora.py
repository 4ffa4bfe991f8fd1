"""LoRA through PEFT: low-rank adapters in the language model, merged again when a policy is published.

The vision tower and the head get none: vLLM cannot serve adapters there, and EasyR1 excludes them too.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from wethink.config.training import Lora


def add_adapters(model: nn.Module, lora: Lora) -> None:
    """Put adapters into every linear layer of the language model, in place; everything else is frozen.

    Module names and classes stay (the policy is not wrapped); a new adapter changes no output.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and "language_model" in name.split(".")
    ]
    inject_adapter_in_model(
        LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets), model
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def adapters(model: nn.Module) -> list[Any]:
    """The layers that carry an adapter."""
    return [module for module in model.modules() if is_adapted(module)]


def is_adapted(module: Any) -> bool:
    return hasattr(module, "lora_A") and hasattr(module, "base_layer")


@contextlib.contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """The policy as it was before training: every adapter scaled to nothing for the time of the block."""
    layers = adapters(model)
    scales = [dict(layer.scaling) for layer in layers]
    for layer in layers:
        layer.scaling = dict.fromkeys(layer.scaling, 0.0)
    try:
        yield
    finally:
        for layer, scale in zip(layers, scales, strict=True):
            layer.scaling = scale


def merge(model: nn.Module, raw: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under plain names, W + α/r · B A, from the weights under the names that adapters gave them."""
    plain = {name.replace(".base_layer.", "."): value for name, value in raw.items() if "lora_" not in name}
    for name, layer in model.named_modules():
        if is_adapted(layer):
            (adapter,) = layer.scaling
            a, b = (raw[f"{name}.lora_{letter}.{adapter}.weight"].float() for letter in "AB")
            weight = plain[f"{name}.weight"]
            plain[f"{name}.weight"] = (weight.float() + layer.scaling[adapter] * (b @ a)).to(weight.dtype)
    return plain
