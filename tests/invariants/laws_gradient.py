"""Invariance of a step's gradient to everything but its rollouts; frozen weights do not move."""

import signal
import tempfile
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.invariants.gradients import furthest, gradient, groups, launch, length_apart, settings
from tests.invariants.invariant import Broken, Law, hold, planted
from tests.invariants.worlds import Crash, Hang, in_world
from wethink.rl import update
from wethink.rl.objective import group_advantages, per_token, token_weights

FOLDER = Path(tempfile.mkdtemp(prefix="laws-"))
FP32 = 1e-5  # per tensor, in units of its largest entry
BF16 = 1.1  # how much farther from the fp32 gradient than one process in bf16, which rounds as often


@cache
def mixed_reference() -> dict[str, np.ndarray]:
    """One process, all groups about 0, 1, 2 and 5 images in one pass."""
    return dict(in_world(1, gradient, launch(0, FOLDER), settings(16), [8], groups(mixed=True))[0])


def same_gradient_mixed(mutant: str, *, stage: int, shares: list[int]) -> None:
    """Micro-batches of one group: some have no image, on one rank while another's have."""
    whole = mixed_reference()
    # Without the tower's pass for nothing a rank with text alone has no gradient of the tower, or hangs at ZeRO-3.
    with planted(mutant, "wethink.rl.update.pack", one_picture_for_all):
        found = in_world(len(shares), gradient, launch(stage, FOLDER), settings(2), shares, groups(mixed=True))
    for rank, ours in enumerate(found):
        distance = furthest(ours, whole)
        hold(distance <= FP32, f"rank {rank} is off by {distance:.1e}, more than {FP32:.1e}")


def one_picture_for_all(prompts: Any, *given: Any, **named: Any) -> Any:
    """Pack prompts with the defect that every place shows the row's first picture of that size."""
    changed = []
    for prompt in prompts:
        first = {picture.grid: picture for picture in reversed(prompt.pictures)}
        changed.append(replace(prompt, pictures=tuple(first[picture.grid] for picture in prompt.pictures)))
    return update_pack(changed, *given, **named)


update_pack = update.pack


@cache
def reference(bf16_stage: int | None = None) -> dict[str, np.ndarray]:
    """One process, all groups in one pass: fp32 at the lowest ZeRO stage, or bf16 at the stage that is asked for.

    ZeRO-3 has a linear layer of its own, which rounds once more where there is a bias.
    """
    given = launch(0, FOLDER) if bf16_stage is None else launch(bf16_stage, FOLDER, True)
    return dict(in_world(1, gradient, given, settings(16), [8], groups())[0])


def same_gradient(
    mutant: str, *, stage: int, shares: list[int], micro: int, bf16: bool = False, offload: bool = False
) -> None:
    whole, given = reference(), launch(stage, FOLDER, bf16, offload)
    with planted(mutant, "wethink.rl.update.training_micro_batches", without_the_last_pass):
        found = in_world(len(shares), gradient, given, settings(micro), shares, groups())
    for rank, ours in enumerate(found):
        distance = length_apart(ours, whole) if bf16 else furthest(ours, whole)
        bound = BF16 * length_apart(reference(stage), whole) if bf16 else FP32
        hold(distance <= bound, f"rank {rank} is off by {distance:.1e}, more than {bound:.1e}")


passes = update.training_micro_batches


def without_the_last_pass(*given: Any) -> Any:
    """What ZeRO-2 without accumulation did elsewhere, seen from its other end: one micro-batch counts for nothing."""
    return list(passes(*given))[:-1]


def global_denominator(mutant: str) -> None:
    whole = reference()
    with planted(mutant, "wethink.rl.update.all_sum", lambda counts: counts * 2):  # as if both ranks had as many
        found = in_world(2, gradient, launch(1, FOLDER), settings(4), [5, 3], groups())
    distance = furthest(found[0], whole)
    hold(distance <= FP32, f"off by {distance:.1e}")


def no_hang(mutant: str) -> None:
    """Ranks that are out of step wait for ever, or hear something of another size: then gloo aborts one of them."""
    out_of_step = (f"killed by signal {int(signal.SIGABRT)}", "Connection closed by peer", "collective mismatch")
    try:
        with planted(mutant, "wethink.rl.update.forwards_must_match", lambda engine: False):
            in_world(2, gradient, launch(3, FOLDER), settings(2), [5, 3], groups())
    except Hang as hang:
        raise Broken(str(hang)) from None
    except Crash as crash:
        if any(words in str(crash) for words in out_of_step):
            raise Broken(str(crash)) from None
        raise


def all_cut_moves_nothing(mutant: str) -> None:
    cut = [replace(g, completions=[replace(c, finished=False) for c in g.completions]) for g in groups()]
    with planted(mutant, "wethink.rl.rollouts.Group.loss_mask", lambda self, config: self.known):
        (found,) = in_world(1, gradient, launch(0, FOLDER), settings(16, mask_truncated_completions=True), [8], cut)
    hold(all(float(np.abs(value).max()) == 0 for value in found.values()), "the weights moved")


