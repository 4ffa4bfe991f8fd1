"""Properties of the GRPO objective; tests/invariants checks all of it against a scalar reference."""

from typing import Any

import pytest
import torch

from wethink.common.errors import UserError
from wethink.rl.objective import component_advantages, group_advantages, kl_penalty, overlong_penalty, surrogate, varied
from wethink.rl.trainer import stop_on_unverifiable_rewards


def test_a_group_with_one_known_member_or_equal_rewards_moves_nothing() -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.3], [0.7, 0.7, 0.7]])
    known = torch.tensor([[True, False, False], [True, True, True]])
    for mode in ("group", "none", "batch"):
        assert group_advantages(rewards, known, mode).abs().sum() == 0
    assert not varied(rewards, known).any()


def test_on_policy_the_gradient_is_the_policy_gradient() -> None:
    logps = torch.tensor([-1.0, -2.0, -0.5], dtype=torch.float64, requires_grad=True)
    advantages = torch.tensor([1.5, -0.7, 0.0], dtype=torch.float64)
    ratio = (logps - logps.detach()).exp()
    loss, _, _ = surrogate(ratio, advantages, clip_low=0.2, clip_high=0.28, dual_clip=3.0)
    loss.sum().backward()
    assert torch.allclose(logps.grad, -advantages)


def test_k3_is_zero_for_equal_policies_and_positive_otherwise() -> None:
    logps = torch.tensor([-1.0, -2.0, -60.0])
    assert kl_penalty(logps, logps, "k3").abs().sum() == 0
    assert (kl_penalty(logps, torch.tensor([-1.5, -1.0, 0.0]), "k3") > 0).all()


def test_normalising_components_keeps_the_weight_of_format_in_a_group_that_is_all_wrong() -> None:
    accuracy, form = torch.zeros(1, 4), torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    known = torch.ones(1, 4, dtype=torch.bool)
    erased = group_advantages(0.7 * accuracy + 0.3 * form, known, "group")
    kept = component_advantages([accuracy, form], [0.7, 0.3], known, "group")
    assert torch.allclose(kept, 0.3 * erased, atol=1e-5)


def test_the_overlong_punishment_is_linear_in_the_buffer_and_off_without_one() -> None:
    assert [overlong_penalty(n, 100, 20) for n in (50, 80, 90, 100)] == pytest.approx([0.0, 0.0, -0.5, -1.0])
    assert overlong_penalty(100, 100, 0) == 0.0


def test_training_stops_when_unknown_rewards_rise_with_the_policy_and_only_then() -> None:
    def history(*rates: float) -> list[dict[str, Any]]:
        return [{"unknown": rate, "completions": 256} for rate in rates for _ in range(20)]

    stop_on_unverifiable_rewards(history(0.25, 0.25))  # a faulty gold here and there is no haven
    with pytest.raises(UserError, match=r"unknown rewards rose from 0\.0%"):
        stop_on_unverifiable_rewards(history(0.0, 0.25))
