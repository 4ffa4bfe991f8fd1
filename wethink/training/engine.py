"""DeepSpeed: joining ranks, one engine for every training stage, its weights. The only module that imports it.

One process or many, CPU or GPU, ZeRO stage and offload: launch settings and a JSON file, the same code.
"""

import contextlib
import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wethink.common.errors import UserError
from wethink.config.launch import Launch
from wethink.config.training import Optim
from wethink.training.cpp_extensions import prepare_extension
from wethink.training.ranks import all_sum

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
MUON_MOMENTUM = 0.95  # its author's, and every recipe's since


def zero_stage(launch: Launch) -> int:
    return int(deepspeed_config(launch).get("zero_optimization", {}).get("stage", 0))


def precision(launch: Launch) -> "torch.dtype":
    """What the engine computes in; copies of the policy beside it need no more."""
    import torch

    return torch.bfloat16 if deepspeed_config(launch).get("bf16", {}).get("enabled") else torch.float32


def deepspeed_config(launch: Launch) -> dict[str, Any]:
    """The launch's JSON file.

    Raises:
        UserError: it is missing, no JSON, or asks for what does not work.
    """
    try:
        config: dict[str, Any] = json.loads(Path(launch.deepspeed).read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = ", ".join(sorted(path.name for path in Path(launch.deepspeed).parent.glob("*.json")))
        raise UserError(
            f"launch.deepspeed: there is no {launch.deepspeed}; beside it are: {known or 'none'}."
        ) from None
    except json.JSONDecodeError as error:
        raise UserError(f"launch.deepspeed: {launch.deepspeed} is not valid JSON: {error}.") from None
    stage = config.get("zero_optimization", {}).get("stage", 0)
    if config.get("bf16", {}).get("enabled") and stage == 0:
        raise UserError(f"{launch.deepspeed}: 'bf16' with ZeRO 'stage' 0 loses the small updates; use stage 1, 2 or 3.")
    return config


def build_engine(module: "nn.Module", optim: Optim, launch: Launch) -> Any:
    """A DeepSpeed engine from the launch's JSON file; learning rate and clipping come from params.yaml.

    Accumulation is unmanaged: `backward` only accumulates, `step` updates, so ranks may have unequal numbers
    of micro-batches (with ZeRO-2 and 3 see `forwards_must_match`). DeepSpeed averages gradients over ranks:
    losses are scaled by `world`. With `muon_lr` DeepSpeed's Muon updates the hidden matrices, and its Adam
    embeddings, norms and biases.

    Raises:
        UserError: a pattern in `frozen` finds no parameter, or Muon is asked to share matrices it must see whole.
    """
    import deepspeed
    import torch

    config = deepspeed_config(launch)
    optimizer = config["optimizer"]["params"]
    optimizer |= {"lr": optim.lr, "betas": list(optim.betas), "weight_decay": optim.weight_decay}
    config["gradient_clipping"] = optim.max_grad_norm
    if optim.muon_lr is not None:
        config["optimizer"]["type"] = "Muon"
        optimizer |= {"muon_lr": optim.muon_lr, "adam_lr": optim.lr, "momentum": MUON_MOMENTUM}
        # DeepSpeed would clip Muon's update, not its gradient; that update is of one size whatever the gradient is.
        config["gradient_clipping"] = 0.0
        if launch.device == "cpu":
            torch.compiler.set_stance("force_eager")  # compiling the small matrix products takes longer than they do
    if config.get("zero_optimization", {}).get("offload_optimizer") and not optimizer.get("torch_adam"):
        prepare_extension("cpu_adam", launch.deadline_minutes)
    shape_trainable(module, optim)
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
        engine, *_ = deepspeed.initialize(model=module, model_parameters=trainable, config=config)
    return engine


def shape_trainable(module: "nn.Module", optim: Optim) -> None:
    """Adapters, frozen parts and activation checkpointing, as `optim` says; in place, before an engine is built."""
    from wethink.models.lora import add_adapters

    if optim.lora:
        add_adapters(module, optim.lora)
    for pattern in optim.frozen:
        found = [parameter for name, parameter in module.named_parameters() if re.search(pattern, name)]
        if not found:
            raise UserError(
                f"optim.frozen: '{pattern}' finds no parameter of the policy; see the names in its checkpoint."
            )
        for parameter in found:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise UserError(f"optim.frozen: {', '.join(optim.frozen)} leave nothing to train; name fewer parts.")
    if optim.checkpointing:
        policy: Any = getattr(module, "model", module)
        policy.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        module.train()


def forwards_must_match(engine: Any) -> bool:
    """ZeRO-2 reduces in every backward pass and ZeRO-3 gathers in every forward: ranks must make equally many."""
    return bool(engine.zero_optimization_stage() >= 2 and engine.dp_world_size > 1)


def learning_rate(optim: Optim, step: int) -> float:
    """The rate of step `step` (from 0): linear warm-up, then constant or cosine to zero. No state to save."""
    warmup = max(1, round(optim.warmup * optim.steps))
    if step < warmup:
        return optim.lr * (step + 1) / warmup
    if optim.schedule == "constant":
        return optim.lr
    return optim.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, optim.steps - warmup)))


def optimizer_step(engine: Any, optim: Optim, step: int) -> float:
    """Reduce, clip, update with the rates of step `step`; return the gradient norm before clipping.

    With Muon DeepSpeed turns the gradient into the update first, so the norm is that of the update. Under ZeRO-0
    DeepSpeed keeps none, and it is that of this rank's part.
    A gradient that is not finite changes nothing: it is dropped, and the norm returned is not finite either.
    """
    import torch

    share = learning_rate(optim, step) / optim.lr
    for group in engine.optimizer.param_groups:
        peak = optim.muon_lr if optim.muon_lr and group.get("use_muon") else optim.lr
        group["lr"] = share * peak
    own = 0.0
    if engine.zero_optimization_stage() == 0:  # plain PyTorch optimizers take whatever they are given
        grads = [p.grad for p in engine.module.parameters() if p.grad is not None]
        broken = torch.tensor([float(any(not bool(grad.isfinite().all()) for grad in grads))], device=engine.device)
        if all_sum(broken):
            engine.zero_grad()
            return math.nan
        own = math.sqrt(sum(float(grad.double().square().sum()) for grad in grads))
    engine.step()
    norm = engine.get_global_grad_norm()
    if not engine.was_step_applied():
        return math.nan
    return float(norm) if norm is not None else own


def policy_state(engine: Any) -> "dict[str, Tensor] | None":
    """The policy's weights under the names of a plain checkpoint, on every rank (a collective call).

    None if the engine's module already is the plain policy (ZeRO up to 2, no adapters).
    """
    import deepspeed

    sharded = engine.zero_optimization_stage() == 3
    policy = engine.module.model
    if not sharded and not any("lora_" in name for name, _ in policy.named_parameters()):
        return None
    raw: dict[str, Tensor] = {}
    seen: set[int] = set()
    for prefix, module in policy.named_modules():
        own = {name: p for name, p in module.named_parameters(prefix, recurse=False) if id(p) not in seen}
        seen |= {id(p) for p in own.values()}  # tied weights once
        with deepspeed.zero.GatheredParameters(list(own.values()), enabled=sharded and bool(own)):
            raw |= {name: p.detach().cpu().clone() for name, p in own.items()}
    from wethink.models.lora import merge

    return merge(policy, raw)
