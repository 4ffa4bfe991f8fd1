"""GRPO training loop (the `grpo` stage): rollouts, policy update, sampler sync, checkpoints.

Departures from the paper are parameters (docs/paper.md). A group's completions stay on one rank. Drawn rows,
sampled tokens and gradients depend on (seed, step, row) only, not on the number of ranks or on interruptions.
"""

import math
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
from wethink.data.schema import Row
from wethink.models.lora import save_trained
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
from wethink.training.engine import learning_rate, optimizer_step, raw_state
from wethink.training.ranks import cost_clock, gather_objects, seed_step, stop_requested
from wethink.training.stopping import stopped


@dataclass(frozen=True)
class Rollouts:
    """Rollouts of one step on this rank."""

    groups: list[Group]  # every group that was sampled
    trained: list[Group]  # groups whose rewards vary
    places: list[int]  # of the trained groups of all ranks
    asked: list[str]  # row ids, in the order in which they were drawn
    rounds: int
    age: int  # updates between the policy that sampled the first round and the one that learns from it


@dataclass(frozen=True)
class Draw:
    """The first round of a step's prompts, drawn on every rank, and this rank's groups of them, not yet compared."""

    rows: list[Row]
    groups: list[Group]
    cursor: int  # of the prompts, before they were drawn


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
    early: Draw | None = None
    with ThreadPoolExecutor(1, "sampling-ahead") as beside:
        for step in track(range(done, last), "grpo", last, done, quiet=not state.ranks.first):
            if should_stop(state.history, state.probe_start, max(1, config.probe.every), config.probe.patience):
                break
            clock, cost = time.perf_counter(), cost_clock(state.ranks)
            seed_step(run.seed, step, state.ranks)
            rollouts = collect_rollouts(state, step, early)
            sampled = time.perf_counter()
            cursor = state.prompts.cursor
            ahead = draw(state) if samples_ahead(config, step) else []
            following = beside.submit(sample, state, ahead, step + 1) if ahead else None
            updated = update(state, rollouts, step)
            early = Draw(ahead, following.result(), cursor) if following else None
            learned = time.perf_counter()
            sync(state, step)
            probe(state, step)
            log(state, rollouts, updated, step, (clock, sampled, learned), cost)
            checkpoint(state, step, early)
    state.sampler.close()
    return publish(state, run.out, dropped)


def samples_ahead(config: Grpo, step: int) -> bool:
    """Tell whether the rollouts of the step after this one are sampled while this one learns.

    Not behind a checkpoint: a resumed run has the policy that it saved, and not the one before it.
    """
    behind = step + 1
    return config.max_staleness > 0 and behind < config.optim.max_steps and behind % config.optim.save_steps != 0


def draw(run: GrpoRun, count: int | None = None, asked: Sequence[str] = ()) -> list[Row]:
    """Draw the next prompts of all ranks: a batch of them, or `count`."""
    config = run.config
    count = config.optim.train_batch_size if count is None else count
    return run.prompts.take(count, config.curriculum_pool, run.pass_rates, list(asked))


def sample(run: GrpoRun, rows: Sequence[Row], step: int) -> list[Group]:
    """Sample and score this rank's share of drawn prompts. No rank waits for another."""
    mine = rows[run.ranks.rank :: run.ranks.world]
    return generate_rollouts(run.sampler, mine, run.images, run.config, run.scorer, step, run.seed)


