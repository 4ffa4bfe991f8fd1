"""bitsandbytes: 4-bit weights under LoRA (QLoRA, arXiv 2305.14314), AdamW with 8-bit moments (arXiv 2110.02861).

It runs on CPUs and CUDA devices alike. What is published is never quantised: the adapters are merged into the values
that the 4-bit weights stand for, which are those that they were trained on.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from wethink.config.training import Optim


@contextlib.contextmanager
def four_bit_linears(model: nn.Module, targets: Sequence[str]) -> Iterator[None]:
    """Quantise the named linear layers to NF4 in place; adapters that PEFT adds within the block know it."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for name in targets:
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        packed = Linear4bit(layer.in_features, layer.out_features, layer.bias is not None, quant_type="nf4")
        packed.bias = layer.bias
        packed.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
        packed.to(layer.weight.device)  # the move quantises
        home, _, own = name.rpartition(".")
        setattr(model.get_submodule(home), own, packed.train(layer.training))
    marked: Any = model
    marked.is_loaded_in_4bit = True  # PEFT's sign
    try:
        yield
    finally:
        del marked.is_loaded_in_4bit


def plain_weight(layer: Any, weight: Tensor) -> Tensor:
    """Return the values of an adapted layer's own weight; `weight` as it is unless the layer is in 4 bits."""
    packed = layer.base_layer.weight
    if getattr(packed, "quant_state", None) is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    values: Tensor = dequantize_4bit(packed.data, packed.quant_state)
    return values.detach().cpu()


def adam_8bit(trainable: Sequence[nn.Parameter], optim: Optim) -> Any:
    """Build AdamW with moments of 8 bits in blocks of 256 (small tensors keep 32)."""
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(trainable, lr=optim.lr, betas=optim.betas, weight_decay=optim.weight_decay)
