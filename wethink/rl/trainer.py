"""GRPO training loop (the `grpo` stage): rollouts, policy update, sampler sync, checkpoints.

Departures from the paper are parameters (docs/paper.md). A group's completions stay on one rank. Drawn rows,
sampled tokens and gradients depend on (seed, step, row) only, not on the number of ranks or on interruptions.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, write_json
from wethink.common.progress import track
from wethink.common.stage_run import StageRun
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.data.image_store import ImageSet
from wethink.models.policy import load_model, model_card, save_policy
from wethink.rewards.hybrid import Scorer
from wethink.rewards.unknown_rate import unknown_alarm, unknown_rates
from wethink.rl.heldout_probe import accuracy, best_step, replace_folder, should_stop
from wethink.rl.logprob_check import refuse_disagreement
from wethink.rl.rollout_log import rollout_records, summarise_step, write_rollouts
from wethink.rl.rollouts import Group, assign_advantages, generate_rollouts, rescore_until_known
from wethink.rl.run import GrpoRun, prepare, read_log, sampling_policy
from wethink.rl.update import accumulate_gradients, compute_old_logprobs, split_by_update
from wethink.training.checkpoints import (
    append_log,
    note_skipped,
    save_state,
    write_curves,
)
from wethink.training.engine import learning_rate, optimizer_step, policy_state
from wethink.training.ranks import all_max, cost_clock, end_after, gather_objects, seed_step, told_to_end


@dataclass(frozen=True)
class Rollouts:
    """Rollouts of one step on this rank."""

    groups: list[Group]  # every group that was sampled
    trained: list[Group]  # groups whose rewards vary
    places: list[int]  # of the trained groups of all ranks
    asked: list[str]  # row ids, in the order in which they were drawn
    rounds: int


@dataclass(frozen=True)
class Update:
    """Optimizer updates of one step."""

    stats: list[dict[str, float]]  # one dict of sums per update
    grad_norm: float
    non_finite: int  # updates that were skipped


def grpo(
    *, images: Path, rows: Path, base: Path, sft: Path, scorer: Scorer, launch: Launch, run: StageRun[Grpo]
) -> dict[str, Any]:
    """Train the starting policy with GRPO and publish it to `out`.

    Prompts are the train rows without a reasoning path. Gold is the row's synthesised answer, errors included; the
    truth of drawn images is never read.

    Raises:
        UserError: no training row is left, sampler and trainer disagree about log-probs, too many verdicts are
            unknown, or too many steps in a row had no finite gradient.
    """
    config = run.config
    start = sft if config.start == "sft" else base
    state, done, dropped = prepare(start, ImageSet(images), rows, scorer, launch, run)
    last = config.optim.max_steps
    for step in track(range(done, last), "grpo", last, done, quiet=not state.ranks.first):
        if should_stop(state.history, state.probe_start, max(1, config.probe.every), config.probe.patience):
            break
        clock, cost = time.perf_counter(), cost_clock(state.ranks)
        seed_step(run.seed, step, state.ranks)
        rollouts = collect_rollouts(state, step)
        sampled = time.perf_counter()
        updated = update(state, rollouts, step)
        learned = time.perf_counter()
        policy = sync(state, step)
        probe(state, policy, step)
        log(state, rollouts, updated, step, (clock, sampled, learned), cost)
        checkpoint(state, step)
    state.sampler.close()
    return publish(state, run.out, dropped)


def collect_rollouts(run: GrpoRun, step: int) -> Rollouts:
    """Sample and score prompts until a full batch of groups has reward variance.

    Stops early after `max_resample_rounds` further rounds, or when the epoch has no more rows.

    Raises:
        UserError: too many verdicts stay unknown.
    """
    config, ranks = run.config, run.ranks
    groups: list[Group] = []
    asked: list[str] = []
    trained: list[Group] = []
    places: list[int] = []
    missing, rounds = config.optim.train_batch_size, 0
    while missing and rounds <= config.max_resample_rounds:
        drawn = run.prompts.take(missing, config.curriculum_pool, run.pass_rates, asked)
        mine = drawn[ranks.rank :: ranks.world]
        sampled = generate_rollouts(run.sampler, run.processor, mine, run.images, config, run.scorer, step, run.seed)
        first = len(asked) + ranks.rank
        groups += [replace(group, place=first + i * ranks.world) for i, group in enumerate(sampled)]
        groups = rescore_until_known(groups, run.scorer, config.outage, ranks)
        asked += [row["id"] for row in drawn]
        groups = assign_advantages(groups, config, run.scorer.rewards, ranks)
        trained = [group for group in groups if group.has_signal]
        places = [place for part in gather_objects([group.place for group in trained], ranks) for place in part]
        missing = config.optim.train_batch_size - len(places) if drawn else 0
        rounds += 1
    return Rollouts(groups, trained, places, asked, rounds)


def update(run: GrpoRun, rollouts: Rollouts, step: int) -> Update:
    """Apply the step's optimizer updates.

    Raises:
        UserError: too many steps in a row had no finite gradient.
    """
    config = run.config
    policies = compute_old_logprobs(run.policies, rollouts.trained, config, run.ranks)
    stats, norm, non_finite = list[dict[str, float]](), 0.0, 0
    for part in split_by_update(rollouts.trained, config.steps_per_generation, rollouts.places):
        sums = accumulate_gradients(policies, part, config, run.ranks)
        if not sums:
            continue
        found = optimizer_step(policies.engine, config.optim, step)
        non_finite += not math.isfinite(found)
        norm = found if math.isfinite(found) else norm
        stats.append(sums)
    run.skipped = run.skipped + 1 if non_finite else 0
    if non_finite:
        note_skipped(run.scratch, step + 1, rollouts.asked, config.optim, run.ranks, run.skipped)
    return Update(stats, norm, non_finite)


def sync(run: GrpoRun, step: int) -> Any:
    """Copy the updated weights to the sampler and return the policy it samples from."""
    policy = sampling_policy(run.policies.engine, run.gathered)
    run.sampler.sync(policy, step + 1)
    return policy


def probe(run: GrpoRun, policy: Any, step: int) -> None:
    """Measure held-out accuracy at every `probe.every`-th step."""
    if run.probe_rows and (step + 1) % run.config.probe.every == 0:
        run.probe = accuracy(policy, run.processor, run.probe_rows, run.images, run.config, run.scorer, run.ranks)


def log(
    run: GrpoRun, rollouts: Rollouts, updated: Update, step: int, clocks: tuple[float, float, float], cost: float
) -> None:
    """Append the step's metrics and rollouts to the logs.

    `clocks` are the times of its begin, end of sampling and end of updates, in seconds.

    Raises:
        UserError: sampler and trainer disagree about log-probs, or unverifiable rewards rise with the policy.
    """
    ranks = run.ranks
    mine = [record for group in rollouts.groups for record in rollout_records(group, step + 1)]
    everyone = gather_objects((mine, updated.stats, cost_clock(ranks) - cost), ranks)
    records = [record for part, _, _ in everyone for record in part]
    run.pass_rates.add(records)
    line = summarise_step(records, [stats for _, parts, _ in everyone for stats in parts])
    line |= {"rounds": rollouts.rounds, "skipped": updated.non_finite}
    line |= {"probe": run.probe} if run.probe_rows else {}
    line |= {"step": step + 1, "lr": learning_rate(run.config.optim, step), "grad_norm": updated.grad_norm}
    line |= _speed(sum(record["tokens"] for record in records), *clocks)
    line |= {"cost_seconds": round(sum(spent for _, _, spent in everyone), 4)}  # over all ranks
    if updated.non_finite:  # the update was skipped, and curves cannot hold NaN
        line = {name: value if math.isfinite(value) else 0.0 for name, value in line.items()}
    refuse_disagreement(line["dlogp_mean"], line["dlogp_max"], run.config, f"at step {step + 1}")
    run.history.append(line)
    if ranks.first:
        append_log(run.scratch, line)
        for record in records:
            append_log(run.scratch, record, "rollouts.jsonl")
    stop_on_unverifiable_rewards(run.history)


def _speed(tokens: int, begun: float, sampled: float, learned: float) -> dict[str, float]:
    return {
        "sample_seconds": round(sampled - begun, 4),
        "learn_seconds": round(learned - sampled, 4),
        "sampled_tokens_per_second": round(tokens / max(1e-9, sampled - begun), 1),
        "learned_tokens_per_second": round(tokens / max(1e-9, learned - sampled), 1),
        "seconds": round(time.perf_counter() - begun, 4),
    }


def checkpoint(run: GrpoRun, step: int) -> None:
    """Save the policy with the best probe, and a checkpoint every `save_steps` or when a rank was told to end.

    Raises:
        UserError: a rank was told to end; the checkpoint is saved.
    """
    config, engine = run.config, run.policies.engine
    if run.probe_rows and best_step(run.history, run.probe_start, config.probe.every) == step + 1:
        _save_best(engine, run, step + 1)
    ends = bool(all_max(int(told_to_end()), run.ranks))
    if ((step + 1) % config.optim.save_steps == 0 or ends) and step + 1 < config.optim.max_steps:
        keep, cursor = config.optim.save_total_limit, run.prompts.cursor
        save_state(engine, run.scratch, step + 1, run.ranks, run.identity, keep, cursor)
        if ends:
            end_after(step + 1)


def publish(run: GrpoRun, out: Path, dropped: int) -> dict[str, Any]:
    """Write curves, rollouts, metrics and the policy to `out` and return the metrics.

    A run that stopped early publishes the policy with the best probe.
    """
    config, scratch, engine = run.config, run.scratch, run.policies.engine
    metrics: dict[str, Any] = {
        "prompts": len(run.rows),
        "steps": len(run.history),
        "start": config.start,
        "dropped_overlong": dropped,
    }
    if run.probe_rows:
        metrics |= {"probe_rows": len(run.probe_rows), "probe_start": run.probe_start, "probe_end": run.probe}
    state, card = policy_state(engine), model_card("grpo", str(run.start), run.scorer.rewards.format)
    if not run.ranks.first:
        return metrics
    write_curves(scratch, out)
    write_rollouts(scratch / "rollouts.jsonl", out / "rollouts.parquet")
    metrics["unknown_rewards"] = unknown_rates(read_log(scratch, "rollouts.jsonl"))
    if len(run.history) < config.optim.max_steps:
        best = best_step(run.history, run.probe_start, config.probe.every)
        metrics |= {"stopped_at": len(run.history), "published_step": best}
        policy = load_model(scratch / f"best-{best}" if best else run.start)
        save_policy(policy, None, run.processor, out, card)
    else:
        save_policy(engine.module.model, state, run.processor, out, card)
    write_json(out / "metrics.json", metrics)
    return metrics


def stop_on_unverifiable_rewards(history: Sequence[Record]) -> None:
    """Raise UserError if the rate of unknown rewards rises during training."""
    # A rising rate means that the policy learns answers that neither rule nor judge can score.
    alarm = unknown_alarm([(round(line["unknown"] * line["completions"]), line["completions"]) for line in history])
    if alarm:
        raise UserError(
            f"grpo: {alarm}. The policy learns answers that cannot be scored: read the reasons in rollouts.jsonl "
            "in its scratch folder and fix the judge or the rule that gives them; its checkpoints are kept."
        )


def _save_best(engine: Any, run: GrpoRun, step: int) -> None:
    state, scratch = policy_state(engine), run.scratch
    if run.ranks.first:
        for old in scratch.glob("best-*"):
            replace_folder(old, scratch / "old")
        card = model_card("grpo", str(run.start), run.scorer.rewards.format)
        save_policy(engine.module.model, state, run.processor, scratch / "new", card)
        replace_folder(scratch / "new", scratch / f"best-{step}")
