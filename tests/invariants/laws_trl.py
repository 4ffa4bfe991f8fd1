"""Gradient parity with TRL's GRPOTrainer on the same rollouts and options, from rewards to weights.

Needs `.venv-trl` (`make .venv-trl/.installed`). Two choices of TRL are matched: its ε beside the std is 1e-4, and its
log-probs are over the whole vocabulary, banned tokens included.
"""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import numpy as np
import torch
from safetensors.numpy import load_file

from tests.invariants.gradients import descent, furthest, launch, settings
from tests.invariants.invariant import Law, planted
from tests.invariants.workshop import ROOT
from tests.invariants.worlds import in_world
from tests.support.miniature import TEXT, NoiseImages, policy
from wethink.config.grpo import Grpo
from wethink.config.params import load_params
from wethink.config.training import Family
from wethink.generation.in_process import Completion
from wethink.models.batching import Prompt, encode_prompts, pack
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor, save_policy
from wethink.rewards.hybrid import Scored
from wethink.rewards.verdict import Verdict
from wethink.rl import objective
from wethink.rl.rollouts import Group, assign_advantages
from wethink.training.ranks import join

BOUND = 1e-4  # per tensor, in units of its largest entry
PROMPTS, GROUP, LIMIT = 5, 4, 9
PYTHON = ROOT / ".venv-trl/bin/python"


@dataclass(frozen=True)
class Setting:
    """The same objective in both dialects, and a defect that must show in it."""

    name: str
    trl: dict[str, Any]
    ours: dict[str, Any]
    mutant: str
    target: str
    defect: Any
    ratios: bool = True  # the recorded log-probs are the policy's before the update; else an engine's, to be corrected
    clip: tuple[float, float] = field(default=(0.2, 0.28))


