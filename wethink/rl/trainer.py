"""`grpo`: sample → score → filter → learn → log → save, on every rank, through DeepSpeed.

Departures from the paper are parameters (docs/paper.md): token-level loss over the global token count
(DAPO), clip-higher, one update per rollout, no KL by default. A group's completions stay on one rank.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wethink.batching import Images, Prompt, collate, encode_prompts, epoch_order
from wethink.config import Grpo, Launch, Rewards
from wethink.distributed import (
    Ranks,
    all_sum,
    append_log,
    build_engine,
    cost_clock,
    gather_objects,
    join,
    learning_rate,
    optimizer_step,
    restore_state,
    rewind_log,
    save_state,
    write_curves,
)
from wethink.errors import UserError
from wethink.images import ImageSet
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor, load_model, load_processor, model_card, save_policy
from wethink.progress import track
from wethink.records import Record, read_json, read_jsonl, write_json
from wethink.rewards.hybrid import Scored, score
from wethink.rl.objective import group_advantages, kl_k3, policy_loss
from wethink.rl.rollout import Completion, sample, uniforms
from wethink.rl.selection import chosen_rows, nearest_half


@dataclass(frozen=True)
class Group:
    """One prompt's G completions with their rewards and advantages."""

    row: Record
    prompt: Prompt
    completions: list[Completion]
    texts: list[str]
    scores: list[Scored]
    advantages: torch.Tensor  # [G]

    @property
    def known(self) -> list[bool]:
        return [scored.total is not None for scored in self.scores]


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
        UserError: there are no such rows.
    """
    prompts = chosen_rows(answer_rows(rows), config)
    if not prompts:
        raise UserError(
            f"{rows / 'rows.jsonl'} has no such train row without a path; lower synthesize.path_share below 1, or "
            "widen grpo.sources and grpo.categories."
        )
    if config.gold == "shuffled":
        prompts = shuffle_golds(prompts, seed)
    start = sft if config.start == "sft" else base
    model, processor = load_model(start), load_processor(start)
    ranks = join(launch)
    reference = CompletionLogProbs(load_model(start), processor.banned).to(ranks.device) if config.kl else None
    engine = build_engine(CompletionLogProbs(model.to(ranks.device), processor.banned), config.optim, launch)
    done = restore_state(engine, scratch, ranks)
    if ranks.first:
        rewind_log(scratch, done)
        rewind_log(scratch, done, "rollouts.jsonl")
    dataset = ImageSet(images)
    if config.best_share < 1:
        rates = pass_rates(engine.module.model, processor, prompts, dataset, config, rewards, scratch, seed, ranks)
        prompts = nearest_half(prompts, rates, config.best_share)
    order = islice(epoch_order(len(prompts), seed), done * config.optim.batch, None)
    for step in track(range(done, config.optim.steps), "grpo", config.optim.steps, done, quiet=not ranks.first):
        clock, cost = time.perf_counter(), cost_clock(ranks)
        # -- sample: this rank's prompts, G completions each
        mine = [prompts[i] for i in islice(order, config.optim.batch)][ranks.rank :: ranks.world]
        groups = roll_out(engine.module.model, processor, mine, dataset, config, rewards, step, seed, ranks)
        sampled = time.perf_counter()
        # -- filter: a group without variance in its total reward teaches nothing
        kept = [group for group in groups if bool(group.advantages.any())]
        tokens = sum(
            len(c.ids) for group in kept for c, known in zip(group.completions, group.known, strict=True) if known
        )
        total = int(all_sum(torch.tensor([float(tokens)], device=ranks.device)))
        # -- learn: one update; the denominator is the global token count of the step
        learned = learn(engine, reference, kept, processor, config, total, ranks) if total else {}
        norm = optimizer_step(engine, config.optim, step) if total else 0.0
        # -- log and save
        evidence = [_evidence(group, step + 1) for group in groups]
        everyone = gather_objects((evidence, learned, cost_clock(ranks) - cost), ranks)
        if ranks.first:
            rollouts = [record for found, _, _ in everyone for group in found for record in group]
            append_log(
                scratch,
                summarise_step(rollouts, [stats for _, stats, _ in everyone if stats])
                | {
                    "step": step + 1,
                    "lr": learning_rate(config.optim, step),
                    "grad_norm": norm,
                    "sample_seconds": round(sampled - clock, 4),
                    "seconds": round(time.perf_counter() - clock, 4),
                    "cost_seconds": round(sum(spent for _, _, spent in everyone), 4),  # over all ranks
                },
            )
            for record in rollouts:
                append_log(scratch, record, "rollouts.jsonl")
        if (step + 1) % config.optim.save_every == 0 and step + 1 < config.optim.steps:
            save_state(engine, scratch, step + 1, ranks)
    if ranks.first:
        write_curves(scratch, out)
        write_rollouts(scratch / "rollouts.jsonl", out / "rollouts.parquet")
        save_policy(engine.module.model, None, processor, out, model_card("grpo", str(start)))
        write_json(out / "metrics.json", {"prompts": len(prompts), "steps": config.optim.steps, "start": config.start})
    return {"prompts": len(prompts)}


def answer_rows(rows: Path) -> list[Record]:
    """Train rows without a reasoning path: SFT never sees them."""
    return [row for row in read_jsonl(rows / "rows.jsonl") if row["split"] == "train" and not row["refined_cot"]]


def pass_rates(
    model: Any,
    processor: Processor,
    rows: Sequence[Record],
    images: Images,
    config: Grpo,
    rewards: Rewards,
    scratch: Path,
    seed: int,
    ranks: Ranks,
) -> dict[str, float]:
    """Share of G samples of the starting policy that are right, by row; sampled once and kept in scratch."""
    store = scratch / "pass_rates.json"
    if not store.exists():
        found: dict[str, float] = {}
        mine = list(rows[ranks.rank :: ranks.world])
        for begin in range(0, len(mine), config.optim.batch):
            part = mine[begin : begin + config.optim.batch]
            for group in roll_out(model, processor, part, images, config, rewards, -1, seed, ranks):
                found[group.row["id"]] = float(
                    np.mean([scored.verdict.outcome == "correct" for scored in group.scores])
                )
        everyone = gather_objects(found, ranks)
        if ranks.first:
            write_json(store, {key: rate for part in everyone for key, rate in part.items()})
        gather_objects(None, ranks)  # nobody reads before it is written
    return {str(key): float(rate) for key, rate in read_json(store).items()}


def shuffle_golds(rows: Sequence[Record], seed: int) -> list[Record]:
    """The control that must not gain: golds permuted among rows of the same kind."""
    by_kind: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        by_kind.setdefault(row["kind"], []).append(i)
    golds = [row["answer"] for row in rows]
    for n, kind in enumerate(sorted(by_kind)):
        places = by_kind[kind]
        order = np.random.default_rng([seed, n]).permutation(len(places))
        for place, other in zip(places, order, strict=True):
            golds[place] = rows[places[other]]["answer"]
    return [row | {"answer": gold} for row, gold in zip(rows, golds, strict=True)]


def roll_out(
    model: Any,
    processor: Processor,
    rows: Sequence[Record],
    images: Images,
    config: Grpo,
    rewards: Rewards,
    step: int,
    seed: int,
    ranks: Ranks,
) -> list[Group]:
    """Sample and score G completions for each row."""
    if not rows:
        return []
    prompts = encode_prompts([row["problem"] for row in rows], [row["image"] for row in rows], images, processor)
    draws = np.concatenate([uniforms(seed, step, row["id"], config.group, config.max_new_tokens) for row in rows])
    model.eval()
    sampled = sample(
        model, processor, prompts, draws, config.max_new_tokens, config.temperature, config.group, ranks.device
    )
    model.train()
    groups = []
    for row, prompt, completions in zip(rows, prompts, sampled, strict=True):
        texts = [processor.decode(completion.ids) for completion in completions]
        scores = [score(text, row["problem"], row["answer"], row["category"], row["reward"], rewards) for text in texts]
        totals = torch.tensor([[0.0 if scored.total is None else scored.total for scored in scores]])
        known = torch.tensor([[scored.total is not None for scored in scores]])
        advantages = group_advantages(totals, known, config.advantage)[0]
        groups.append(Group(row, prompt, completions, texts, scores, advantages))
    return groups


def learn(
    engine: Any,
    reference: CompletionLogProbs | None,
    groups: Sequence[Group],
    processor: Processor,
    config: Grpo,
    total_tokens: int,
    ranks: Ranks,
) -> dict[str, float]:
    """Accumulate the gradient of this rank's groups; every rank makes at least one backward pass."""
    stats = {"loss": 0.0, "tokens": 0.0, "entropy": 0.0, "clipped": 0.0, "kl": 0.0, "dlogp_sum": 0.0, "dlogp_max": 0.0}
    per_pass = max(1, config.optim.micro_batch // config.group)
    for begin in range(0, len(groups), per_pass):
        part = groups[begin : begin + per_pass]
        completions = [completion for group in part for completion in group.completions]
        known = torch.tensor([flag for group in part for flag in group.known])
        lengths = torch.tensor([len(completion.ids) for completion in completions])
        weight = known.repeat_interleave(lengths).float().to(ranks.device)  # [N] tokens of known rows
        advantages = torch.cat([group.advantages for group in part]).repeat_interleave(lengths).to(ranks.device)
        sampler = torch.tensor([logp for c in completions for logp in c.logps], device=ranks.device)
        batch = collate(
            [group.prompt for group in part],
            [c.ids for c in completions],
            processor.tokenizer.pad_token_id,
            config.group,
        ).to(ranks.device)
        logps, entropy = engine(batch, config.temperature)
        # One update per rollout: the policy that sampled is the policy that learns, so old = logps (ρ = 1).
        loss, clipped = policy_loss(
            logps,
            logps.detach(),
            advantages,
            clip_low=config.clip_low,
            clip_high=config.clip_high,
            dual_clip=config.dual_clip,
        )
        if reference is not None:
            with torch.no_grad():
                ref, _ = reference(batch, config.temperature)
            penalty = kl_k3(logps, ref)
            loss = loss + config.kl * penalty
            stats["kl"] += float((penalty.detach() * weight).sum())
        mean = (loss * weight).sum() / total_tokens
        engine.backward(mean * ranks.world)
        difference = (logps.detach() - sampler).abs()
        stats["loss"] += float(mean.detach())
        stats["tokens"] += float(weight.sum())
        stats["entropy"] += float((entropy * weight).sum())
        stats["clipped"] += float((clipped * weight).sum())
        stats["dlogp_sum"] += float(difference.sum())
        stats["dlogp_max"] = max(stats["dlogp_max"], float(difference.max()))
    if not groups:
        engine.backward(sum(p.sum() for p in engine.module.parameters()) * 0.0)
    return stats


def _evidence(group: Group, step: int) -> list[Record]:
    """Every rollout as a record: what was asked, written, found and how it was judged."""
    return [
        {
            "step": step,
            "row": group.row["id"],
            "sample": i,
            "text": group.texts[i],
            "gold": group.row["answer"],
            "format": scored.format,
            "accuracy": scored.accuracy,
            "reward": scored.total,
            "verdict": scored.verdict.outcome,
            "reason": scored.verdict.reason,
            "advantage": float(group.advantages[i]),
            "tokens": len(group.completions[i].ids),
            "finished": group.completions[i].finished,
        }
        for i, scored in enumerate(group.scores)
    ]


def summarise_step(rollouts: Sequence[Record], learned: Sequence[dict[str, float]]) -> dict[str, float]:
    """One line of curves from a step's rollouts and the ranks' learning statistics."""
    known = [r for r in rollouts if r["reward"] is not None]
    right = [r["tokens"] for r in known if r["verdict"] == "correct"]
    wrong = [r["tokens"] for r in known if r["verdict"] != "correct"]
    groups: dict[tuple[str, int], list[float]] = {}
    for r in known:
        groups.setdefault((r["row"], r["step"]), []).append(r["reward"])
    tokens = max(1.0, sum(stats["tokens"] for stats in learned))

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values)) if values else 0.0

    return {
        "reward": mean([r["reward"] for r in known]),
        "accuracy": mean([r["accuracy"] for r in known]),
        "format": mean([r["format"] for r in known]),
        "length": mean([r["tokens"] for r in rollouts]),
        "length_right": mean(right),
        "length_wrong": mean(wrong),
        "truncated": mean([0.0 if r["finished"] else 1.0 for r in rollouts]),
        "unknown": 1 - len(known) / max(1, len(rollouts)),
        "kept_groups": mean([1.0 if max(found) - min(found) > 1e-6 else 0.0 for found in groups.values()]),
        "all_right": mean([1.0 if min(found) >= 1 - 1e-6 else 0.0 for found in groups.values()]),
        "loss": sum(stats["loss"] for stats in learned),
        "entropy": sum(stats["entropy"] for stats in learned) / tokens,
        "kl": sum(stats["kl"] for stats in learned) / tokens,
        "clip_fraction": sum(stats["clipped"] for stats in learned) / tokens,
        "dlogp_mean": sum(stats["dlogp_sum"] for stats in learned) / tokens,
        "dlogp_max": max((stats["dlogp_max"] for stats in learned), default=0.0),
    }


def write_rollouts(log: Path, out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(list(read_jsonl(log))), out, compression="zstd")