def equal_rewards_move_nothing(mutant: str) -> None:
    totals = torch.tensor([[0.7, 0.7, 0.7, 0.7], [0.3, 0.3, 0.3 + 1e-7, 0.3]])
    with planted(mutant, "wethink.rl.objective.FLAT", -1.0):
        found = group_advantages(totals, torch.ones(2, 4, dtype=torch.bool), "group")
    hold(found.abs().max() == 0, f"advantages {found.tolist()}")


def junk_that_is_not_learned_changes_nothing(mutant: str) -> None:
    lengths, learned = torch.tensor([3, 2, 4]), torch.tensor([True, False, True])
    loss = torch.arange(9, dtype=torch.float32)
    junk = torch.where(per_token(learned, lengths), loss, torch.tensor(1e4))
    if mutant:
        learned = torch.ones_like(learned)
    for aggregation in ("token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"):
        weight = token_weights(lengths, learned, aggregation)  # type: ignore[arg-type]
        hold((loss * weight).sum() == (junk * weight).sum(), aggregation)


def an_unknown_verdict_changes_nobody(mutant: str) -> None:
    rewards = torch.tensor([[1.0, 0.3, 0.0, 0.3]])
    alone = group_advantages(rewards, torch.ones(1, 4, dtype=torch.bool), "group")[0]
    for junk in (-1e4, 0.0, 1e4):
        beside = torch.cat([rewards, torch.tensor([[junk]])], dim=1)
        known = torch.tensor([[True] * 4 + [bool(mutant)]])
        found = group_advantages(beside, known, "group")[0]
        hold(torch.equal(found[:4], alone) and found[4] == 0, f"{found.tolist()} beside {junk}")


CASES = [  # ZeRO stage, groups per rank, rows per micro-batch, bf16, in continuous integration
    (0, [8], 2, False, False),
    (0, [8], 4, False, True),
    (0, [5, 3], 2, False, False),
    (1, [4, 4], 4, False, False),
    (1, [5, 3], 2, False, True),
    (1, [8, 0], 4, False, False),
    (2, [8], 2, False, False),
    (2, [5, 3], 2, False, True),
    (2, [8, 0], 4, False, False),
    (3, [8], 4, False, False),
    (3, [5, 3], 2, False, True),
    (3, [8, 0], 4, False, False),
    (1, [5, 3], 4, True, False),
    (2, [5, 3], 4, True, False),
    (3, [8, 0], 4, True, False),
]


def _case(stage: int, shares: list[int], micro: int, bf16: bool, quick: bool) -> Law:
    groups_of = " and ".join(map(str, shares))
    return Law(
        f"same gradient: ZeRO-{stage}, {len(shares)} ranks with {groups_of} groups, {micro} rows a pass, "
        f"{'bf16' if bf16 else 'fp32'}",
        partial(same_gradient, stage=stage, shares=shares, micro=micro, bf16=bf16),
        "the last micro-batch of every rank counts for nothing",
        quick,
    )


def _offloaded(stage: int, shares: list[int], what: str) -> Law:
    return Law(
        f"same gradient: ZeRO-{stage} with {what} offloaded, {len(shares)} rank{'s' * (len(shares) > 1)}, fp32",
        partial(same_gradient, stage=stage, shares=shares, micro=4, offload=True),
        "the last micro-batch of every rank counts for nothing",
    )


LAWS = [
    *(_case(*case) for case in CASES),
    _offloaded(2, [8], "the optimizer"),
    _offloaded(3, [5, 3], "the optimizer and the weights"),
    *(
        Law(
            f"same gradient about 0, 1, 2 and 5 images: ZeRO-{stage}, {' and '.join(map(str, shares))} groups a rank",
            partial(same_gradient_mixed, stage=stage, shares=shares),
            "all places of a prompt show its first picture",
            stage == 3 and len(shares) == 2,
        )
        for stage, shares in ((0, [8]), (1, [2, 6]), (2, [2, 6]), (3, [2, 6]))
    ),
    Law("the denominator is the count of all ranks", global_denominator, "each rank takes its own count for all", True),
    Law("unequal micro-batches do not hang ZeRO-3", no_hang, "no empty passes"),
    Law("an all-truncated batch moves nothing", all_cut_moves_nothing, "the mask is not read", True),
    Law("a group with equal rewards moves nothing", equal_rewards_move_nothing, "no tolerance for rounding", True),
    Law("±1e4 in tokens without loss changes nothing", junk_that_is_not_learned_changes_nothing, "no mask", True),
    Law("an unknown verdict changes nobody's advantage", an_unknown_verdict_changes_nobody, "unknown as wrong", True),
]