def _population(values: torch.Tensor, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    centred, std = _centre(values, known)
    return centred, std * ((GROUP - 1) / GROUP) ** 0.5


_centre, _surrogate, _kl = objective.centre, objective.surrogate, objective.kl_penalty


def _unclipped(ratio: Any, advantages: Any, **_: Any) -> Any:
    return _surrogate(ratio, advantages, clip_low=0.9999, clip_high=1e6, dual_clip=0.0)


def _sum_first(components: Any, weights: Any, known: Any, mode: Any) -> Any:
    total = sum(weight * component for weight, component in zip(weights, components, strict=True))
    return objective.group_advantages(total, known, mode)


SETTINGS = (
    Setting(
        "token mean, group std, truncated ones masked",
        {"loss_type": "dapo", "beta": 0.0, "mask_truncated_completions": True},
        {"loss_agg_mode": "token-mean", "scale_rewards": "group", "mask_truncated_completions": True},
        "population std instead of n − 1", "wethink.rl.objective.centre", _population,
    ),
    Setting(
        "sequence mean, k3 penalty, T = 0.7",
        {"loss_type": "grpo", "beta": 0.5, "use_bias_correction_kl": False, "temperature": 0.7},
        {"loss_agg_mode": "seq-mean-token-mean", "kl_coef": 0.5, "kl_estimator": "k3", "temperature": 0.7},
        "k1 instead of k3", "wethink.rl.objective.kl_penalty",
        lambda logps, ref, _, ratio: _kl(logps, ref, "k1", ratio),
    ),
    Setting(
        "constant length, no std, corrected penalty",
        {"loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.5, "use_bias_correction_kl": True},
        {"loss_agg_mode": "seq-mean-token-sum-norm", "scale_rewards": "none", "kl_coef": 0.5, "kl_estimator": "k3",
         "use_bias_correction_kl": True},
        "no ratio on the penalty", "wethink.rl.objective.kl_penalty", lambda logps, ref, k, _: _kl(logps, ref, k),
    ),
    Setting(
        "GSPO's ratio of whole completions",
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "beta": 0.0},
        {"loss_agg_mode": "seq-mean-token-mean", "importance_sampling_level": "sequence"},
        "nothing is clipped", "wethink.rl.objective.surrogate", _unclipped,
        clip=(0.03, 0.04),
    ),
    Setting(
        "batch std",
        {"loss_type": "dapo", "scale_rewards": "batch", "beta": 0.0},
        {"loss_agg_mode": "token-mean", "scale_rewards": "batch"},
        "nothing is clipped", "wethink.rl.objective.surrogate", _unclipped,
    ),
    Setting(
        "components normalised before the sum",
        {"loss_type": "dapo", "multi_objective_aggregation": "normalize_then_sum", "beta": 0.0},
        {"loss_agg_mode": "token-mean", "scale_rewards": "batch", "multi_objective_aggregation": "normalize_then_sum"},
        "the sum is normalised", "wethink.rl.rollouts.component_advantages", _sum_first,
    ),
    Setting(
        "engine's log-probs, weights truncated per token",
        {"loss_type": "dapo", "beta": 0.0, "vllm_importance_sampling_mode": "token_truncate",
         "vllm_importance_sampling_clip_max": 1.1},
        {"rollout_correction": {"mode": "truncate", "level": "token", "floor": 0.0, "cap": 1.1}},
        "no correction", "wethink.rl.objective.correction", lambda old, *_, **__: torch.ones_like(old),
        ratios=False,
    ),
    Setting(
        "engine's log-probs, whole completions masked",
        {"loss_type": "dapo", "beta": 0.0, "vllm_importance_sampling_mode": "sequence_mask",
         "vllm_importance_sampling_clip_max": 1.2, "vllm_importance_sampling_clip_min": 0.5},
        {"rollout_correction": {"mode": "mask", "level": "sequence", "floor": 0.5, "cap": 1.2}},
        "no correction", "wethink.rl.objective.correction", lambda old, *_, **__: torch.ones_like(old),
        ratios=False,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Rollouts:
    """The same for both sides; everything is drawn."""

    rows: list[dict[str, Any]]
    completions: list[list[list[int]]]
    components: list[list[tuple[float, float]]]  # accuracy, format
    logps: list[list[list[float]]]


@cache
def rollouts(family: Family) -> Rollouts:
    """Completions of unequal length, some of them cut, with log-probs of a policy a little beside the present one."""
    model, made = policy(family=family)
    rng, words = np.random.default_rng(1), TEXT.split()
    rows = [
        {"id": str(i), "image": f"noise {i}" + " wide" * (i % 2), "problem": " ".join(words[3 : 6 + i])}
        for i in range(PROMPTS)
    ]
    vocabulary = [made.text_ids(word)[0] for word in words]
    completions, components, logps = [], [], []
    for i in range(PROMPTS):
        written = [list(map(int, rng.choice(vocabulary, int(rng.integers(2, LIMIT))))) for _ in range(GROUP)]
        completions.append([ids + [made.tokenizer.eos_token_id] * (k % 3 != 2) for k, ids in enumerate(written)])
        components.append([(float((k + i) % 2), float(k != i % GROUP)) for k in range(GROUP)])
    asked = encode_prompts([r["problem"] for r in rows], [r["image"] for r in rows], NoiseImages(), made)
    with torch.no_grad():
        flat = [ids for group in completions for ids in group]
        now, _ = CompletionLogProbs(model, [])(pack(asked, flat, GROUP), 1.0)
    beside = (now + 0.15 * torch.from_numpy(rng.normal(size=len(now))).float()).split([len(ids) for ids in flat])
    lists = [part.tolist() for part in beside]
    logps = [lists[i : i + GROUP] for i in range(0, len(lists), GROUP)]
    return Rollouts(rows, completions, components, logps)


def prompts_of(given: Rollouts, made: Processor) -> list[Prompt]:
    return encode_prompts([r["problem"] for r in given.rows], [r["image"] for r in given.rows], NoiseImages(), made)


def other_policy(family: Family) -> Any:
    return policy(seed=1, family=family)[0]


@cache
def theirs(family: Family) -> dict[str, dict[str, np.ndarray]]:
    """TRL's gradients for all settings, from one process."""
    assert PYTHON.exists(), ".venv-trl is missing; `make .venv-trl/.installed` builds it"
    given, (model, made) = rollouts(family), policy(family=family)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_policy(model, None, made, folder / "policy", "policy")
        save_policy(other_policy(family), None, made, folder / "reference", "reference")
        for i, row in enumerate(given.rows):
            NoiseImages().open(row["image"]).save(folder / f"{i}.png")
        asked = prompts_of(given, made)
        what = {
            "problems": [row["problem"] for row in given.rows],
            "images": [f"{i}.png" for i in range(PROMPTS)],
            "prompt_ids": [prompt.ids.tolist() for prompt in asked],
            "completions": given.completions,
            "components": given.components,
            "logps": given.logps,
            "weights": [0.7, 0.3],
            "limit": LIMIT + 1,
            "settings": {
                str(i): {"options": s.trl | {"epsilon": s.clip[0], "epsilon_high": s.clip[1]}, "ratios": s.ratios}
                for i, s in enumerate(SETTINGS)
            },
        }
        (folder / "rollouts.json").write_text(json.dumps(what))
        ended = subprocess.run(
            [str(PYTHON), "-m", "tests.invariants.trl_peer", str(folder)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        return {s.name: load_file(folder / f"{i}.safetensors") for i, s in enumerate(SETTINGS)}


def config_of(setting: Setting) -> Grpo:
    base = settings(64)
    changes = {"group": GROUP, "max_new_tokens": LIMIT + 1, "dual_clip": 0.0, "temperature": 1.0}
    changes |= {"clip_low": setting.clip[0], "clip_high": setting.clip[1]} | setting.ours
    return Grpo.model_validate_json(json.dumps(base.model_dump(mode="json", by_alias=True) | changes))


def ours(family: Family, setting: Setting) -> dict[str, np.ndarray]:
    """Our gradient, by way of the trainer's own functions: rewards → advantages → loss → update."""
    config, given, (model, made) = config_of(setting), rollouts(family), policy(family=family)
    stage = launch(0, FOLDER)
    ranks, rewards = join(stage), load_params(ROOT / "profiles/tiny.yaml").rewards
    groups, old = [], {}
    asked = prompts_of(given, made)
    for place, (row, prompt) in enumerate(zip(given.rows, asked, strict=True)):
        completions = [
            Completion(tuple(ids), tuple(logps), ids[-1] == made.tokenizer.eos_token_id)
            for ids, logps in zip(given.completions[place], given.logps[place], strict=True)
        ]
        scores = [
            Scored(
                form, accuracy, 0.7 * accuracy + 0.3 * form, Verdict("correct" if accuracy else "wrong", "", accuracy)
            )
            for accuracy, form in given.components[place]
        ]
        groups.append(Group(row, prompt, completions, [""] * GROUP, scores, [0.0] * GROUP, place))
        old[row["id"], place] = torch.tensor([logp for logps in given.logps[place] for logp in logps])
    with mock.patch.object(objective, "EPSILON", 1e-4):
        groups = assign_advantages(groups, config, rewards, ranks)
    assert all(group.has_signal for group in groups)
    reference = CompletionLogProbs(other_policy(family), []) if config.kl_coef else None
    return descent(
        CompletionLogProbs(model, []), made, stage, config, groups, reference, old if setting.ratios else None
    )


def as_trl(mutant: bool, family: Family, setting: Setting) -> None:
    expected = theirs(family)[setting.name]
    with planted(mutant, setting.target, setting.defect):
        (found,) = in_world(1, ours, family, setting)
    distance = furthest({name: found[name] for name in expected}, expected)
    assert distance <= BOUND, f"off by {distance:.1e}"


FOLDER = Path(tempfile.mkdtemp(prefix="laws-trl-"))
LAWS = [
    Law(f"TRL's gradient: {setting.name} ({family})", partial(as_trl, family=family, setting=setting), setting.mutant)
    for family in get_args(Family)
    for setting in SETTINGS
]
