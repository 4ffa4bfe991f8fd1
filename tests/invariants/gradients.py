"""Gradient of one GRPO update through DeepSpeed, for any world size, ZeRO stage and micro-batch size.

AdamW with a very large ε is plain gradient descent (Δw = −lr/ε · g), so the update of the weights gives the gradient
after DeepSpeed's reduction, sharding and casting, without reading its buffers.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deepspeed.utils import safe_get_full_fp32_param

from tests.support.miniature import mixed_prompts, policy, prompts, taught
from wethink.common.paths import ROOT
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.config.params import load_params
from wethink.generation.in_process import Completion
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor
from wethink.rewards.hybrid import Scored
from wethink.rewards.verdict import Verdict
from wethink.rl.rollouts import Group
from wethink.rl.update import Policies, accumulate_gradients
from wethink.training.engine import build_engine, optimizer_step
from wethink.training.ranks import join

EPS, STEP = 1e8, 1e3  # Δw = −STEP · g


def settings(micro: int = 8, **changes: Any) -> Grpo:
    """The tiny profile's GRPO with an optimizer whose update is the gradient."""
    grpo = load_params(ROOT / "params.yaml").grpo
    optim = grpo.optim.model_copy(
        update={
            "lr": EPS * STEP,
            "warmup_ratio": 0.0,
            "lr_scheduler_type": "constant",
            "max_grad_norm": 0.0,
            "micro_batch_size": micro,
        }
    )
    return grpo.model_copy(
        update={"optim": optim, "num_generations": 2, "kl_coef": 0.0, "max_completion_length": 12} | changes
    )


def groups(count: int = 8, mixed: bool = False) -> list[Group]:
    """Groups of two with completions of unequal length and advantages of either sign; the same on every rank.

    Mixed ones are about 0, 1, 2 and 5 images, sorted, so that a small micro-batch may have no image at all.
    """
    _, made = taught()
    rng, made_groups = np.random.default_rng(0), []
    asked = prompts(made, count, ("a", "b-wide"))
    if mixed:
        asked = sorted(mixed_prompts(made, count), key=lambda prompt: len(prompt.pictures))
    for place, prompt in enumerate(asked):
        ids = [tuple(int(i) for i in 26 + rng.integers(0, 9, int(rng.integers(2, 9)))) for _ in range(2)]
        completions = [Completion(i, tuple(float(x) for x in -rng.random(len(i))), True) for i in ids]
        scores = [
            Scored(1.0, float(i), 0.3 + 0.7 * i, Verdict("correct" if i else "wrong", "", float(i))) for i in (0, 1)
        ]
        advantages = torch.tensor(rng.normal(size=2), dtype=torch.float32)
        made_groups.append(
            Group({"id": str(place)}, prompt, completions, ["", ""], scores, [0.0, 0.0], place, advantages, True)
        )
    return made_groups


def launch(stage: int, folder: Path, bf16: bool = False, offload: bool = False, eps: float = EPS) -> Launch:
    """A launch whose DeepSpeed file is the product's for that stage, by default with the ε that makes AdamW descent."""
    name = f"zero{stage}_{'offload_' * offload}{'bf16' if bf16 else 'fp32'}.json"
    source = ROOT / "infra/deepspeed" / name
    config = json.loads(source.read_text())
    config["zero_optimization"]["stage"] = stage
    config["zero_optimization"]["overlap_comm"] = False
    config["optimizer"]["params"] |= {"eps": eps}
    path = folder / name
    path.write_text(json.dumps(config))
    return Launch(device="cpu", processes=1, threads=1, deepspeed=str(path), deadline_minutes=5)


def gradient(given: Launch, config: Grpo, shares: Sequence[int], chosen: Sequence[Group]) -> dict[str, np.ndarray]:
    """One update of this rank's share of the groups; `shares` says how many each rank has, in order."""
    ranks = join(given)
    (state, made), (model, _) = taught(), policy()
    model.load_state_dict(state)
    begin = sum(shares[: ranks.rank])
    mine = list(chosen[begin : begin + shares[ranks.rank]])
    return descent(CompletionLogProbs(model, made.banned), made, given, config, mine)


def descent(
    scorer: CompletionLogProbs,
    made: Processor,
    given: Launch,
    config: Grpo,
    mine: Sequence[Group],
    reference: CompletionLogProbs | None = None,
    old: Mapping[tuple[str, int], torch.Tensor] | None = None,
) -> dict[str, np.ndarray]:
    """The gradient of one update of this rank's groups; `reference` and `old` as in `learning.Policies`."""
    ranks = join(given)
    engine = build_engine(scorer, config.optim, given)
    before = weights(engine)
    sums = accumulate_gradients(Policies(engine, reference, made, dict(old or {})), mine, config, ranks)
    if sums:
        optimizer_step(engine, config.optim, 0)
    return {name: ((before[name] - value) / STEP).numpy() for name, value in weights(engine).items()}


def weights(engine: Any) -> dict[str, torch.Tensor]:
    """What the optimizer updates, in fp32: bf16 weights are roundings of it, which would drown the small gradients."""
    named = list(engine.module.model.named_parameters())
    if engine.zero_optimization_stage() == 0:
        return {name: p.detach().clone() for name, p in named}
    found = {name: safe_get_full_fp32_param(p) for name, p in named}
    return {name: value.detach().float().cpu().clone() for name, value in found.items() if value is not None}


def furthest(ours: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> float:
    """The largest distance of any tensor, in units of that tensor's largest entry."""
    _are_comparable(ours, reference)
    scale = max(float(np.abs(value).max()) for value in reference.values())
    return max(
        float(np.abs(ours[name] - value).max()) / max(float(np.abs(value).max()), 1e-4 * scale)
        for name, value in reference.items()
    )


def _are_comparable(ours: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> None:
    """Both sides must have every tensor, and numbers in it: the largest distance skips what is not a number."""
    differing = sorted(ours.keys() ^ reference.keys())
    assert not differing, f"only one side has {', '.join(differing)}"
    for side in (ours, reference):
        broken = [name for name, value in side.items() if not np.isfinite(value).all()]
        assert not broken, f"not finite: {', '.join(broken)}"


def length_apart(ours: dict[str, np.ndarray], reference: dict[str, np.ndarray]) -> float:
    """|ours − reference| / |reference| over all tensors: what rounding everywhere amounts to."""
    _are_comparable(ours, reference)
    pairs = [(ours[name].astype(float), value.astype(float)) for name, value in reference.items()]
    return float(np.sqrt(sum(np.square(a - b).sum() for a, b in pairs) / sum(np.square(b).sum() for _, b in pairs)))
