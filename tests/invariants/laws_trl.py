"""Gradient parity with TRL's GRPOTrainer on the same rollouts and options, from rewards to weights.

Needs `.venv-trl` (`make .venv-trl/.installed`). The rollouts are scored by the product; TRL gets the scores' components
and the product's weights. Two choices of TRL are matched: its ε beside the std is 1e-4 (in one setting TRL's code gets
the product's instead), and its log-probs are over the whole vocabulary, banned tokens included.
"""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import numpy as np
import torch
from safetensors.numpy import load_file

from tests.invariants.defects import (
    BATCH_MEAN,
    GROUP_STD,
    NO_BATCH_STD,
    NOT_THE_GROUPS,
    OTHER_GROUP,
    POPULATION_STD,
    Defect,
    named,
    planted_defect,
)
from tests.invariants.gradients import descent, furthest, launch, settings
from tests.invariants.invariant import Law, hold
from tests.invariants.laws_gradient import one_picture_for_all
from tests.invariants.trl_rollouts import GROUP, LIMIT, groups_of, prompts_of, rewards_of, rollouts
from tests.invariants.worlds import in_world
from tests.support.miniature import NoiseImages, policy
from wethink.common.paths import ROOT
from wethink.config.grpo import Grpo
from wethink.config.training import Family
from wethink.data.schema import problem_parts, row_images
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import save_policy
from wethink.rewards import hybrid
from wethink.rl import objective
from wethink.rl.rollouts import Group, assign_advantages
from wethink.training.ranks import join

BOUND = 1e-4  # per tensor, in units of its largest entry
TRL_EPSILON = 1e-4  # beside the std
RATIOS = (0.9, 1.1)  # the mean ratio of rollouts that are a little off policy
CLIPPED = (0.05, 0.5)  # the share of tokens that are clipped away
PYTHON = ROOT / ".venv-trl/bin/python"
SCORED = ("log-probs", "ids", "mask")  # of the completions under TRL's policy and of its rows, beside its gradients


@dataclass(frozen=True)
class Setting:
    """The same objective in both dialects, and defects that must show in it."""

    name: str
    trl: dict[str, Any]
    ours: dict[str, Any]
    defects: tuple[Defect, ...]
    ratios: bool = True  # the recorded log-probs are the policy's before the update; else an engine's, to be corrected
    clip: tuple[float, float] = (0.2, 0.28)
    mixed: bool = False  # prompts about 0, 1, 2 and 5 images; log-probs are compared, too
    fine: bool = False  # rewards that spread so little that ε beside the std shows, and TRL's code with the product's ε

    @property
    def temperature(self) -> float:
        return float(self.ours.get("temperature", 1.0))

    @property
    def epsilon(self) -> float:
        return objective.EPSILON if self.fine else TRL_EPSILON


_surrogate, _kl, _total = objective.surrogate, objective.kl_penalty, hybrid.Scorer._total


def _unclipped(ratio: Any, advantages: Any, **_: Any) -> Any:
    return _surrogate(ratio, advantages, clip_low=0.9999, clip_high=1e6, dual_clip=0.0)


def _sum_first(components: Any, weights: Any, known: Any, mode: Any) -> Any:
    total = sum(weight * component for weight, component in zip(weights, components, strict=True))
    return objective.group_advantages(total, known, mode)


def _swapped(scorer: hybrid.Scorer, *given: Any) -> hybrid.Scored:
    weights = {"accuracy_weight": scorer.rewards.format_weight, "format_weight": scorer.rewards.accuracy_weight}
    return _total(hybrid.Scorer(scorer.rewards.model_copy(update=weights)), *given)


