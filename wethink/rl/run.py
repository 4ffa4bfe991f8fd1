"""GRPO run state on one rank: rows, policies, sampler and logs; setup and checkpoint resume."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from wethink.common.jsonl import Record, read_json, read_jsonl, write_json
from wethink.common.stage_run import StageRun
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.data.image_store import ImageSet
from wethink.data.schema import Row, row_images
from wethink.generation.sampler import Sampler, open_sampler
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor, check_template, load_model, load_processor
from wethink.models.vocabulary import tell_unknown
from wethink.rewards.hybrid import Scorer
from wethink.rl.best_prompts import best_rows
from wethink.rl.gpu_sharing import GpuSharing
from wethink.rl.heldout_probe import accuracy
from wethink.rl.logprob_check import self_test
from wethink.rl.prompt_dataset import PassRates, Prompts, training_rows
from wethink.rl.update import Policies
from wethink.training.checkpoints import (
    identity,
    restore_state,
    rewind_log,
)
from wethink.training.engine import build_engine, policy_state, precision, zero_stage
from wethink.training.ranks import Ranks, barrier, gather_objects, join


@dataclass
class GrpoRun:
    """State of a GRPO run on one rank. Only the last five fields, from `prompts` on, change during training."""

    config: Grpo
    scorer: Scorer
    seed: int
    scratch: Path
    start: Path  # the checkpoint that training begins from
    ranks: Ranks
    images: ImageSet
    processor: Processor
    policies: Policies
    gpu: GpuSharing
    sampler: Sampler
    gathered: torch.nn.Module | None  # ZeRO-3, or sampling ahead: a whole copy of the weights to sample from
    identity: dict[str, Any]  # stored with checkpoints; a different model or optimizer cannot resume them
    rows: list[Row]  # prompts that are trained on
    probe_rows: list[Row]  # held out from training
    probe_start: float  # their accuracy before the first step
    prompts: Prompts
    pass_rates: PassRates
    history: list[Record] = field(default_factory=list)  # metrics of the steps so far
    probe: float = 0.0  # the latest held-out accuracy
    skipped: int = 0  # steps in a row without a finite gradient


def prepare(
    start: Path,
    images: ImageSet,
    rows: Path,
    scorer: Scorer,
    launch: Launch,
    stage: StageRun[Grpo],
) -> tuple[GrpoRun, int, int]:
    """Load rows, policies and sampler, and resume from the scratch folder.

    Returns:
        The run, the number of finished steps, and how many rows were dropped because they exceed the context.

    Raises:
        UserError: no training row is left, the sampler's log-probs differ from the trainer's, or `start` was made for
            another response format.
    """
    config, scratch, seed = stage.config, stage.scratch, stage.seed
    model, processor = load_model(start, dtype=precision(launch)), load_processor(start)
    check_template(processor, scorer.rewards.format, start)
    prompts, probe_rows, dropped = training_rows(rows, images, model, processor, config, launch, seed)
    ranks, who = join(launch), identity(model, config.optim, launch)
    if ranks.first:
        tell_unknown(processor, prompts, "grpo")
    policies = load_policies(start, model, processor, config, launch)
    beside = config.sampler == "vllm" and launch.vllm_url is None and ranks.device.type == "cuda"
    gpu = GpuSharing(policies.reference, ranks.device, is_shared=beside)
    # ZeRO-3 shards the weights: sampling then needs a whole copy, since ranks sample completions of unequal length.
    # So does sampling ahead in this process: the policy learns at the same time.
    copied = zero_stage(launch) == 3 or (config.max_staleness > 0 and config.sampler == "in_process")
    gathered = load_model(start, dtype=precision(launch)).to(ranks.device) if copied else None
    done, cursor = restore_state(policies.engine, scratch, ranks, who)
    if ranks.first:
        rewind_log(scratch, done)
        rewind_log(scratch, done, "rollouts.jsonl")
    gather_objects(None, ranks)  # barrier: the logs are rewound before any rank reads them
    rates = PassRates()
    rates.add(read_log(scratch, "rollouts.jsonl") if config.curriculum_pool > 1 else [])
    most = max(len(row_images(row)) for row in prompts)
    budget = config.optim.max_token_len_per_gpu  # tokens of a pass, as in training
    sampler = open_sampler(
        config.sampler, processor, launch, scratch, ranks.device, most,
        tokens=budget, colocated=True, first=ranks.first, meet=barrier,
    )  # fmt: skip
    policy = sampling_policy(policies.engine, gathered)
    gpu.sample()
    sampler.sync(policy, done)
    self_test(sampler, policy, prompts, images, config, ranks)
    prompts = best_rows(prompts, sampler, images, config, scorer, scratch, seed, ranks)
    begun = _first_probe(scratch, sampler, probe_rows, images, config, scorer, ranks)
    history = read_log(scratch, "metrics.jsonl")
    run = GrpoRun(
        config=config, scorer=scorer, seed=seed, scratch=scratch, start=start, ranks=ranks, images=images,
        processor=processor, policies=policies, gpu=gpu, sampler=sampler, gathered=gathered, identity=who, rows=prompts,
        probe_rows=probe_rows, probe_start=begun, prompts=Prompts(prompts, seed, cursor), pass_rates=rates,
        history=history, probe=next((line["probe"] for line in reversed(history) if probe_rows), begun),
    )  # fmt: skip
    return run, done, dropped


def load_policies(start: Path, model: Any, processor: Processor, config: Grpo, launch: Launch) -> Policies:
    """Build the engine around the policy; load a frozen reference if KL needs one."""
    # With LoRA the starting policy is the trained one without its adapters; otherwise KL needs a copy of it.
    copied = config.kl_coef > 0 and config.optim.lora is None
    engine = build_engine(CompletionLogProbs(model, processor.banned), config.optim, launch)
    reference = None
    if copied:  # in the engine's precision, so that KL is 0 before the first update; buffers stay in fp32 on both sides
        reference = CompletionLogProbs(load_model(start, dtype=precision(launch)), processor.banned)
    return Policies(engine, reference, processor)


def sampling_policy(engine: Any, gathered: torch.nn.Module | None) -> Any:
    """Return the policy to sample from.

    It is the engine's module, or `gathered`, updated with the engine's weights.
    """
    if gathered is None:
        return engine.module.model
    state = policy_state(engine) or dict(engine.module.model.named_parameters())
    parameters = dict(gathered.named_parameters())
    with torch.no_grad():
        for name, value in state.items():
            parameters[name].copy_(value)
    return gathered


def _first_probe(
    scratch: Path,
    sampler: Sampler,
    probed: list[Row],
    images: ImageSet,
    config: Grpo,
    scorer: Scorer,
    ranks: Ranks,
) -> float:
    """Measure the starting policy's held-out accuracy once per scratch folder."""
    path = scratch / "probe.json"
    there = gather_objects(path.exists(), ranks)[0]
    if probed and not there:
        begun = accuracy(sampler, probed, images, config, scorer, ranks)
        if ranks.first:
            write_json(path, {"accuracy": begun})
    return float(read_json(path)["accuracy"]) if probed and there else begun if probed else 0.0


def read_log(scratch: Path, name: str) -> list[Record]:
    return list(read_jsonl(scratch / name)) if (scratch / name).exists() else []
