"""Table of the known model families, and their classes swapped into a model."""

from typing import Any

from torch import nn

from wethink.common.errors import UserError
from wethink.models.families import qwen2_5_vl, qwen3_5, qwen3_vl
from wethink.models.families.family import ModelFamily
from wethink.models.packing import use_packed_attention

FAMILIES = {family.name: family for family in (qwen2_5_vl.FAMILY, qwen3_vl.FAMILY, qwen3_5.FAMILY)}
SWAPS = {stock: fast for family in FAMILIES.values() for stock, fast in family.vision.items()}


def family_named(kind: str, model: object) -> ModelFamily:
    """Look up the family of a model type; `model` is its name for the message.

    Raises:
        UserError: no law holds for this type here.
    """
    if kind not in FAMILIES:
        raise UserError(f"the model '{model}' is of type '{kind}'; those that work here are: {', '.join(FAMILIES)}.")
    return FAMILIES[kind]


def use_fast_paths(model: nn.Module) -> None:
    """Swap the classes of known vision towers in place; leave other modules alone."""
    _swap(model, SWAPS)


def use_packing(model: Any) -> None:
    """Prepare a model for `packing=Layout(…)`: packed attention, and recurrent layers that follow the layout.

    Call it before any forward pass with a layout: other layers ignore the layout, and tokens see other sequences. The
    published checkpoint is unchanged.
    """
    use_packed_attention(model)
    _swap(model, FAMILIES[model.config.model_type].packed)


def _swap(model: nn.Module, classes: dict[type, type]) -> None:
    for module in model.modules():
        if type(module) in classes:
            module.__class__ = classes[type(module)]
