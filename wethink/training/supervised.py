"""Supervised training on completions: the loop that `base` and `sft` share."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn

from wethink.common.errors import UserError
from wethink.common.progress import track
from wethink.common.stage_run import StageRun
from wethink.config.launch import Launch
from wethink.config.training import Optim
from wethink.models.batching import Images, dummy_batch, encode_prompts, epoch_order, pack
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor, save_policy
from wethink.training.checkpoints import (
    append_log,
    identity,
    note_skipped,
    restore_state,
    rewind_log,
    save_state,
    write_curves,
)
from wethink.training.engine import build_engine, forwards_must_match, learning_rate, optimizer_step, policy_state
from wethink.training.ranks import Ranks, all_sum, cost_clock, end_after, join, seed_step, told_to_end


@dataclass(frozen=True)
class Sample:
    """A question about images, or about none, and the completion to learn.

    `system` is as in `Processor.prompt_ids`. `later` holds further (question, answer) turns about the same images; only
    the answers are learned.
    """

    problem: str
    images: tuple[str, ...]
    completion: str
    system: str | None = None
    later: tuple[tuple[str, str], ...] = ()


def tokenize(sample: Sample, processor: Processor) -> tuple[list[int], list[bool]]:
    """Tokenize all text after the first question; return ids and loss mask.

    Every answer ends with its stop token; the mask is True on answers.
    """
    stop = [processor.tokenizer.eos_token_id]
    ids = processor.text_ids(sample.completion) + stop
    learned = [True] * len(ids)
    for question, answer in sample.later:
        asked, answered = processor.turn_ids(question), processor.text_ids(answer) + stop
        ids += asked + answered
        learned += [False] * len(asked) + [True] * len(answered)
    return ids, learned


def train(
    model: nn.Module,
    processor: Processor,
    samples: Sequence[Sample],
    images: Images,
    optim: Optim,
    launch: Launch,
    run: StageRun[object],
    title: str,
    card: str,
) -> bool:
    """Fine-tune on completions and publish the policy; return True on rank 0.

    The loss is −Σ log π(completion) / (completion tokens of the step). The denominator counts the tokens of all ranks
    and micro-batches of one optimizer step (pains P12), so the gradient depends neither on the number of processes nor
    on the micro-batch size.

    Raises:
        UserError: the batch is smaller than the number of processes, the scratch holds another kind of run, or too many
            steps in a row had no finite gradient.
    """
    scratch, seed, ranks = run.scratch, run.seed, _join(optim, launch, title)
    who = identity(model, optim, launch)
    engine = build_engine(CompletionLogProbs(model.to(ranks.device), processor.banned), optim, launch)
    done, _ = restore_state(engine, scratch, ranks, who)
    if ranks.first:
        rewind_log(scratch, done)
    skipped, order = 0, islice(epoch_order(len(samples), seed), done * optim.train_batch_size, None)
    for step in track(range(done, optim.max_steps), title, optim.max_steps, done, quiet=not ranks.first):
        start, cost = time.perf_counter(), cost_clock(ranks)
        seed_step(seed, step, ranks)
        chosen = [samples[i] for i in islice(order, optim.train_batch_size)]
        loss, tokens = _backward(engine, processor, images, chosen, optim, ranks)
        norm = optimizer_step(engine, optim, step)
        broken = not math.isfinite(norm)
        skipped = skipped + 1 if broken else 0
        if broken:
            note_skipped(scratch, step + 1, [" ".join((*s.images, s.problem)) for s in chosen], optim, ranks, skipped)
        sums = torch.stack([loss, loss.new_tensor(cost_clock(ranks) - cost), loss.new_tensor(float(told_to_end()))])
        all_sum(sums)
        if ranks.first:
            line = {
                "step": step + 1,
                "loss": float(sums[0]) if math.isfinite(sums[0]) else 0.0,
                "lr": learning_rate(optim, step),
                "grad_norm": 0.0 if broken else norm,
                "tokens": tokens,
                "skipped": int(broken),
                "seconds": round(time.perf_counter() - start, 4),
                "cost_seconds": round(float(sums[1]), 4),  # over all ranks
            }
            append_log(scratch, line)
        ends = bool(sums[2])  # where a rank was told to
        if ((step + 1) % optim.save_steps == 0 or ends) and step + 1 < optim.max_steps:
            save_state(engine, scratch, step + 1, ranks, who, optim.save_total_limit)
            if ends:
                end_after(step + 1)
    state = policy_state(engine)
    if ranks.first:
        write_curves(scratch, run.out)
        save_policy(model, state, processor, run.out, card)
    return ranks.first


def _join(optim: Optim, launch: Launch, title: str) -> Ranks:
    """Join the ranks; each must have samples in every batch.

    Raises:
        UserError: the batch is smaller than the number of processes.
    """
    ranks = join(launch)
    if optim.train_batch_size < ranks.world:
        raise UserError(
            f"{title}: a batch of {optim.train_batch_size} leaves some of {ranks.world} processes "
            "without work; raise it."
        )
    return ranks


def _backward(
    engine: Any,
    processor: Processor,
    images: Images,
    chosen: Sequence[Sample],
    optim: Optim,
    ranks: Ranks,
) -> tuple[torch.Tensor, int]:
    """Accumulate the gradients of one step from this rank's part of its samples.

    Returns:
        This rank's loss, a float32 scalar, and the completion tokens of all ranks.
    """
    completions = [tokenize(sample, processor) for sample in chosen]
    tokens = sum(sum(learned) for _, learned in completions)
    mine = list(zip(chosen, completions, strict=True))[ranks.rank :: ranks.world]
    total = torch.zeros((), device=ranks.device)
    for begin in range(0, len(mine), optim.micro_batch_size):
        part = mine[begin : begin + optim.micro_batch_size]
        rows = [sample for sample, _ in part]
        prompts = encode_prompts(
            [row.problem for row in rows],
            [row.images for row in rows],
            images,
            processor,
            [row.system for row in rows],
        )
        written, learned = zip(*(completion for _, completion in part), strict=True)
        batch = pack(prompts, written, learned=learned)
        logps, _ = engine(batch.to(ranks.device))
        loss = -logps.sum() / tokens
        engine.backward(loss * ranks.world)
        total += loss.detach()
    if forwards_must_match(engine):
        # Rank 0 has the most passes. Compute their number here: a collective would block on its last reduction.
        most, passes = (-(-len(part) // optim.micro_batch_size) for part in (chosen[:: ranks.world], mine))
        for _ in range(most - passes):
            engine.backward(engine(dummy_batch(processor).to(ranks.device))[0].sum() * 0.0)
    return total, tokens
