"""Settings that would make a stage fit, found by planning with each of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wethink.config.params import Params
from wethink.config.training import Lora
from wethink.training.planning.plan import StagePlan
from wethink.training.planning.work import Stage, is_drawn


@dataclass(frozen=True)
class Change:
    """A change of params.yaml; `setting` is as a person would write it."""

    setting: str
    params: Params


@dataclass(frozen=True)
class Suggestion:
    """Settings with which a stage fits; `peak` is then a rank's, bytes, and `hours` the stage's."""

    settings: tuple[str, ...]
    peak: float
    hours: float


def suggest(params: Params, stage: Stage, replan: Callable[[Params, Stage], StagePlan]) -> list[Suggestion]:
    """Return single settings that make the stage fit, or, if none does, the shortest list that was found.

    Settings that change no result (how things are computed) come before those that do.
    """
    single = []
    for change in changes(params, stage):
        if (found := replan(change.params, stage)).fits:
            single.append(Suggestion((change.setting,), found.peak, found.hours))
    if single:
        return single
    taken: list[str] = []
    tried = 0
    while tried < len(list(changes(params, stage))):
        change = list(changes(params, stage))[tried]
        before, after = replan(params, stage), replan(change.params, stage)
        if after.peak < before.peak or len(after.problems) < len(before.problems):
            taken.append(change.setting)
            params, tried = change.params, 0
            if after.fits:
                return [Suggestion(tuple(taken), after.peak, after.hours)]
        else:
            tried += 1
        if len(taken) > 12:
            break
    return []


def changes(params: Params, stage: Stage) -> Iterator[Change]:
    """Yield changes that can lower a stage's memory, in the order in which people would try them."""
    optim, launch, grpo = (params.sft if stage == "sft" else params.grpo).optim, params.launch, params.grpo
    if not optim.gradient_checkpointing:
        yield _optim(params, stage, "gradient_checkpointing", True)
    if stage == "sft" and optim.micro_batch_size > 1:
        yield _optim(params, stage, "micro_batch_size", optim.micro_batch_size // 2)
    if stage == "grpo" and (budget := optim.max_token_len_per_gpu) and budget > 2048:
        yield _optim(params, stage, "max_token_len_per_gpu", budget // 2)
    if stage == "grpo" and grpo.sampler == "vllm" and launch.vllm_memory > 0.2:
        yield _launch(params, "vllm_memory", round(launch.vllm_memory - 0.05, 2))
    if stage == "grpo" and grpo.kl_coef > 0 and optim.lora is None and not grpo.use_bias_correction_kl:
        yield Change("grpo.kl_coef: 0", params.model_copy(update={"grpo": grpo.model_copy(update={"kl_coef": 0.0})}))
    for file in _files(Path(launch.deepspeed)):
        yield _launch(params, "deepspeed", str(file))
    if optim.lora is None and optim.muon_lr is None and not optim.frozen_parameters:
        yield _optim(params, stage, "lora", Lora(rank=64, alpha=64))
    if not is_drawn(params) and params.ingest.max_pixels > 1_003_520:
        ingest = params.ingest.model_copy(update={"max_pixels": 1_003_520})
        yield Change("ingest.max_pixels: 1003520", params.model_copy(update={"ingest": ingest}))
    if stage == "grpo" and grpo.max_completion_length > 1024:
        shorter = grpo.model_copy(update={"max_completion_length": grpo.max_completion_length // 2})
        yield Change(
            f"grpo.max_completion_length: {shorter.max_completion_length}", params.model_copy(update={"grpo": shorter})
        )
    if stage == "sft" and not is_drawn(params) and params.validate_.max_cot_chars > 4000:
        valid = params.validate_.model_copy(update={"max_cot_chars": params.validate_.max_cot_chars // 2})
        yield Change(f"validate.max_cot_chars: {valid.max_cot_chars}", params.model_copy(update={"validate_": valid}))
    if launch.device == "cuda" and launch.processes < 8 and 2 * launch.processes <= optim.train_batch_size:
        yield _launch(params, "processes", 2 * launch.processes)


def _files(current: Path) -> list[Path]:
    """Return the DeepSpeed files beside the current one that hold less on a rank, with the same precision."""
    kind = current.stem.rpartition("_")[2]
    names: tuple[str, ...] = (f"zero2_{kind}", f"zero3_{kind}", f"zero2_offload_{kind}", f"zero3_offload_{kind}")
    names = names[names.index(current.stem) + 1 :] if current.stem in names else names
    return [path for name in names if (path := current.with_name(f"{name}.json")).is_file()]


def _optim(params: Params, stage: Stage, key: str, value: Any) -> Change:
    section = params.sft if stage == "sft" else params.grpo
    changed = section.model_copy(update={"optim": section.optim.model_copy(update={key: value})})
    shown = f"{{rank: {value.rank}, alpha: {value.alpha}}}" if isinstance(value, Lora) else str(value).lower()
    return Change(f"{stage}.optim.{key}: {shown}", params.model_copy(update={stage: changed}))


def _launch(params: Params, key: str, value: Any) -> Change:
    launch = params.launch.model_copy(update={key: value})
    return Change(f"launch.{key}: {value}", params.model_copy(update={"launch": launch}))
