"""DeepSpeed engine of every training stage: configuration, optimizer steps, weights.

One process or many, CPU or GPU, any ZeRO stage and offload run the same code; launch settings and a JSON file choose.
Only this module and wethink/training/ranks.py import DeepSpeed.
"""

import contextlib
import importlib.util
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json
from wethink.config.launch import Launch
from wethink.config.training import Optim
from wethink.training.cpp_extensions import prepare_extension
from wethink.training.ranks import all_sum

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
MUON_MOMENTUM = 0.95  # the value of Muon's author and of later recipes


def zero_stage(launch: Launch) -> int:
    return int(deepspeed_config(launch).get("zero_optimization", {}).get("stage", 0))


def precision(launch: Launch) -> "torch.dtype":
    """Return the engine's compute dtype; policy copies beside it need no more."""
    import torch

    return torch.bfloat16 if deepspeed_config(launch).get("bf16", {}).get("enabled") else torch.float32


def deepspeed_config(launch: Launch) -> dict[str, Any]:
    """Read the launch's DeepSpeed JSON file.

    Raises:
        UserError: it is missing, is not JSON, combines bf16 with ZeRO stage 0, or has a setting that lays the
            optimizer's state out in a way that checkpoints do not know.
    """
    path = Path(launch.deepspeed)
    if not path.is_file():
        known = ", ".join(sorted(found.name for found in path.parent.glob("*.json")))
        raise UserError(f"launch.deepspeed: there is no {path}; beside it are: {known or 'none'}.")
    config = read_json(path, "mend it, or name another file in launch.deepspeed")
    if not isinstance(config, dict) or any(
        not isinstance(config.get(key, {}), dict) for key in ("zero_optimization", "bf16")
    ):
        raise UserError(f"launch.deepspeed: {path} is no DeepSpeed configuration (a JSON object of sections).")
    stage = config.get("zero_optimization", {}).get("stage", 0)
    if config.get("bf16", {}).get("enabled") and stage == 0:
        raise UserError(f"{launch.deepspeed}: 'bf16' with ZeRO 'stage' 0 loses the small updates; use stage 1, 2 or 3.")
    if unknown := _unknown_layouts(config):
        raise UserError(
            f"launch.deepspeed: {path} sets {' and '.join(unknown)}; checkpoints of this version cannot hold the "
            "optimizer's state that follows. Remove it (an optimizer on NVMe can be offloaded to 'cpu')."
        )
    return dict(config)


def _unknown_layouts(config: dict[str, Any]) -> list[str]:
    """Return the settings whose layout of the optimizer's state `optimizer_state` does not know."""
    zero, types = config.get("zero_optimization", {}), config.get("data_types")
    offload = found if isinstance(found := zero.get("offload_optimizer"), dict) else {}
    is_set = {
        "zero_optimization.offload_optimizer.device 'nvme'": offload.get("device") == "nvme",
        "zero_optimization.offload_optimizer.ratio": offload.get("ratio", 1.0) != 1.0,
        "zero_optimization.mics_shard_size": zero.get("mics_shard_size", -1) != -1,
        "zero_optimization.round_robin_gradients": bool(zero.get("round_robin_gradients")),
        "data_types.grad_accum_dtype": isinstance(types, dict) and types.get("grad_accum_dtype") is not None,
    }
    return [name for name, value in is_set.items() if value]


def build_engine(module: "nn.Module", optim: Optim, launch: Launch) -> Any:
    """Build a DeepSpeed engine from the launch's JSON file and `optim`.

    Learning rates, betas, weight decay and clipping come from `optim` (params.yaml). Accumulation is unmanaged:
    `backward` only accumulates, `step` updates, so ranks may have unequal numbers of micro-batches (with ZeRO-2 and 3
    see `forwards_must_match`). DeepSpeed averages gradients over ranks, so callers scale losses by `world`. With
    `muon_lr`, DeepSpeed's Muon updates the hidden matrices, and its Adam the embeddings, norms and biases.

    Raises:
        UserError: a pattern in `frozen_parameters` matches no parameter, nothing is left to train, or the JSON file or
            a C++ extension is unusable.
    """
    import deepspeed
    import torch

    require_four_bits(optim, launch)
    config = deepspeed_config(launch)
    optimizer = config["optimizer"]["params"]
    optimizer |= {"lr": optim.lr, "betas": list(optim.betas), "weight_decay": optim.weight_decay}
    config["gradient_clipping"] = optim.max_grad_norm
    if optim.muon_lr is not None:
        config["optimizer"]["type"] = "Muon"
        optimizer |= {"muon_lr": optim.muon_lr, "adam_lr": optim.lr, "momentum": MUON_MOMENTUM}
        # DeepSpeed would clip Muon's update, not its gradient; the update has the same norm for every gradient.
        config["gradient_clipping"] = 0.0
        if zero_stage(launch) == 3:  # Muon needs whole gradients; DeepSpeed's ZeRO-3 refuses to scatter them before it
            config["zero_optimization"]["reduce_scatter"] = False
        if launch.device == "cpu":
            torch.compiler.set_stance("force_eager")  # compiling the small matrix products costs more than it saves
    if config.get("zero_optimization", {}).get("offload_optimizer") and not optimizer.get("torch_adam"):
        prepare_extension("cpu_adam", launch.deadline_minutes)
    shape_trainable(module, optim)
    if zero_stage(launch) == 3:  # weight by weight: no rank's GPU ever holds all of them
        for parameter in module.parameters():  # not buffers: positions turn by angles that bf16 would round
            parameter.data = parameter.data.to(precision(launch))
        deepspeed.zero.Init(module=module, config_dict_or_path=config)
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
        engine, *_ = deepspeed.initialize(model=module, model_parameters=trainable, config=config)
    return engine