SWAPPED = Defect("the weights of accuracy and format are swapped", "wethink.rewards.hybrid.Scorer._total", _swapped)
UNCLIPPED = Defect("nothing is clipped", "wethink.rl.objective.surrogate", _unclipped)
UNCORRECTED = Defect("no correction", "wethink.rl.objective.correction", lambda old, *_, **__: torch.ones_like(old))
ONE_PICTURE = Defect("each place shows the row's first picture", "wethink.rl.update.pack", one_picture_for_all)
SETTINGS = (
    Setting(
        "token mean, group std, truncated ones masked",
        {"loss_type": "dapo", "beta": 0.0, "mask_truncated_completions": True},
        {"loss_agg_mode": "token-mean", "scale_rewards": "group", "mask_truncated_completions": True},
        (POPULATION_STD, *NOT_THE_GROUPS, SWAPPED),
    ),
    Setting(
        "rows with 0, 1, 2 and 5 images in one batch",
        {"loss_type": "dapo", "beta": 0.0},
        {"loss_agg_mode": "token-mean", "scale_rewards": "group"},
        (ONE_PICTURE, OTHER_GROUP),
        mixed=True,
    ),
    Setting(
        "token mean, group std, the product's own ε",
        {"loss_type": "dapo", "beta": 0.0},
        {"loss_agg_mode": "token-mean", "scale_rewards": "group"},
        (
            Defect("TRL's ε", "wethink.rl.objective.EPSILON", TRL_EPSILON),
            Defect("no ε", "wethink.rl.objective.EPSILON", 0.0),
        ),
        fine=True,
    ),
    Setting(
        "sequence mean, k3 penalty, T = 0.7",
        {"loss_type": "grpo", "beta": 0.5, "use_bias_correction_kl": False, "temperature": 0.7},
        {"loss_agg_mode": "seq-mean-token-mean", "kl_coef": 0.5, "kl_estimator": "k3", "temperature": 0.7},
        (
            Defect(
                "k1 instead of k3", "wethink.rl.objective.kl_penalty",
                lambda logps, ref, _, ratio: _kl(logps, ref, "k1", ratio),
            ),
        ),
    ),
    Setting(
        "constant length, no std, corrected penalty",
        {"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.5, "use_bias_correction_kl": True},
        {"loss_agg_mode": "seq-mean-token-sum-norm", "scale_rewards": "none", "kl_coef": 0.5, "kl_estimator": "k3",
         "use_bias_correction_kl": True},
        (
            Defect(
                "no ratio on the penalty", "wethink.rl.objective.kl_penalty",
                lambda logps, ref, k, _: _kl(logps, ref, k),
            ),
            *NOT_THE_GROUPS,
        ),
    ),
    Setting(
        "GSPO's ratio of whole completions",
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "beta": 0.0},
        {"loss_agg_mode": "seq-mean-token-mean", "importance_sampling_level": "sequence"},
        (UNCLIPPED,),
        clip=(0.03, 0.04),
    ),
    Setting(
        "batch std",
        {"loss_type": "dapo", "scale_rewards": "batch", "beta": 0.0},
        {"loss_agg_mode": "token-mean", "scale_rewards": "batch"},
        (GROUP_STD, BATCH_MEAN, OTHER_GROUP, UNCLIPPED),
    ),
    Setting(
        "components normalised before the sum",
        {"loss_type": "dapo", "multi_objective_aggregation": "normalize_then_sum", "beta": 0.0},
        {"loss_agg_mode": "token-mean", "scale_rewards": "batch", "multi_objective_aggregation": "normalize_then_sum"},
        (
            Defect("the sum is normalised", "wethink.rl.rollouts.component_advantages", _sum_first),
            NO_BATCH_STD, *NOT_THE_GROUPS,
        ),
    ),
    Setting(
        "engine's log-probs, weights truncated per token",
        {"loss_type": "dapo", "beta": 0.0, "vllm_importance_sampling_mode": "token_truncate",
         "vllm_importance_sampling_clip_max": 1.1},
        {"rollout_correction": {"mode": "truncate", "level": "token", "floor": 0.0, "cap": 1.1}},
        (UNCORRECTED,),
        ratios=False,
    ),
    Setting(
        "engine's log-probs, whole completions masked",
        {"loss_type": "dapo", "beta": 0.0, "vllm_importance_sampling_mode": "sequence_mask",
         "vllm_importance_sampling_clip_max": 1.2, "vllm_importance_sampling_clip_min": 0.5},
        {"rollout_correction": {"mode": "mask", "level": "sequence", "floor": 0.5, "cap": 1.2}},
        (UNCORRECTED,),
        ratios=False,
    ),
)  # fmt: skip


