"""Weights and optimizer state of a DeepSpeed engine by parameter name, for any number of ranks and any ZeRO stage.

DeepSpeed lays them out by ZeRO stage, number of ranks and optimizer. Its universal checkpoint knows neither ZeRO-0 nor
Muon, and `safe_set_full_fp32_param` takes no value at ZeRO-3 whose size the ranks do not divide; so the layouts are
read and written here: each rank's elements of a tensor are views of DeepSpeed's own.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn

from wethink.training.engine import set_weight
from wethink.training.ranks import all_sum

WEIGHT, MOMENTUM, MOMENTS = "weight", "momentum_buffer", ("exp_avg", "exp_avg_sq")  # as PyTorch and DeepSpeed name them


@dataclass(frozen=True)
class Share:
    """Elements of a tensor that this rank holds."""

    values: Tensor  # a view of what DeepSpeed holds, contiguous elements of the tensor
    first: int  # the place of the first of them in the flat tensor
    is_copy: bool = False  # another rank has them, too, and gives them out


def update_count(engine: Any) -> int:
    """Return how many updates Adam has made; Muon does not count its own."""
    return max((int(state["step"]) for state in _base(engine).state.values() if "step" in state), default=0)


def whole_state(engine: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield every trained weight and its moments, whole and in fp32, named `<kind>/<parameter>`.

    A collective call: all ranks must take every item. Names and values depend on neither world nor ZeRO stage.
    """
    updates = update_count(engine)
    for name, p in _trained(engine):
        for kind in (WEIGHT, *_moments(engine, p, updates)):
            yield f"{kind}/{name}", _gather(engine, p, _share(engine, p, kind))


def set_state(engine: Any, read: Callable[[str], Tensor], updates: int) -> None:
    """Set what `whole_state` yielded, perhaps in another world or at another ZeRO stage; a collective call.

    Args:
        read: returns a tensor by its name.
        updates: Adam's count of updates.
    """
    _create_moments(engine, updates)
    for name, p in _trained(engine):
        for kind in (WEIGHT, *_moments(engine, p, updates)):
            whole = read(f"{kind}/{name}").to(engine.device)
            if kind == WEIGHT:
                set_weight(engine, p, whole)
            if share := _share(engine, p, kind):
                mine = whole.flatten().narrow(0, share.first, share.values.numel())
                share.values.copy_(mine.view_as(share.values))


def _trained(engine: Any) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in engine.module.named_parameters() if p.requires_grad]


def _base(engine: Any) -> Any:
    """Return the optimizer that updates the tensors of this rank and has their moments."""
    return engine.optimizer.optimizer if engine.zero_optimization_stage() else engine.optimizer


def _moments(engine: Any, p: nn.Parameter, updates: int) -> tuple[str, ...]:
    """Return the kinds of moments of a parameter; Adam has none before its first update."""
    if getattr(p, "use_muon", False) and any(group.get("use_muon") for group in engine.optimizer.param_groups):
        return (MOMENTUM,)
    return MOMENTS if updates else ()


def _gather(engine: Any, p: nn.Parameter, share: Share | None) -> Tensor:
    """Return a whole tensor in fp32 from the shares of all ranks; what no rank has is 0."""
    shape = getattr(p, "ds_shape", p.shape)  # ZeRO-3 leaves an empty tensor in place of a weight
    whole = torch.zeros(shape.numel(), dtype=torch.float32, device=engine.device)
    if share and not share.is_copy:
        whole.narrow(0, share.first, share.values.numel()).copy_(share.values.detach().flatten())
    if engine.zero_optimization_stage():
        # One rank's bits and zeros of the others: a sum of floats would turn -0.0 into 0.
        all_sum(whole.view(torch.int32))
    return whole.view(shape)


def _share(engine: Any, p: Any, kind: str) -> Share | None:
    """Return this rank's elements of a parameter's weight or moment, or None if it has none of them (yet)."""
    stage, optimizer = engine.zero_optimization_stage(), engine.optimizer
    if stage == 0:
        values = _values(engine, p, kind)
        return None if values is None else Share(values, 0)
    if stage == 3:
        group, start, count = optimizer.grad_position[optimizer.get_param_id(p)]
        first = engine.global_rank * count
        count = min(count, p.ds_numel - first)  # all ranks have equally many elements, the last ones of them padding
        values = _values(engine, optimizer.fp32_partitioned_groups_flat[group], kind)
        return None if values is None or count <= 0 else Share(values.narrow(0, start, count), first)
    if (mapping := p._hp_mapping) is None:
        return None
    group, here, there = mapping.param_group_index, mapping.hp_fragment_address, mapping.lp_fragment_address
    values = _values(engine, optimizer.single_partition_of_fp32_groups[group], kind)
    if values is None:
        return None
    if kind == MOMENTUM and not optimizer.cpu_offload:  # whole on each rank that updates some elements of the matrix
        before = takewhile(lambda other: other is not p, optimizer.params_in_partition[group])
        start = sum(other.numel() for other in before)
        return Share(values.narrow(0, start, p.numel()), 0, is_copy=there.start > 0)
    return Share(values.narrow(0, here.start, here.numel), there.start)


def _values(engine: Any, flat: Tensor, kind: str) -> Tensor | None:
    """Return a tensor that the optimizer updates, or its moment if there is one."""
    values: Tensor | None = flat if kind == WEIGHT else _base(engine).state.get(flat, {}).get(kind)
    return None if values is None else values.detach()


def _create_moments(engine: Any, updates: int) -> None:
    """Create the moments that PyTorch and DeepSpeed would at their first update."""
    base, stage, optimizer = _base(engine), engine.zero_optimization_stage(), engine.optimizer
    adam = getattr(base, "aux_optimizer", None) or base
    for i, (flat, group) in enumerate(_updated(engine)):
        if not group.get("use_muon"):
            if updates:
                count = torch.tensor(float(updates), device=flat.device if group.get("fused") else "cpu")
                base.state[flat] = {kind: torch.zeros_like(flat) for kind in MOMENTS}
                base.state[flat]["step"] = count if isinstance(adam, torch.optim.Adam) else updates
        elif stage == 0 or (stage < 3 and optimizer.cpu_offload):
            base.state[flat] = {MOMENTUM: torch.zeros_like(flat)}
        elif stage < 3:
            size = sum(p.numel() for p in optimizer.params_in_partition[i])
            base.state[flat] = {MOMENTUM: torch.zeros(size, dtype=flat.dtype, device=flat.device)}


def _updated(engine: Any) -> list[tuple[Tensor, dict[str, Any]]]:
    """Return the tensors that the optimizer updates on this rank, each with its group of parameters."""
    stage, optimizer = engine.zero_optimization_stage(), engine.optimizer
    groups = optimizer.param_groups
    if stage == 0:
        return [(p, group) for group in groups for p in group["params"]]
    if stage < 3:
        return list(zip(optimizer.single_partition_of_fp32_groups, groups, strict=True))
    flats = optimizer.fp32_partitioned_groups_flat
    return [(flat, groups[optimizer.sub_group_to_group_id[i]]) for i, flat in enumerate(flats)]
