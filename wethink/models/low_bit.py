"""4-bit weights under LoRA adapters (QLoRA, arXiv 2305.14314), through bitsandbytes.

It runs on CPUs and CUDA devices alike. What is published is never quantised: the adapters are merged into the values
that the 4-bit weights stand for, which are those that they were trained on.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn


@contextlib.contextmanager
def four_bit_linears(model: nn.Module, targets: Sequence[str]) -> Iterator[None]:
    """Quantise the named linear layers to NF4 in place; adapters that PEFT adds within the block know it."""
    for name in targets:
        home, _, own = name.rpartition(".")
        setattr(model.get_submodule(home), own, _in_four_bits(model.get_submodule(name)))
    marked: Any = model
    marked.is_loaded_in_4bit = True  # PEFT's sign
    try:
        yield
    finally:
        del marked.is_loaded_in_4bit


def _in_four_bits(layer: Any) -> Any:
    """Return a linear layer with the same weights in NF4, its statistics in 8 bits."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    packed = Linear4bit(layer.in_features, layer.out_features, layer.bias is not None, quant_type="nf4")
    packed.support_avx512bf16_for_cpu = False  # it would lay the weights out anew while the policy samples
    packed.bias = layer.bias
    packed.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", module=packed)
    return packed.to(layer.weight.device).train(layer.training)  # the move quantises


def plain_weight(layer: Any, weight: Tensor) -> Tensor:
    """Return the values of an adapted layer's own weight; `weight` as it is unless the layer is in 4 bits."""
    packed = layer.base_layer.weight
    if getattr(packed, "quant_state", None) is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    values: Tensor = dequantize_4bit(packed.data, packed.quant_state)
    return values.detach().cpu()