def other_policy(family: Family) -> Any:
    return policy(seed=1, family=family)[0]


def for_trl(setting: Setting, family: Family) -> dict[str, Any]:
    """TRL's inputs for one setting: its options, and the reward components with the product's weights."""
    given, rewards = rollouts(family, setting.temperature, setting.mixed), rewards_of(setting.fine)
    return {
        "problems": [problem_parts(row["problem"], len(row_images(row))) for row in given.rows],
        "images": [[f"{image}.png" for image in row_images(row)] for row in given.rows],
        "prompt_ids": [prompt.ids.tolist() for prompt in prompts_of(given.rows, policy(family=family)[1])],
        "completions": given.completions,
        "options": setting.trl | {"epsilon": setting.clip[0], "epsilon_high": setting.clip[1]},
        "ratios": setting.ratios,
        "fp64": setting.mixed,  # in fp32 TRL's own rounding comes to the bound in the decays of recurrent layers
        "epsilon": setting.epsilon,
        "weights": [rewards.accuracy_weight, rewards.format_weight],
        "components": [[(s.accuracy, s.format) for s in g.scores] for g in groups_of(given, family, setting.fine)],
        "logps": given.logps,
    }


@cache
def theirs(family: Family) -> dict[str, dict[str, np.ndarray]]:
    """TRL's gradients for all settings, from one process."""
    assert PYTHON.exists(), ".venv-trl is missing; `make .venv-trl/.installed` builds it"
    model, made = policy(family=family)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_policy(model, None, made, folder / "policy", "policy")
        save_policy(other_policy(family), None, made, folder / "reference", "reference")
        what = {
            "limit": LIMIT,
            "settings": {str(i): for_trl(setting, family) for i, setting in enumerate(SETTINGS)},
        }
        for name in {name for given in what["settings"].values() for names in given["images"] for name in names}:
            NoiseImages().open(name.removesuffix(".png")).save(folder / name)
        (folder / "rollouts.json").write_text(json.dumps(what))
        ended = subprocess.run(
            [str(PYTHON), "-m", "tests.invariants.trl_peer", str(folder)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        found = {s.name: load_file(folder / f"{i}.safetensors") for i, s in enumerate(SETTINGS)}
    for name, gradient in found.items():
        assert gradient.keys() - set(SCORED) == dict(model.named_parameters()).keys(), (
            f"{name}: TRL's tensors are not the policy's"
        )
    return found


def config_of(setting: Setting) -> Grpo:
    base = settings(64)
    changes = {"num_generations": GROUP, "max_completion_length": LIMIT, "clip_ratio_c": 0.0, "temperature": 1.0}
    changes |= {"clip_ratio_low": setting.clip[0], "clip_ratio_high": setting.clip[1]} | setting.ours
    return Grpo.model_validate_json(json.dumps(base.model_dump(mode="json", by_alias=True) | changes))


def advantages(family: Family, setting: Setting) -> list[Group]:
    """The groups as the trainer's own functions make them: scores → totals → advantages."""
    given = rollouts(family, setting.temperature, setting.mixed)
    groups, ranks = groups_of(given, family, setting.fine), join(launch(0, FOLDER))
    with mock.patch.object(objective, "EPSILON", objective.EPSILON if setting.fine else TRL_EPSILON):
        groups = assign_advantages(groups, config_of(setting), rewards_of(setting.fine), ranks)
    assert all(group.has_signal for group in groups)
    return groups


def ours(family: Family, setting: Setting) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Our gradient, by way of the trainer's own functions, and how far off policy the rollouts are."""
    config, groups, (model, made) = config_of(setting), advantages(family, setting), policy(family=family)
    sampled = [torch.tensor([logp for c in group.completions for logp in c.logps]) for group in groups]
    old = {(group.row["id"], group.place): logps for group, logps in zip(groups, sampled, strict=True)}
    reference = CompletionLogProbs(other_policy(family), []) if config.kl_coef else None
    now = rollouts(family, setting.temperature, setting.mixed).now
    figures = off_policy(config, groups, now, torch.cat(sampled))
    gradient = descent(
        CompletionLogProbs(model, []), made, launch(0, FOLDER), config, groups, reference,
        old if setting.ratios else None,
    )  # fmt: skip
    return gradient, figures


def off_policy(config: Grpo, groups: list[Group], now: torch.Tensor, sampled: torch.Tensor) -> dict[str, float]:
    """The mean ratio and the share of tokens that are clipped away, or with a correction whose weight it changes."""
    lengths = torch.tensor([len(c.ids) for group in groups for c in group.completions])  # [S]
    correction = config.rollout_correction
    if correction.mode != "none":
        raw = objective.correction(now, sampled, lengths, "truncate", correction.level, 0.0, float("inf"))  # [N]
        weight = objective.correction(now, sampled, lengths, **correction.model_dump())  # [N]
        return {"mean_weight": float(raw.mean()), "corrected": float((weight != raw).float().mean())}
    ratio = objective.log_ratio(now, sampled, lengths, config.importance_sampling_level).exp()  # [N]
    flat = torch.cat([group.advantages for group in groups])  # type: ignore[misc]  # [S]
    limits = {"clip_low": config.clip_ratio_low, "clip_high": config.clip_ratio_high, "dual_clip": 0.0}
    _, low, high = objective.surrogate(ratio, objective.per_token(flat, lengths), **limits)
    return {"mean_ratio": float(ratio.mean()), "clipped": float((low + high).mean())}


def as_trl(mutant: str, family: Family, setting: Setting) -> dict[str, float]:
    expected = dict(theirs(family)[setting.name])
    scored = [expected.pop(name) for name in SCORED]
    with planted_defect(named(setting.defects, mutant)):
        ((found, figures),) = in_world(1, ours, family, setting)
    distance = furthest(found, expected)
    hold(distance <= BOUND, f"off by {distance:.1e}")
    if setting.mixed and not mutant:
        figures["log_probs"] = log_probs_apart(family, *scored)
        hold(figures["log_probs"] <= BOUND, f"log-probs are off by {figures['log_probs']:.1e}")
    if setting.ratios and not mutant:
        assert RATIOS[0] < figures["mean_ratio"] < RATIOS[1], f"lopsided: the mean ratio is {figures['mean_ratio']:.2f}"
        assert CLIPPED[0] < figures["clipped"] < CLIPPED[1], f"lopsided: {figures['clipped']:.1%} are clipped away"
    return {"distance": distance} | figures


def log_probs_apart(family: Family, logps: np.ndarray, ids: np.ndarray, mask: np.ndarray) -> float:
    """The largest distance of a token's log-prob from TRL's: [S, C], of rows [S, L] in an order of its own."""
    given, made = rollouts(family, 1.0, mixed=True), policy(family=family)[1]
    asked = [prompt.ids.tolist() for prompt in prompts_of(given.rows, made) for _ in range(GROUP)]
    said = [completion for group in given.completions for completion in group]
    ours = given.now.split([len(completion) for completion in said])
    known = {(*a, *s): now.numpy() for a, s, now in zip(asked, said, ours, strict=True)}
    rows = [(known[tuple(row[real == 1].tolist())], theirs) for row, real, theirs in zip(ids, mask, logps, strict=True)]
    return max(float(np.abs(now - theirs[: len(now)]).max()) for now, theirs in rows)


def _law(family: Family, setting: Setting) -> Law:
    first, *others = (defect.name for defect in setting.defects)
    check = partial(as_trl, family=family, setting=setting)
    return Law(f"TRL's gradient: {setting.name} ({family})", check, first, others=tuple(others))


FOLDER = Path(tempfile.mkdtemp(prefix="laws-trl-"))
LAWS = [_law(family, setting) for family in get_args(Family) for setting in SETTINGS]
