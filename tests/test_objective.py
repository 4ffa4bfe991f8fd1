"""The GRPO objective against the formulas, written again as loops over scalars."""

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wethink.rl.objective import EPSILON, group_advantages, kl_k3, policy_loss

rewards_lists = st.lists(st.sampled_from([0.0, 0.3, 0.65, 1.0]), min_size=2, max_size=8)


@given(rewards_lists, st.sampled_from(["group", "none"]))
@settings(deadline=None, max_examples=60)
def test_advantages_equal_the_formula(rewards: list[float], mode: str) -> None:
    got = group_advantages(torch.tensor([rewards]), torch.ones(1, len(rewards), dtype=torch.bool), mode)[0].tolist()
    mean, std = statistics.fmean(rewards), statistics.stdev(rewards)
    for reward, advantage in zip(rewards, got, strict=True):
        expected = 0.0 if std <= 1e-6 else (reward - mean) / (std + EPSILON if mode == "group" else 1.0)
        assert advantage == pytest.approx(expected, abs=1e-5)


@given(rewards_lists, st.floats(-100, 100))
@settings(deadline=None, max_examples=60)
def test_an_unknown_reward_changes_nothing_of_the_others_and_gets_nothing(rewards: list[float], junk: float) -> None:
    alone = group_advantages(torch.tensor([rewards]), torch.ones(1, len(rewards), dtype=torch.bool), "group")[0]
    known = torch.tensor([[True] * len(rewards) + [False]])
    with_unknown = group_advantages(torch.tensor([[*rewards, junk]]), known, "group")[0]
    assert torch.allclose(with_unknown[:-1], alone) and with_unknown[-1] == 0


def test_a_group_with_one_known_member_or_equal_rewards_moves_nothing() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.3], [0.7, 0.7, 0.7]])
    known = torch.tensor([[True, False, False], [True, True, True]])
    assert group_advantages(rewards, known, "group").abs().sum() == 0


@given(
    st.lists(st.tuples(st.floats(-5, 0), st.floats(-5, 0), st.floats(-3, 3)), min_size=1, max_size=12),
    st.sampled_from([0.0, 3.0]),
)
@settings(deadline=None, max_examples=80)
def test_the_surrogate_equals_the_formula(tokens: list[tuple[float, float, float]], dual: float) -> None:
    logps, old, advantages = (torch.tensor(column, dtype=torch.float64) for column in zip(*tokens, strict=True))
    loss, clipped = policy_loss(logps, old, advantages, clip_low=0.2, clip_high=0.28, dual_clip=dual)
    for i, (lp, lp_old, a) in enumerate(tokens):
        rho = math.exp(lp - lp_old)
        expected = -min(rho * a, min(max(rho, 0.8), 1.28) * a)
        if dual and a < 0:
            expected = min(expected, -dual * a)
        assert loss[i].item() == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert bool(clipped[i]) == ((rho < 0.8 and a < 0) or (rho > 1.28 and a > 0))


def test_on_policy_the_gradient_is_the_policy_gradient() -> None:
    logps = torch.tensor([-1.0, -2.0, -0.5], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([1.5, -0.7, 0.0], dtype=torch.float64)
    loss, _ = policy_loss(logps, logps.detach(), advantages, clip_low=0.2, clip_high=0.28, dual_clip=3.0)
    loss.sum().backward()
    assert torch.allclose(logps.grad, -advantages)


def test_k3_is_zero_for_equal_policies_and_positive_otherwise() -> None:
    logps = torch.tensor([-1.0, -2.0, -60.0])
    assert kl_k3(logps, logps).abs().sum() == 0
    assert (kl_k3(logps, torch.tensor([-1.5, -1.0, 0.0])) > 0).all()
