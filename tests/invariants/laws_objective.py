"""Parity of the losses with scalar reference loops from the papers' formulas, over random shapes."""

import math
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.invariants.defects import NOT_THE_GROUPS, POPULATION_STD, Defect, named, planted_defect
from tests.invariants.invariant import Law, hold, planted
from wethink.common.paths import ROOT
from wethink.config.grpo import Correction, Grpo
from wethink.config.params import load_params
from wethink.config.training import Family
from wethink.rl import objective

EXAMPLES = settings(
    deadline=None, max_examples=120, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
TINY = load_params(ROOT / "profiles/tiny.yaml").grpo
logps = st.floats(-6, 0)
token = st.tuples(logps, logps, logps, logps)  # current, old, engine, reference
completion = st.tuples(st.lists(token, min_size=1, max_size=6), st.floats(-3, 3), st.booleans())


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "importance_sampling_level": draw(st.sampled_from(["token", "sequence", "none"])),
        "loss_agg_mode": draw(st.sampled_from(["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"])),
        "clip_ratio_low": draw(st.floats(1e-4, 0.5)),
        "clip_ratio_high": draw(st.floats(1e-4, 0.5)),
        "clip_ratio_c": draw(st.sampled_from([0.0, 3.0])),
        "kl_coef": draw(st.sampled_from([0.0, 0.01, 1.0])),
        "kl_estimator": draw(st.sampled_from(["k1", "k3"])),
        "use_bias_correction_kl": draw(st.booleans()),
        "mode": draw(st.sampled_from(["none", "truncate", "mask"])),
        "level": draw(st.sampled_from(["token", "sequence"])),
        "floor": draw(st.sampled_from([0.0, 0.5])),
        "cap": draw(st.sampled_from([1.0, 2.0])),
    }


def by_tensors(rows: list[Any], o: dict[str, Any], limit: int) -> float:
    """The loss of `objective.policy_loss`, aggregated over all tokens at once."""
    lengths = torch.tensor([len(tokens) for tokens, _, _ in rows])
    now, old, engine, ref = (
        torch.tensor([t[i] for tokens, _, _ in rows for t in tokens], dtype=torch.float64) for i in range(4)
    )
    advantages = objective.per_token(torch.tensor([a for _, a, _ in rows], dtype=torch.float64), lengths)
    carries = torch.tensor([flag for _, _, flag in rows])
    config = configured(o)
    terms = objective.policy_loss(now, old, engine, ref, advantages, lengths, config)
    tokens, sequences = int((lengths * carries).sum()), int(carries.sum())
    below = objective.denominator(tokens, sequences, config.loss_agg_mode, limit)
    return float((terms.loss * objective.token_weights(lengths, carries, config.loss_agg_mode)).sum() / max(1, below))


def configured(o: dict[str, Any]) -> Grpo:
    """The tiny profile's GRPO with the drawn options."""
    names = (
        "importance_sampling_level", "loss_agg_mode", "clip_ratio_low", "clip_ratio_high", "clip_ratio_c", "kl_coef",
        "kl_estimator", "use_bias_correction_kl",
    )  # fmt: skip
    correction = Correction.model_construct(**{name: o[name] for name in ("mode", "level", "floor", "cap")})
    return TINY.model_copy(update={name: o[name] for name in names} | {"rollout_correction": correction})


def by_scalars(rows: list[Any], o: dict[str, Any], limit: int) -> float:
    """The same from the papers' formulas."""
    total, tokens, sequences = 0.0, 0, 0
    for steps, advantage, learned in rows:
        if not learned:
            continue
        tokens, sequences, own = tokens + len(steps), sequences + 1, 0.0
        whole = math.exp(sum(now - old for now, old, _, _ in steps) / len(steps))
        product = math.exp(min(20.0, max(-20.0, sum(old - engine for _, old, engine, _ in steps))))
        for now, old, engine, ref in steps:
            rho = {"token": math.exp(now - old), "sequence": whole, "none": 1.0}[o["importance_sampling_level"]]
            value = min(rho * advantage, min(max(rho, 1 - o["clip_ratio_low"]), 1 + o["clip_ratio_high"]) * advantage)
            if o["clip_ratio_c"] and advantage < 0:
                value = max(value, o["clip_ratio_c"] * advantage)
            weight = math.exp(old - engine) if o["level"] == "token" else product
            if o["mode"] == "none":
                weight = 1.0
            elif o["mode"] == "truncate":
                weight = min(max(weight, o["floor"]), o["cap"])
            elif not o["floor"] <= weight <= o["cap"]:
                weight = 0.0
            divergence = now - ref if o["kl_estimator"] == "k1" else math.exp(ref - now) - (ref - now) - 1
            own += -weight * value + o["kl_coef"] * divergence * (rho if o["use_bias_correction_kl"] else 1.0)
        total += own / len(steps) if o["loss_agg_mode"] == "seq-mean-token-mean" else own
    below = {"token-mean": tokens, "seq-mean-token-mean": sequences, "seq-mean-token-sum-norm": sequences * limit}[
        o["loss_agg_mode"]
    ]
    return total / max(1, below)


