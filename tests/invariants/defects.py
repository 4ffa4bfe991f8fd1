"""Planted defects of the advantages: the statistics of other rewards than the group's own."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tests.invariants.invariant import planted
from wethink.rl import objective

CENTRE = "wethink.rl.objective.centre"


@dataclass(frozen=True)
class Defect:
    """Planted defect: the replacement of a function or number by name, and its title in the law's report."""

    name: str
    target: str
    replacement: Any


def named(defects: Iterable[Defect], mutant: str) -> Defect | None:
    """The defect of that name; None for "": nothing is planted."""
    return {defect.name: defect for defect in defects}[mutant] if mutant else None


def planted_defect(defect: Defect | None) -> AbstractContextManager[None]:
    return planted(defect, defect.target if defect else "", defect.replacement if defect else None)


_centre, _group, _components = objective.centre, objective.group_advantages, objective.component_advantages


def _population(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    centred, std = _centre(values, known)  # [B, G], [B, 1]
    count = known.sum(dim=1, keepdim=True)  # [B, 1]
    return centred, std * ((count - 1).clamp(min=0) / count.clamp(min=1)).sqrt()


def _on_the_batch(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    _, std = _centre(values, known)
    mean = values[known.bool()].mean() if known.any() else 0.0  # scalar
    return (values - mean) * known * (std > 0), std


def _on_another_group(values: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    _, std = _centre(values, known)
    mean = (values * known).sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp(min=1)  # [B, 1]
    return (values - mean.roll(1, 0)) * known, std.roll(1, 0)


def _group_std(rewards: Tensor, known: Tensor, mode: str) -> Tensor:
    return _group(rewards, known, "group" if mode == "batch" else mode)  # type: ignore[arg-type]


def _no_batch_std(components: Any, weights: Any, known: Tensor, mode: str) -> Tensor:
    return _components(components, weights, known, "group")


POPULATION_STD = Defect("population std instead of n − 1", CENTRE, _population)
BATCH_MEAN = Defect("centred on the batch's mean", CENTRE, _on_the_batch)
OTHER_GROUP = Defect("centred and scaled by another group's mean and std", CENTRE, _on_another_group)
GROUP_STD = Defect("the group's std instead of the batch's", "wethink.rl.rollouts.group_advantages", _group_std)
NO_BATCH_STD = Defect(
    "components are not scaled by the batch's std", "wethink.rl.rollouts.component_advantages", _no_batch_std
)
NOT_THE_GROUPS = (BATCH_MEAN, OTHER_GROUP)  # GRPO's defining property: a reward is compared with its own group's
