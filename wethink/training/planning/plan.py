"""The plan of a project's training stages: memory, time, money, what does not fit and what would."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wethink.common.errors import UserError
from wethink.config.params import Params
from wethink.config.training import Base, Optim
from wethink.training.planning.devices import Device
from wethink.training.planning.memory import Setup, host_memory, rank_memory, setup_of, total
from wethink.training.planning.models import Counts, Shape, count, read_config, shape_of
from wethink.training.planning.seconds import step_seconds
from wethink.training.planning.work import Lengths, Stage, Work, work_of


@dataclass(frozen=True)
class StagePlan:
    """Plan of one stage. Bytes, seconds of a step, tokens of all ranks."""

    stage: Stage
    shape: Shape
    setup: Setup
    memory: Mapping[str, Mapping[str, float]]  # of a rank, by phase and part
    host: Mapping[str, float]  # of one host, by part
    seconds: Mapping[str, float]  # of a step, by part
    steps: int
    problems: tuple[str, ...]  # what does not fit, as sentences

    @property
    def peak(self) -> float:
        return max(total(parts) for parts in self.memory.values())

    @property
    def fits(self) -> bool:
        return not self.problems

    @property
    def tokens(self) -> float:
        """Tokens that all ranks learn from in all steps."""
        return self.steps * self.setup.work.tokens * self.setup.ranks

    @property
    def hours(self) -> float:
        return self.steps * sum(self.seconds.values()) / 3600


class Model:
    """A model's config, read once. Its counts depend on what is trained, and are kept, since building takes seconds."""

    def __init__(self, config: Any, name: str) -> None:
        self.config, self.name, self.shape = config, name, shape_of(config, name)
        self._counted: dict[str, Counts] = {}

    def counts(self, optim: Optim) -> Counts:
        key = f"{optim.lora} {optim.frozen_parameters}"
        if key not in self._counted:
            self._counted[key] = count(self.config, optim, self.name)
        return self._counted[key]


def model_of(base: Base) -> Model:
    """Read the model that `base` names, without weights.

    Raises:
        UserError: as `read_config`.
    """
    return Model(*read_config(base))


def placed(params: Params, device: Device, ranks: int | None) -> Params:
    """Return the parameters as they would be on `ranks` devices of this kind."""
    changes: dict[str, Any] = {"device": "cpu" if device.is_cpu else "cuda"} | ({"processes": ranks} if ranks else {})
    return params.model_copy(update={"launch": params.launch.model_copy(update=changes)})


def plan_stage(
    params: Params, model: Model, device: Device, stage: Stage, lengths: Lengths, host_limit: float | None = None
) -> StagePlan:
    """Plan one stage on `launch.processes` devices.

    Args:
        host_limit: bytes of a host's memory, if known.

    Raises:
        UserError: the configuration cannot be planned.
    """
    optim = params.sft.optim if stage == "sft" else params.grpo.optim
    if optim.train_batch_size < params.launch.processes:
        raise UserError(
            f"{stage}: a batch of {optim.train_batch_size} leaves some of {params.launch.processes} ranks without "
            "work; raise train_batch_size or give fewer --gpus."
        )
    counts = model.counts(optim)
    work = work_of(params, model.shape, stage, lengths)
    setup = setup_of(model.shape, counts, work, device, params.launch, params.grpo.kl_coef, params.grpo.sampler)
    memory, host = rank_memory(setup), host_memory(setup)
    found = StagePlan(stage, model.shape, setup, memory, host, step_seconds(setup), optim.max_steps, ())
    return replace(found, problems=tuple(_problems(found, work, host_limit)))


def _problems(plan: StagePlan, work: Work, host_limit: float | None) -> list[str]:
    """Say what does not fit, phase by phase."""
    setup, found = plan.setup, []
    device, ranks = setup.device, setup.here if setup.device.is_cpu else 1
    for phase, parts in plan.memory.items():
        need = ranks * total(parts)
        if need > device.memory:
            largest = max(parts, key=lambda part: parts[part])
            whose = f"{ranks} ranks need" if ranks > 1 else "a rank needs"
            found.append(
                f"{phase}: {whose} {gib(need)} of {gib(device.memory)}; the largest part is {largest}, "
                f"{gib(parts[largest])}"
            )
    if host_limit is not None and total(plan.host) > host_limit:
        found.append(f"host: its ranks need {gib(total(plan.host))} of {gib(host_limit)}")
    if setup.sampler == "vllm" and not device.is_cpu:
        least = 2.0 * setup.counts.total + 2**30
        if setup.vllm_share * device.memory < least:
            found.append(
                f"sample: vLLM's share ({setup.vllm_share:g} of the GPU, {gib(setup.vllm_share * device.memory)}) does "
                f"not hold its weights, {gib(least)} with its buffers"
            )
    if work.longest_prompt < work.prompt:
        found.append("rows: prompts of this length exceed the context and would be dropped")
    return found


def gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB"