def held(test: Callable[[], None]) -> None:
    """Run a hypothesis test; a counterexample, however it is reported, is a broken law."""
    try:
        test()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None


def losses(mutant: str) -> None:
    @EXAMPLES
    @given(st.lists(completion, min_size=1, max_size=5), options())
    def test(rows: list[Any], o: dict[str, Any]) -> None:
        ours, theirs = by_tensors(rows, o, 8), by_scalars(rows, o, 8)
        hold(math.isclose(ours, theirs, rel_tol=1e-5, abs_tol=1e-6), f"{ours} instead of {theirs}")

    with planted(
        mutant, "wethink.rl.objective.per_completion_sum", lambda values, lengths: values.new_ones(len(lengths))
    ):
        held(test)


def aggregation(mutant: str) -> None:
    @EXAMPLES
    @given(st.lists(completion, min_size=1, max_size=5), options())
    def test(rows: list[Any], o: dict[str, Any]) -> None:
        ours, theirs = by_tensors(rows, o, 8), by_scalars(rows, o, 8)
        hold(math.isclose(ours, theirs, rel_tol=1e-5, abs_tol=1e-6), f"{ours} instead of {theirs}")

    def one_mean_of_all(tokens: int, sequences: int, aggregation: str, limit: int) -> int:
        return tokens

    with planted(mutant, "wethink.rl.objective.denominator", one_mean_of_all):
        held(test)


rewards = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0]), st.booleans()), min_size=3, max_size=3
)


EASY_R1_EPSILON = 1e-6  # of its compute_grpo_outcome_advantage, beside the std
ADVANTAGE_DEFECTS = (
    POPULATION_STD,
    *NOT_THE_GROUPS,
    Defect("TRL's ε instead of EasyR1's", "wethink.rl.objective.EPSILON", 1e-4),
)


def advantages(mutant: str) -> None:
    @EXAMPLES
    @given(st.lists(rewards, min_size=1, max_size=4), st.sampled_from(["group", "none", "batch", "components"]))
    def test(table: list[Any], mode: str) -> None:
        accuracy, form = (torch.tensor([[row[i] for row in group] for group in table]).double() for i in (0, 1))
        known = torch.tensor([[row[2] for row in group] for group in table])
        total = 0.7 * accuracy + 0.3 * form
        if mode == "components":
            found = objective.component_advantages([accuracy, form], [0.7, 0.3], known, "group")
        else:
            found = objective.group_advantages(total, known, mode)  # type: ignore[arg-type]
        everything = [0.7 * a + 0.3 * f for group in table for a, f, k in group if k]
        for g, group in enumerate(table):
            for i, (_, _, k) in enumerate(group):
                expected = 0.0
                parts = [(0.7, 0), (0.3, 1)] if mode == "components" else [(1.0, None)]
                for weight, column in parts:
                    values = [0.7 * a + 0.3 * f if column is None else (a, f)[column] for a, f, _ in group]
                    mine = [v for v, (_, _, there) in zip(values, group, strict=True) if there]
                    if not k or len(mine) < 2 or statistics.stdev(mine) <= 1e-6:
                        continue
                    std = {"none": 1.0, "batch": statistics.stdev(everything) if len(everything) > 1 else 0.0}.get(
                        mode, statistics.stdev(mine)
                    )
                    expected += (
                        weight * (values[i] - statistics.fmean(mine)) / (std + (mode != "none") * EASY_R1_EPSILON)
                    )
                hold(
                    math.isclose(float(found[g, i]), expected, rel_tol=1e-9, abs_tol=1e-10),
                    f"{float(found[g, i])} instead of {expected} ({mode})",
                )

    with planted_defect(named(ADVANTAGE_DEFECTS, mutant)):
        held(test)