def collect_rollouts(run: GrpoRun, step: int, early: Draw | None = None) -> Rollouts:
    """Sample and score prompts until a full batch of groups has reward variance.

    Stops early after `max_resample_rounds` further rounds, or when the epoch has no more rows. The first round is
    `early` if the step before has sampled it; further ones are sampled now.

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
        drawn = early.rows if early and not rounds else draw(run, missing, asked)
        sampled = early.groups if early and not rounds else sample(run, drawn, step)
        first = len(asked) + ranks.rank
        groups += [replace(group, place=first + i * ranks.world) for i, group in enumerate(sampled)]
        groups = rescore_until_known(groups, run.scorer, config.outage, ranks)
        asked += [row["id"] for row in drawn]
        groups = assign_advantages(groups, config, run.scorer.rewards, ranks)
        trained = [group for group in groups if group.has_signal]
        places = [place for part in gather_objects([group.place for group in trained], ranks) for place in part]
        missing = config.optim.train_batch_size - len(places) if drawn else 0
        rounds += 1
    return Rollouts(groups, trained, places, asked, rounds, age=1 if early else 0)


def update(run: GrpoRun, rollouts: Rollouts, step: int) -> Update:
    """Apply the step's optimizer updates.

    Raises:
        UserError: too many steps in a row had no finite gradient.
    """
    config = run.config
    run.gpu.learn()
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


def sync(run: GrpoRun, step: int) -> None:
    """Copy the updated weights to the sampler."""
    policy = sampling_policy(run.policies.engine, run.gathered)
    run.gpu.sample()
    run.sampler.sync(policy, step + 1)


def probe(run: GrpoRun, step: int) -> None:
    """Measure held-out accuracy at every `probe.every`-th step."""
    if run.probe_rows and (step + 1) % run.config.probe.every == 0:
        run.probe = accuracy(run.sampler, run.probe_rows, run.images, run.config, run.scorer, run.ranks)


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
    line |= {"age": rollouts.age} if run.config.max_staleness else {}
    line |= {"probe": run.probe} if run.probe_rows else {}
    line |= {"step": step + 1, "lr": learning_rate(run.config.optim, step), "grad_norm": updated.grad_norm}
    line |= _speed(sum(record["tokens"] for record in records), *clocks)
    line |= {"cost_seconds": round(sum(spent for _, _, spent in everyone), 4)}  # over all ranks
    if updated.non_finite:  # the update was skipped, and curves cannot hold NaN
        line = {name: value if math.isfinite(value) else 0.0 for name, value in line.items()}
    if not rollouts.age:  # an older policy differs from the trained one by right
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


def checkpoint(run: GrpoRun, step: int, early: Draw | None) -> None:
    """Save the policy with the best probe, and a checkpoint every `save_steps` or before a stop.

    Rollouts that were sampled `early` are lost by a stop: their prompts are asked again, of the saved policy.

    Raises:
        UserError: SIGTERM has come; the step is saved.
    """
    config, engine = run.config, run.policies.engine
    if run.probe_rows and best_step(run.history, run.probe_start, config.probe.every) == step + 1:
        _save_best(engine, run, step + 1)
    stop, more = stop_requested(run.ranks), step + 1 < config.optim.max_steps
    if more and (stop or (step + 1) % config.optim.save_steps == 0):
        keep, cursor = config.optim.save_total_limit, early.cursor if early else run.prompts.cursor
        save_state(engine, run.scratch, step + 1, run.ranks, run.identity, keep, cursor)
    if more and stop:
        raise stopped("grpo", step + 1, config.optim.max_steps)


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
    raw, card = raw_state(engine), model_card("grpo", str(run.start), run.scorer.rewards.format)
    if not run.ranks.first:
        return metrics
    write_curves(scratch, out)
    write_rollouts(scratch / "rollouts.jsonl", out / "rollouts.parquet")
    metrics["unknown_rewards"] = unknown_rates(read_log(scratch, "rollouts.jsonl"))
    if len(run.history) < config.optim.max_steps:
        best = best_step(run.history, run.probe_start, config.probe.every)
        metrics |= {"stopped_at": len(run.history), "published_step": best}
        found = scratch / f"best-{best}" if best else run.start
        save_policy(load_model(found, dtype=None), None, run.processor, out, card)
        if best and (found / "adapter").exists():
            shutil.copytree(found / "adapter", out / "adapter")
    else:
        save_trained(engine.module.model, raw, config.optim.lora, run.processor, out, card)
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
    raw, scratch = raw_state(engine), run.scratch
    if run.ranks.first:
        for old in scratch.glob("best-*"):
            replace_folder(old, scratch / "old")
        card = model_card("grpo", str(run.start), run.scorer.rewards.format)
        save_trained(engine.module.model, raw, run.config.optim.lora, run.processor, scratch / "new", card)
        replace_folder(scratch / "new", scratch / f"best-{step}")
