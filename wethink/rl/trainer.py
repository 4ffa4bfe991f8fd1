"""`grpo`: sample → score → filter → learn → sync → log → save, on every rank, through DeepSpeed.

Departures from the paper are parameters (docs/paper.md). A group's completions stay on one rank. What is drawn,
sampled and learned depends on (seed, step, row) only: not on how many ranks share it, nor on interruptions.
"""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json, read_jsonl, write_json
from wethink.common.progress import track
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.config.rewards import Rewards
from wethink.data.image_store import ImageSet
from wethink.generation.sampler import open_sampler
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor, load_model, load_processor, model_card, save_policy
from wethink.rewards.unknown_rate import unknown_alarm, unknown_rates
from wethink.rl.best_prompts import best_rows
from wethink.rl.heldout_probe import accuracy, best_step, replace_folder, should_stop
from wethink.rl.logprob_check import refuse_disagreement, self_test
from wethink.rl.prompt_dataset import PassRates, Prompts, training_rows
from wethink.rl.rollout_log import rollout_records, summarise_step, write_rollouts
from wethink.rl.rollouts import Group, assign_advantages, generate_rollouts, rescore_until_known
from wethink.rl.update import Policies, accumulate_gradients, compute_old_logprobs, split_by_update
from wethink.training.checkpoints import (
    append_log,
    identity,
    note_skipped,
    restore_state,
    rewind_log,
    save_state,
    write_curves,
)
from wethink.training.engine import build_engine, learning_rate, optimizer_step, policy_state, precision, zero_stage
from wethink.training.ranks import Ranks, cost_clock, gather_objects, join, seed_step