def corrected_kl_gradient(mutant: str) -> None:
    """E[∇(ρ·k)] is the gradient of KL(π ‖ π_ref), for k1 and k3, over a whole vocabulary; without ρ it is not."""
    logits = torch.tensor([0.3, -1.0, 0.8, 0.1], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor([0.0, 0.5, -0.7, 0.2], dtype=torch.float64).log_softmax(-1)
    log_pi = logits.log_softmax(-1)
    (true,) = torch.autograd.grad((log_pi.exp() * (log_pi - ref)).sum(), logits, retain_graph=True)
    for estimator in ("k1", "k3"):
        ratio = None if mutant else (log_pi - log_pi.detach()).exp()
        penalty = objective.kl_penalty(log_pi, ref, estimator, ratio)  # type: ignore[arg-type]
        (found,) = torch.autograd.grad((log_pi.exp().detach() * penalty).sum(), logits, retain_graph=True)
        hold(torch.allclose(found, true, atol=1e-10), estimator)


def micro_batches(mutant: str) -> None:
    """1 × 8, 2 × 4, 4 × 2 and 8 × 1 rows give the same gradient per tensor, in fp64."""
    from tests.training.test_training import _gradients

    whole = _gradients(8)
    for micro in (1, 2, 4):
        parts = _gradients(micro)
        for name, gradient in whole.items():
            ours = parts[name] * (0.5 if mutant and micro == 2 else 1.0)
            hold((gradient - ours).abs().max() <= 1e-10 * gradient.abs().max() + 1e-15, f"{name} in rows of {micro}")


def shared_prefix(mutant: str, family: Family) -> None:
    """A prompt read once for its group, once for each completion, or in padded rows: one gradient, fp32 and fp64."""
    from tests.models import test_packing as packed

    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-10)):
        logps, gradient = packed._gradients(family, packed._padded, dtype)
        for make in (packed._shared, packed._packed_apart, packed._by_budget):
            with planted(mutant, "wethink.models.packing.HIDDEN", -1.0):
                ours, found = packed._gradients(family, make, dtype)
            hold(torch.allclose(logps, ours, atol=tolerance), f"log-probs, {make.__name__}, {dtype}")
            differing = packed._differing(gradient, found, tolerance)
            hold(not differing, f"{differing}, {make.__name__}, {dtype}")


def recurrent_prefix(mutant: str) -> None:
    """A recurrent layer's state and convolution tail, handed from a prompt to its completions: one gradient."""
    from tests.models import test_packing as packed

    logps, gradient = packed._gradients("qwen3_5", packed._padded, torch.float32)
    with planted(mutant, "wethink.models.recurrence.Carried.for_each", packed.RECURRENT_MUTANTS.get(mutant)):
        ours, found = packed._gradients("qwen3_5", packed._shared, torch.float32)
    hold(torch.allclose(logps, ours, atol=1e-5), "log-probs")
    differing = packed._differing(gradient, found, 1e-5)
    hold(not differing, f"gradients of {differing}")


LAWS = [
    Law(
        "losses equal a scalar reference, over random shapes and options",
        losses,
        "sums of completions are not sums",
        True,
    ),
    Law("aggregations equal a scalar reference", aggregation, "every aggregation divides by all tokens", True),
    Law(
        "advantages equal a scalar reference",
        advantages,
        POPULATION_STD.name,
        True,
        tuple(defect.name for defect in ADVANTAGE_DEFECTS[1:]),
    ),
    Law("the corrected KL penalty has the divergence's gradient", corrected_kl_gradient, "no ratio", True),
    *(
        Law(
            f"a prompt shared by its group, read for each completion, or padded: one gradient ({family})",
            partial(shared_prefix, family=family),
            "a mask that lets through what it should hide",
        )
        for family in get_args(Family)
    ),
    Law(
        "a recurrent layer's state and tail are handed to each completion, with their gradient (qwen3_5)",
        recurrent_prefix,
        "no tail",
        others=("leaked", "tiled", "detached"),
    ),
    Law("1×8, 2×4, 4×2, 8×1 rows a pass: one gradient (fp64, 1e-10)", micro_batches, "one cut counts half"),
]