def require_four_bits(optim: Optim, launch: Launch) -> None:
    """Check that `lora.load_in_4bit`, where it is set, can run as the stage is launched.

    Raises:
        UserError: bitsandbytes is not installed, or the DeepSpeed file has ZeRO-3 or offload.
    """
    if not (optim.lora and optim.lora.load_in_4bit):
        return
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "optim.lora.load_in_4bit needs bitsandbytes, which is not installed: pip install "
            "'bitsandbytes>=0.50,<0.51', or take the key out of params.yaml."
        )
    zero = deepspeed_config(launch).get("zero_optimization", {})
    if zero.get("stage") == 3 or zero.get("offload_optimizer"):
        raise UserError(
            f"optim.lora.load_in_4bit does not go with ZeRO-3 or offload ({launch.deepspeed}); name a file of ZeRO-1 "
            "or 2 in launch.deepspeed, as infra/deepspeed/zero2_bf16.json, or take the key out of params.yaml."
        )


def shape_trainable(module: "nn.Module", optim: Optim) -> None:
    """Apply adapters, freezing and activation checkpointing, in place.

    Call it before an engine is built.

    Raises:
        UserError: a pattern in `frozen_parameters` matches no parameter, or nothing is left to train.
    """
    from wethink.models.lora import add_adapters

    policy: Any = module if hasattr(module, "config") else module.get_submodule("model")  # of CompletionLogProbs
    if optim.lora:
        add_adapters(policy, optim.lora)
    for pattern in optim.frozen_parameters:
        found = [parameter for name, parameter in module.named_parameters() if re.search(pattern, name)]
        if not found:
            raise UserError(
                f"optim.frozen_parameters: '{pattern}' finds no parameter of the policy; "
                "see the names in its checkpoint."
            )
        for parameter in found:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise UserError(
            f"optim.frozen_parameters: {', '.join(optim.frozen_parameters)} leave nothing to train; name fewer parts."
        )
    if optim.gradient_checkpointing:
        policy.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        module.train()


def forwards_must_match(engine: Any) -> bool:
    """Tell whether all ranks must run equally many passes.

    ZeRO-2 reduces in every backward pass, and ZeRO-3 gathers in every forward pass.
    """
    return bool(engine.zero_optimization_stage() >= 2 and engine.dp_world_size > 1)


def learning_rate(optim: Optim, step: int) -> float:
    """Return the learning rate of step `step`, counted from 0.

    Linear warm-up, then constant or cosine to zero. It depends on `step` only, so there is no state to save.
    """
    warmup = max(1, round(optim.warmup_ratio * optim.max_steps))
    if step < warmup:
        return optim.lr * (step + 1) / warmup
    if optim.lr_scheduler_type == "constant":
        return optim.lr
    return optim.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, optim.max_steps - warmup)))


def optimizer_step(engine: Any, optim: Optim, step: int) -> float:
    """Reduce and clip gradients, update; return the norm before clipping.

    The rates are those of step `step`. With Muon, DeepSpeed turns the gradient into the update first, so the norm is
    that of the update. Under ZeRO-0 DeepSpeed keeps no global norm, and the norm is that of this rank's gradient. A
    gradient that is not finite is dropped: the weights stay, and the returned norm is not finite either.
    """
    import torch

    share = learning_rate(optim, step) / optim.lr
    for group in engine.optimizer.param_groups:
        peak = optim.muon_lr if optim.muon_lr and group.get("use_muon") else optim.lr
        group["lr"] = share * peak
    own = 0.0
    if engine.zero_optimization_stage() == 0:  # plain PyTorch optimizers do not check for finite gradients
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
    """Gather the policy's weights under plain checkpoint names, on every rank.

    A collective call: all ranks must make it. None if the engine's module already is the plain policy (ZeRO up to 2, no
    adapters).
    """
    from wethink.models.lora import merge

    raw = raw_state(engine)
    return None if raw is None else merge(engine.module.model, raw)


def raw_state(engine: Any) -> "dict[str, Tensor] | None":
    """Gather the policy's weights, adapters apart, as `policy_state` does."""
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
    return raw


def set_weight(engine: Any, parameter: "nn.Parameter", value: "Tensor") -> None:
    """Set the weight that forward passes read, in their precision, on all ranks; a collective call.

    The optimizer's own copy of it is left as it is.
    """
    import deepspeed
    import torch

    sharded = engine.zero_optimization_stage() == 3
    with torch.no_grad(), deepspeed.zero.GatheredParameters([parameter], modifier_rank=0, enabled=sharded):
        if not sharded or engine.global_rank == 0:
            parameter.copy_(value)
