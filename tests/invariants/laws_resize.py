"""Resume invariant: at another number of ranks and ZeRO stage a run goes on as if it had always run there."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from safetensors.numpy import load_file

from tests.invariants import gradients
from tests.invariants.invariant import Law, hold, planted
from tests.invariants.laws_resume import forgets, set_state
from tests.invariants.workshop import build, told
from tests.invariants.worlds import in_world
from tests.support.miniature import policy, taught
from wethink.config.launch import Launch
from wethink.config.training import Lora
from wethink.models.logprobs import CompletionLogProbs
from wethink.rl.rollouts import Group
from wethink.rl.update import Policies, accumulate_gradients
from wethink.training import checkpoints, optimizer_state
from wethink.training.engine import build_engine, optimizer_step
from wethink.training.ranks import join

Size = tuple[int, tuple[int, ...]]  # ZeRO stage, and how many groups each rank has
State = dict[str, np.ndarray]

UPDATES, SAVED = 3, 2
EPS = (
    0.1  # about as large as the gradients: both moments and the count of updates matter, and rounding is not magnified
)
FP32 = 3e-5  # per tensor, in units of its largest entry, after three updates: the gradient law's 1e-5 of each
MUON = 1e-3  # norm of the difference over the norm: Newton-Schulz magnifies the rounding of small singular values


@dataclass(frozen=True)
class Kind:
    """A way to train, and how far from the undisturbed run it may end; None: it rounds too coarsely to tell."""

    name: str
    changes: dict[str, Any]
    distance: Callable[[State, State], float] = gradients.furthest
    bound: float | None = FP32
    bf16: bool = False
    offload: bool = False

    __hash__ = object.__hash__


ADAM = Kind("Adam", {})
WITH_MUON = Kind("Muon", {"muon_lr": 1e-2}, gradients.length_apart, MUON)
LORA = Kind("LoRA", {"lora": Lora(rank=4, alpha=8)})
OFFLOADED = Kind("Adam offloaded", {}, offload=True)
IN_BF16 = Kind("Adam in bf16", {}, bound=None, bf16=True)


@cache
def groups() -> list[Group]:
    return gradients.groups()


def _train(kind: Kind, given: Launch, shares: tuple[int, ...], folder: Path, until: int) -> tuple[State, State, State]:
    """Go on from the checkpoint in the folder, if there is one, and save one if the run is not at its end.

    Returns:
        How far the weights have moved, and the whole state at the begin and at the end.
    """
    ranks, (state, made), (model, _) = join(given), taught(), policy()
    model.load_state_dict(state)
    torch.manual_seed(0)  # for new adapters
    config = gradients.settings(4)
    optim = config.optim.model_copy(update={"lr": EPS, "betas": (0.9, 0.95)} | kind.changes)
    who = checkpoints.identity(model, optim, given)
    engine = build_engine(
        CompletionLogProbs(model.to(torch.bfloat16) if kind.bf16 else model, made.banned), optim, given
    )
    start = _whole(engine)
    done, _ = checkpoints.restore_state(engine, folder, ranks, who)
    begun, first = _whole(engine), sum(shares[: ranks.rank])
    mine = groups()[first : first + shares[ranks.rank]]
    for step in range(done, until):
        accumulate_gradients(Policies(engine, None, made), mine, config, ranks)
        optimizer_step(engine, optim, step)
    if until < UPDATES:
        checkpoints.save_state(engine, folder, until, ranks, who, 1)
    ended = _whole(engine)
    moved = {name: ended[name] - value for name, value in start.items() if name.startswith("weight/")}
    return moved, begun, ended


def _whole(engine: Any) -> State:
    return {name: value.cpu().numpy().copy() for name, value in optimizer_state.whole_state(engine)}


def _launch(kind: Kind, zero: int) -> Launch:
    groups()  # before the ranks are forked: once, not in each of them
    folder = Path(tempfile.mkdtemp(prefix="resize-"))
    return gradients.launch(zero, folder, kind.bf16, kind.offload, eps=1e-8 if kind is WITH_MUON else EPS)


@cache
def saved(kind: Kind, there: Size) -> tuple[Path, State]:
    """A checkpoint after two updates, and what it must hold."""
    folder, (zero, shares) = Path(tempfile.mkdtemp(prefix="resize-")), there
    return folder, in_world(len(shares), _train, kind, _launch(kind, zero), shares, folder, SAVED)[0][2]


@cache
def undisturbed(kind: Kind, here: Size) -> State:
    """How far three updates at this size move the weights."""
    zero, shares = here
    nothing = Path(tempfile.mkdtemp(prefix="resize-"))
    moved: State = in_world(len(shares), _train, kind, _launch(kind, zero), shares, nothing, UPDATES)[0][0]
    return moved


def goes_on(mutant: str, *, kind: Kind, there: Size, here: Size) -> dict[str, float]:
    """The third update ends where that of the undisturbed run does, and begins with the saved bits."""
    (folder, state), (zero, shares) = saved(kind, there), here
    with planted(mutant, "wethink.training.checkpoints.set_state", DEFECTS.get(mutant)):
        ranks = in_world(len(shares), _train, kind, _launch(kind, zero), shares, folder, UPDATES)
    figures = {}
    if kind.bound is not None:
        distance = max(kind.distance(moved, undisturbed(kind, here)) for moved, _, _ in ranks)
        hold(distance <= kind.bound, f"off by {distance:.1e}, more than {kind.bound:.1e}")
        figures["off_by"] = distance
    for _, begun, _ in ranks:
        hold(begun.keys() == state.keys(), f"other tensors: {sorted(begun.keys() ^ state.keys())}")
        differing = [name for name, value in state.items() if begun[name].tobytes() != value.tobytes()]
        hold(not differing, f"other bits than were saved: {', '.join(differing[:3])}")
    return figures


class StopsAfter:
    """The request to stop that comes during a step."""

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self, ranks: Any) -> bool:
        self.left -= 1
        return self.left == 0


@cache
def stopped(stage: str) -> tuple[Path, dict[str, Any], State]:
    """A stage that one rank at ZeRO-1 began: its folder, settings for ZeRO-3, and how two ranks there move weights."""
    folder = build(Path(tempfile.mkdtemp(prefix="resize-")))
    settings = {
        f"{stage}__optim__{key}": value for key, value in {"max_steps": UPDATES, "lr": EPS, "muon_lr": None}.items()
    }
    here = settings | {"launch__deepspeed": _launch(ADAM, 3).deepspeed}
    assert told(folder, stage, here, "whole", world=2) == ""
    loop = "training__supervised" if stage == "sft" else "rl__trainer"
    there = settings | {"launch__deepspeed": _launch(ADAM, 1).deepspeed}
    assert "which is saved" in told(folder, stage, there, "begun", **{f"{loop}__stop_requested": StopsAfter(SAVED)})
    return folder, here, _moved(folder, "whole")


def _moved(folder: Path, scratch: str) -> State:
    start, found = (load_file(folder / name / "model.safetensors") for name in ("models/base", f"{scratch}/out"))
    return {name: value - start[name] for name, value in found.items()}


def stage_goes_on(mutant: str, *, stage: str) -> dict[str, float]:
    """Two ranks at ZeRO-3 resume after the first step of one rank and publish the weights of an undisturbed run."""
    folder, here, whole = stopped(stage)
    scratch = Path(tempfile.mkdtemp(prefix="resize-", dir=folder))
    shutil.copytree(folder / "begun", scratch, dirs_exist_ok=True)
    with planted(mutant, "wethink.training.checkpoints.set_state", DEFECTS.get(mutant)):
        assert told(folder, stage, here, scratch.name, world=2) == ""
    distance = gradients.furthest(_moved(folder, scratch.name), whole)
    hold(distance <= FP32, f"off by {distance:.1e}, more than {FP32:.1e}")
    return {"off_by": distance}


def _without_the_last_share(engine: Any, read: Any, updates: int) -> None:
    share, last = optimizer_state._share, engine.world_size - 1
    lacking = mock.patch(
        "wethink.training.optimizer_state._share", lambda *of: None if engine.global_rank == last else share(*of)
    )
    with lacking:
        set_state(engine, read, updates)


def _with_a_new_count(engine: Any, read: Any, updates: int) -> None:
    set_state(engine, read, 1)


def _rounded(engine: Any, read: Any, updates: int) -> None:
    set_state(engine, lambda name: read(name).bfloat16().float(), updates)


DEFECTS = {
    "the optimizer's moments are not restored": forgets,
    "what the last rank holds is not restored": _without_the_last_share,
    "Adam's count of updates begins anew": _with_a_new_count,
    "master weights are restored from those in bf16": _rounded,
}
NO_MOMENTS, NO_SHARE, NEW_COUNT, ROUNDED = DEFECTS
ONE: tuple[int, ...] = (8,)
TWO: tuple[int, ...] = (5, 3)


def _case(kind: Kind, there: Size, here: Size, mutants: tuple[str, ...], quick: bool = False) -> Law:
    sizes = [f"{len(shares)} rank{'s' * (len(shares) > 1)} at ZeRO-{zero}" for zero, shares in (there, here)]
    name = f"{kind.name}: a checkpoint of {sizes[0]} goes on at {sizes[1]}"
    return Law(name, partial(goes_on, kind=kind, there=there, here=here), mutants[0], quick, mutants[1:])


LAWS = [
    _case(ADAM, (1, ONE), (3, TWO), (NO_MOMENTS, NO_SHARE, NEW_COUNT), quick=True),
    _case(ADAM, (2, TWO), (0, ONE), (NEW_COUNT,), quick=True),
    _case(ADAM, (3, TWO), (1, ONE), (NO_MOMENTS, NEW_COUNT)),
    _case(ADAM, (0, ONE), (2, (3, 5)), (NO_MOMENTS, NO_SHARE, NEW_COUNT)),
    _case(ADAM, (2, TWO), (2, (4, 2, 2)), (NO_MOMENTS, NO_SHARE, NEW_COUNT)),
    _case(ADAM, (3, (4, 2, 2)), (3, TWO), (NO_MOMENTS, NO_SHARE, NEW_COUNT)),
    _case(WITH_MUON, (3, ONE), (1, TWO), (NO_SHARE,), quick=True),
    _case(WITH_MUON, (2, TWO), (3, ONE), (NO_MOMENTS, NO_SHARE)),
    _case(WITH_MUON, (1, TWO), (0, ONE), (NO_MOMENTS, NO_SHARE)),
    _case(WITH_MUON, (0, ONE), (3, (4, 2, 2)), (NO_MOMENTS, NO_SHARE)),
    _case(LORA, (2, TWO), (0, ONE), (NO_MOMENTS, NEW_COUNT)),
    _case(LORA, (0, ONE), (3, TWO), (NO_MOMENTS, NO_SHARE, NEW_COUNT)),
    _case(OFFLOADED, (3, TWO), (2, ONE), (NO_MOMENTS, NEW_COUNT)),
    _case(OFFLOADED, (2, ONE), (3, TWO), (NO_MOMENTS, NO_SHARE, NEW_COUNT)),
    _case(IN_BF16, (1, ONE), (3, TWO), (ROUNDED,), quick=True),
    _case(IN_BF16, (3, TWO), (2, ONE), (NO_MOMENTS, NO_SHARE, ROUNDED)),
]
LAWS += [
    Law(
        f"{stage} that one rank at ZeRO-1 began goes on with two at ZeRO-3",
        partial(stage_goes_on, stage=stage),
        NO_MOMENTS,
        quick=stage == "grpo",
    )
    for stage in ("sft", "grpo")
]
