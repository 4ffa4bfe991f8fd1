"""LoRA adapters (arXiv 2106.09685, PEFT) in the language model, published merged and as PEFT's adapter.

The head gets none, and the vision tower only on demand: vLLM serves merged weights, but no adapter of the tower, and
EasyR1 excludes it too.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from wethink.config.training import Lora
from wethink.models.families.known import FAMILIES
from wethink.models.low_bit import four_bit_linears, plain_weight
from wethink.models.policy import Processor, save_policy


def add_adapters(model: nn.Module, lora: Lora) -> None:
    """Add adapters to every linear layer of the language model, and with `lora.vision` of the tower, in place.

    All other parameters are frozen. Module names and classes stay (the policy is not wrapped); a new adapter changes no
    output.
    """
    from peft import inject_adapter_in_model

    config = _peft_config(model, lora)
    with four_bit_linears(model, config.target_modules) if lora.load_in_4bit else contextlib.nullcontext():
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def _peft_config(model: nn.Module, lora: Lora) -> Any:
    from peft import LoraConfig

    targets = FAMILIES[str(cast(Any, model).config.model_type)].lora_targets(model)
    if lora.vision:
        targets += [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and "visual" in name.split(".")
        ]
    return LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=targets)


def save_trained(
    model: nn.Module, raw: dict[str, Tensor] | None, lora: Lora | None, processor: Processor, folder: Path, card: str
) -> None:
    """Write the policy with its adapters merged, and the adapters by themselves to `folder/adapter`.

    `raw` as in `merge`; None: the model's own weights, without adapters.
    """
    save_policy(model, merge(model, raw) if raw else None, processor, folder, card)
    if lora and raw:
        save_adapter(model, raw, lora, folder / "adapter")


def save_adapter(model: nn.Module, raw: Mapping[str, Tensor], lora: Lora, folder: Path) -> None:
    """Write the adapters as PEFT loads them onto the checkpoint that training began from; `raw` as in `merge`."""
    from safetensors.torch import save_file

    config, found = _peft_config(model, lora), dict[str, Tensor]()
    for name, layer in model.named_modules():
        if is_adapted(layer):
            (adapter,) = layer.scaling
            for letter in "AB":
                key = f"base_model.model.{name}.lora_{letter}.weight"
                found[key] = raw[f"{name}.lora_{letter}.{adapter}.weight"].detach().cpu().contiguous()
    config.base_model_name_or_path, config.inference_mode = str(cast(Any, model).config._name_or_path), True
    config.target_modules = sorted({key.removeprefix("base_model.model.").rpartition(".lora_")[0] for key in found})
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_file(found, folder / "adapter_model.safetensors", {"format": "pt"})


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
            weight = plain_weight(layer, plain[f"{name}.weight"])
            plain[f"{name}.weight"] = (weight.float() + layer.scaling[adapter] * (b @ a)).to(weight.dtype)
    return plain