def grpo(
    *,
    images: Path,
    rows: Path,
    base: Path,
    sft: Path,
    out: Path,
    scratch: Path,
    config: Grpo,
    rewards: Rewards,
    launch: Launch,
    seed: int,
) -> dict[str, Any]:
    """Train the starting policy with GRPO on the train rows without a path and publish it to `out`.

    Gold is the row's synthesised answer, errors included; the truth of drawn images is never read here.

    Raises:
        UserError: there are no such rows, or none is left once the probe has taken its share.
    """
    start = sft if config.start == "sft" else base
    model, processor, dataset = load_model(start), load_processor(start), ImageSet(images)
    prompts, probed, dropped = training_rows(rows, dataset, model, processor, config, launch, seed)
    ranks = join(launch)
    optim, who = config.optim, identity(model, config.optim, launch)
    # With LoRA the starting policy is the trained one without its adapters; otherwise KL needs a copy of it.
    copied, dtype = config.kl > 0 and optim.lora is None, precision(launch)
    reference = CompletionLogProbs(load_model(start, dtype=dtype), processor.banned) if copied else None
    reference = reference.to(ranks.device) if reference else None
    engine = build_engine(CompletionLogProbs(model.to(ranks.device), processor.banned), optim, launch)
    if reference is not None:  # in the engine's precision: the policy that has not moved has KL 0 to itself
        reference.to(next(engine.module.parameters()).dtype)
    # ZeRO-3 shards the weights: sampling then needs a whole copy, for ranks write completions of unequal length.
    whole = load_model(start, dtype=dtype).to(ranks.device) if zero_stage(launch) == 3 else None
    policies = Policies(engine, reference, processor)
    done, cursor = restore_state(engine, scratch, ranks, who)
    if ranks.first:
        rewind_log(scratch, done)
        rewind_log(scratch, done, "rollouts.jsonl")
    gather_objects(None, ranks)  # nobody reads before the logs are rewound
    rates = PassRates()
    rates.add(_read_log(scratch, "rollouts.jsonl") if config.curriculum_pool > 1 else [])
    history = _read_log(scratch, "metrics.jsonl")
    sampler = open_sampler(processor, config, launch, scratch, ranks)
    sampler.sync(sampling_policy(engine, whole), done)
    self_test(sampler, sampling_policy(engine, whole), processor, prompts, dataset, config, ranks)
    prompts = best_rows(prompts, sampler, processor, dataset, config, rewards, scratch, seed, ranks)
    stream = Prompts(prompts, seed, cursor)
    begun = _first_probe(scratch, sampling_policy(engine, whole), processor, probed, dataset, config, rewards, ranks)
    probe, skipped = next((line["probe"] for line in reversed(history) if probed), begun), 0
    for step in track(range(done, optim.steps), "grpo", optim.steps, done, quiet=not ranks.first):
        if should_stop(history, begun, max(1, config.probe.every), config.probe.patience):
            break
        clock, cost = time.perf_counter(), cost_clock(ranks)
        seed_step(seed, step, ranks)
        # -- sample and score: prompts until `batch` groups have variance, or the refills are used up
        groups: list[Group] = []
        asked: list[str] = []
        missing, rounds = optim.batch, 0
        while missing and rounds <= config.refills:
            drawn = stream.take(missing, config.curriculum_pool, rates, asked)
            mine = drawn[ranks.rank :: ranks.world]
            found = generate_rollouts(sampler, processor, mine, dataset, config, rewards, step, seed)
            first = len(asked) + ranks.rank
            groups += [replace(group, place=first + i * ranks.world) for i, group in enumerate(found)]
            groups = rescore_until_known(groups, rewards, config.outage, ranks)
            asked += [row["id"] for row in drawn]
            # -- filter: a group without variance in its total reward teaches nothing
            groups = assign_advantages(groups, config, rewards, ranks)
            kept = [group for group in groups if group.has_signal]
            places = [place for part in gather_objects([group.place for group in kept], ranks) for place in part]
            missing, rounds = (optim.batch - len(places) if drawn else 0), rounds + 1
        sampled = time.perf_counter()
        # -- learn: `updates` times; each one's denominator is the global count of its tokens
        policies = compute_old_logprobs(policies, kept, config, ranks)
        learned, norm, losses = list[dict[str, float]](), 0.0, 0
        for part in split_by_update(kept, config.updates, places):
            sums = accumulate_gradients(policies, part, config, ranks)
            if sums:
                found_norm = optimizer_step(engine, optim, step)
                losses += not math.isfinite(found_norm)
                norm = found_norm if math.isfinite(found_norm) else norm
                learned.append(sums)
        learnt = time.perf_counter()
        skipped = skipped + 1 if losses else 0
        if losses:
            note_skipped(scratch, step + 1, asked, optim, ranks, skipped)
        # -- sync: the sampler follows the policy
        policy = sampling_policy(engine, whole)
        sampler.sync(policy, step + 1)
        # -- probe: held-out rows, against the policy that training started from
        if probed and (step + 1) % config.probe.every == 0:
            probe = accuracy(policy, processor, probed, dataset, config, rewards, ranks)
        # -- log and save
        records = [record for group in groups for record in rollout_records(group, step + 1)]
        everyone = gather_objects((records, learned, cost_clock(ranks) - cost), ranks)
        rollouts = [record for found_records, _, _ in everyone for record in found_records]
        rates.add(rollouts)
        tokens = sum(record["tokens"] for record in rollouts)
        line = summarise_step(rollouts, [stats for _, parts, _ in everyone for stats in parts]) | {
            "rounds": rounds,
            "skipped": losses,
            **({"probe": probe} if probed else {}),
            "step": step + 1,
            "lr": learning_rate(optim, step),
            "grad_norm": norm,
            "sample_seconds": round(sampled - clock, 4),
            "learn_seconds": round(learnt - sampled, 4),
            "sampled_tokens_per_second": round(tokens / max(1e-9, sampled - clock), 1),
            "learned_tokens_per_second": round(tokens / max(1e-9, learnt - sampled), 1),
            "seconds": round(time.perf_counter() - clock, 4),
            "cost_seconds": round(sum(spent for _, _, spent in everyone), 4),  # over all ranks
        }
        if losses:  # nothing was learned from it, and a curve has no place for NaN
            line = {name: value if math.isfinite(value) else 0.0 for name, value in line.items()}
        refuse_disagreement(line["dlogp_mean"], line["dlogp_max"], config, f"at step {step + 1}")
        history.append(line)
        if ranks.first:
            append_log(scratch, line)
            for record in rollouts:
                append_log(scratch, record, "rollouts.jsonl")
        stop_on_unverifiable_rewards(history)
        if probed and best_step(history, begun, config.probe.every) == step + 1:
            _save_best(engine, processor, scratch, step + 1, str(start), ranks)
        if (step + 1) % optim.save_every == 0 and step + 1 < optim.steps:
            save_state(engine, scratch, step + 1, ranks, who, optim.keep, stream.cursor)
    sampler.close()
    metrics: dict[str, Any] = {
        "prompts": len(prompts),
        "steps": len(history),
        "start": config.start,
        "dropped_overlong": dropped,
    }
    if probed:
        metrics |= {"probe_rows": len(probed), "probe_start": begun, "probe_end": probe}
    state = policy_state(engine)
    if ranks.first:
        write_curves(scratch, out)
        write_rollouts(scratch / "rollouts.jsonl", out / "rollouts.parquet")
        metrics["unknown_rewards"] = unknown_rates(_read_log(scratch, "rollouts.jsonl"))
        if len(history) < optim.steps:  # stopped early: what is published is the best that the probe has seen
            best = best_step(history, begun, config.probe.every)
            metrics |= {"stopped_at": len(history), "published_step": best}
            policy = load_model(scratch / f"best-{best}" if best else start)
            save_policy(policy, None, processor, out, model_card("grpo", str(start)))
        else:
            save_policy(engine.module.model, state, processor, out, model_card("grpo", str(start)))
        write_json(out / "metrics.json", metrics)
    return metrics


