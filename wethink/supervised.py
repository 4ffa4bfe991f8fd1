"""Supervised training on completions: the loop that `base` and `sft` share."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from wethink.batching import Images, encode_prompts, epoch_order, pack
from wethink.config import Launch, Optim
from wethink.distributed import (
    all_sum,
    append_log,
    build_engine,
    cost_clock,
    join,
    learning_rate,
    optimizer_step,
    restore_state,
    rewind_log,
    save_state,
    write_curves,
)
from wethink.errors import UserError
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor
from wethink.progress import track


@dataclass(frozen=True)
class Sample:
    """A question about an image and the completion to learn. `system` as in Processor.prompt_ids.

    `later` are further turns about the same image: the questions are read, the answers are learned.
    """

    problem: str
    image: str
    completion: str
    system: str | None = None
    later: tuple[tuple[str, str], ...] = ()


def tokenize(sample: Sample, processor: Processor) -> tuple[list[int], list[bool]]:
    """Tokens of everything after the first question, each answer with its stop token, and which of them to learn."""
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
    scratch: Path,
    out: Path,
    seed: int,
    title: str,
) -> bool:
    """Minimise −Σ log π(completion) / (global completion tokens of the step). True on the first rank.

    The denominator is the count over all ranks and micro-batches of one optimizer step (pains P12), so
    the gradient depends neither on the number of processes nor on the micro-batch size.
    """
    ranks = join(launch)
    if optim.batch < ranks.world:
        raise UserError(
            f"{title}: a batch of {optim.batch} leaves some of {ranks.world} processes without work; raise it."
        )
    engine = build_engine(CompletionLogProbs(model.to(ranks.device), processor.banned), optim, launch)
    done = restore_state(engine, scratch, ranks)
    if ranks.first:
        rewind_log(scratch, done)
    order = islice(epoch_order(len(samples), seed), done * optim.batch, None)
    for step in track(range(done, optim.steps), title, optim.steps, done, quiet=not ranks.first):
        start, cost = time.perf_counter(), cost_clock(ranks)
        chosen = [samples[i] for i in islice(order, optim.batch)]
        completions = [tokenize(sample, processor) for sample in chosen]
        tokens = sum(sum(learned) for _, learned in completions)
        mine = list(zip(chosen, completions, strict=True))[ranks.rank :: ranks.world]
        sums = torch.zeros(2, device=ranks.device)  # loss, cost
        for begin in range(0, len(mine), optim.micro_batch):
            part = mine[begin : begin + optim.micro_batch]
            rows = [sample for sample, _ in part]
            prompts = encode_prompts(
                [row.problem for row in rows],
                [row.image for row in rows],
                images,
                processor,
                [row.system for row in rows],
            )
            written, learned = zip(*(completion for _, completion in part), strict=True)
            batch = pack(prompts, written, learned=learned)
            logps, _ = engine(batch.to(ranks.device))
            loss = -logps.sum() / tokens
            engine.backward(loss * ranks.world)
            sums[0] += loss.detach()
        norm = optimizer_step(engine, optim, step)
        sums[1] = cost_clock(ranks) - cost
        all_sum(sums)
        if ranks.first:
            append_log(
                scratch,
                {
                    "step": step + 1,
                    "loss": float(sums[0]),
                    "lr": learning_rate(optim, step),
                    "grad_norm": norm,
                    "tokens": tokens,
                    "seconds": round(time.perf_counter() - start, 4),
                    "cost_seconds": round(float(sums[1]), 4),  # over all ranks
                },
            )
        if (step + 1) % optim.save_every == 0 and step + 1 < optim.steps:
            save_state(engine, scratch, step + 1, ranks)
    if ranks.first:
        write_curves(scratch, out)
    return ranks.first
