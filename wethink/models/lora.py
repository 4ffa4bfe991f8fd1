"""LoRA adapters (arXiv 2106.09685, PEFT) in the language model, merged at publication.

The vision tower and the head get none: vLLM cannot serve adapters there, and EasyR1 excludes them too.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

from wethink.config.training import Lora
from wethink.models.families.known import FAMILIES


def add_adapters(model: nn.Module, lora: Lora) -> None:
    """Add adapters to every linear layer of the language model, in place.

    All other parameters are frozen. Module names and classes stay (the policy is not wrapped); a new adapter changes no
    output.
    """
    from peft import LoraConfig, inject_adapter_in_model

    targets = FAMILIES[str(cast(Any, model).config.model_type)].lora_targets(model)
    inject_adapter_in_model(
        LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets), model
    )
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def adapters(model: nn.Module) -> list[Any]:
    """List the layers that carry an adapter."""
    return [module for module in model.modules() if is_adapted(module)]


def is_adapted(module: Any) -> bool:
    return hasattr(module, "lora_A") and hasattr(module, "base_layer")


@contextlib.contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Disable all adapters within the block: the policy as before training."""
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
    """Merge adapters into plain weights: W + α/r · B A.

    `raw` holds the tensors under the names that PEFT gave them; the result has the names of a plain checkpoint.
    """
    plain = {name.replace(".base_layer.", "."): value for name, value in raw.items() if "lora_" not in name}
    for name, layer in model.named_modules():
        if is_adapted(layer):
            (adapter,) = layer.scaling
            a, b = (raw[f"{name}.lora_{letter}.{adapter}.weight"].float() for letter in "AB")
            weight = plain[f"{name}.weight"]
            plain[f"{name}.weight"] = (weight.float() + layer.scaling[adapter] * (b @ a)).to(weight.dtype)
    return plain