def stop_on_unverifiable_rewards(history: list[dict[str, Any]]) -> None:
    """Stop if unknown rewards rise with the policy: it would have found answers that nobody can check."""
    alarm = unknown_alarm([(round(line["unknown"] * line["completions"]), line["completions"]) for line in history])
    if alarm:
        raise UserError(
            f"grpo: {alarm}. A policy that learns to be unscorable must not go on: read the reasons in rollouts.jsonl "
            "in its scratch folder and mend the judge or the rule that gives them; its checkpoints are kept."
        )


def sampling_policy(engine: Any, whole: torch.nn.Module | None) -> Any:
    """The policy to sample from: the engine's own weights, or under ZeRO-3 `whole` with the engine's weights."""
    if whole is None:
        return engine.module.model
    state = policy_state(engine)
    assert state is not None, "ZeRO-3 weights are gathered"
    parameters = dict(whole.named_parameters())
    with torch.no_grad():
        for name, value in state.items():
            parameters[name].copy_(value)
    return whole


def _first_probe(
    scratch: Path,
    policy: Any,
    processor: Processor,
    probed: list[Record],
    images: ImageSet,
    config: Grpo,
    rewards: Rewards,
    ranks: Ranks,
) -> float:
    """The starting policy's held-out accuracy; measured once per scratch folder."""
    path = scratch / "probe.json"
    there = gather_objects(path.exists(), ranks)[0]
    if probed and not there:
        begun = accuracy(policy, processor, probed, images, config, rewards, ranks)
        if ranks.first:
            write_json(path, {"accuracy": begun})
    return float(read_json(path)["accuracy"]) if probed and there else begun if probed else 0.0


def _save_best(engine: Any, processor: Processor, scratch: Path, step: int, start: str, ranks: Ranks) -> None:
    state = policy_state(engine)
    if ranks.first:
        for old in scratch.glob("best-*"):
            replace_folder(old, scratch / "old")
        save_policy(engine.module.model, state, processor, scratch / "new", model_card("grpo", start))
        replace_folder(scratch / "new", scratch / f"best-{step}")


def _read_log(scratch: Path, name: str) -> list[Record]:
    return list(read_jsonl(scratch / name)) if (scratch / name).exists() else []
