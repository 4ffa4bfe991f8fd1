"""Supervised training on completions: the loop that `base` and `sft` share."""

import math
import time
from collections.abc import Iterator, Sequence
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
from wethink.models.batching import Images, Packed, dummy_batch, encode_prompts, epoch_order, pack, share_prefix
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.lora import save_trained
from wethink.models.policy import Processor
from wethink.training.checkpoints import (
    append_log,
    identity,
    note_skipped,
    restore_state,
    rewind_log,
    save_state,
    write_curves,
)
from wethink.training.engine import build_engine, forwards_must_match, learning_rate, optimizer_step, raw_state
from wethink.training.ranks import Ranks, all_max, all_sum, cost_clock, join, seed_step, stop_requested
from wethink.training.stopping import stopped


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
    share_images: bool = False,
) -> bool:
    """Fine-tune on completions and publish the policy; return True on rank 0.

    With `share_images`, samples about one image follow each other in the data order, and those of a micro-batch are
    learned behind one copy of the image and of the words before their questions: the same gradient for less work.

    The loss is −Σ log π(completion) / (completion tokens of the step). The denominator counts the tokens of all ranks
    and micro-batches of one optimizer step (pains P12), so the gradient depends neither on the number of processes nor
    on the micro-batch size.

    Raises:
        UserError: the batch is smaller than the number of processes, the scratch holds another kind of run, or too many
            steps in a row had no finite gradient.
    """
    scratch, seed, ranks = run.scratch, run.seed, _join(optim, launch, title)
    who = identity(model, optim, launch)
    engine = build_engine(CompletionLogProbs(model, processor.banned), optim, launch)
    done, _ = restore_state(engine, scratch, ranks, who)
    if ranks.first:
        rewind_log(scratch, done)
    skipped, order = 0, islice(_order(samples, seed, share_images), done * optim.train_batch_size, None)
    for step in track(range(done, optim.max_steps), title, optim.max_steps, done, quiet=not ranks.first):
        start, cost = time.perf_counter(), cost_clock(ranks)
        seed_step(seed, step, ranks)
        chosen = [samples[i] for i in islice(order, optim.train_batch_size)]
        loss, tokens = _backward(engine, processor, images, chosen, optim, ranks, share_images)
        norm = optimizer_step(engine, optim, step)
        broken = not math.isfinite(norm)
        skipped = skipped + 1 if broken else 0
        if broken:
            note_skipped(scratch, step + 1, [" ".join((*s.images, s.problem)) for s in chosen], optim, ranks, skipped)
        sums = torch.stack([loss, loss.new_tensor(cost_clock(ranks) - cost)])
        all_sum(sums)
        if ranks.first:
            append_log(scratch, _line(step, sums, optim, norm, tokens, start))
        stop, more = stop_requested(ranks), step + 1 < optim.max_steps
        if more and (stop or (step + 1) % optim.save_steps == 0):
            save_state(engine, scratch, step + 1, ranks, who, optim.save_total_limit)
        if more and stop:
            raise stopped(title, step + 1, optim.max_steps)
    raw = raw_state(engine)
    if ranks.first:
        write_curves(scratch, run.out)
        save_trained(model, raw, optim.lora, processor, run.out, card)
    return ranks.first


def _line(step: int, sums: torch.Tensor, optim: Optim, norm: float, tokens: int, start: float) -> dict[str, float]:
    """Return the log's record of a step; `sums` are the loss and the cost over all ranks."""
    broken = not math.isfinite(norm)
    return {
        "step": step + 1,
        "loss": float(sums[0]) if math.isfinite(sums[0]) else 0.0,
        "lr": learning_rate(optim, step),
        "grad_norm": 0.0 if broken else norm,
        "tokens": tokens,
        "skipped": int(broken),
        "seconds": round(time.perf_counter() - start, 4),
        "cost_seconds": round(float(sums[1]), 4),
    }


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


def _order(samples: Sequence[Sample], seed: int, share_images: bool) -> Iterator[int]:
    """Yield sample indices without end: each epoch is a permutation, of samples or of whole images with theirs."""
    if not share_images:
        yield from epoch_order(len(samples), seed)
    about: dict[object, list[int]] = {}
    for i, sample in enumerate(samples):
        about.setdefault(_shown(sample) if sample.images else i, []).append(i)
    groups = list(about.values())
    for group in epoch_order(len(groups), seed):
        yield from groups[group]


def _shown(sample: Sample) -> tuple[tuple[str, ...], str | None]:
    """Return what samples must have in common to share a prefix."""
    return sample.images, sample.system


def _backward(
    engine: Any,
    processor: Processor,
    images: Images,
    chosen: Sequence[Sample],
    optim: Optim,
    ranks: Ranks,
    share_images: bool,
) -> tuple[torch.Tensor, int]:
    """Accumulate the gradients of one step from this rank's part of its samples.

    Returns:
        This rank's loss, a float32 scalar, and the completion tokens of all ranks.
    """
    completions = [tokenize(sample, processor) for sample in chosen]
    tokens = sum(sum(learned) for _, learned in completions)
    everything = list(zip(chosen, completions, strict=True))
    if share_images:  # neighbours in the order stay on one rank
        cuts = [len(everything) * rank // ranks.world for rank in range(ranks.world + 1)]
        mine = everything[cuts[ranks.rank] : cuts[ranks.rank + 1]]
    else:
        mine = everything[ranks.rank :: ranks.world]
    parts = [
        part
        for begin in range(0, len(mine), optim.micro_batch_size)
        for part in _parts(mine[begin : begin + optim.micro_batch_size], share_images)
    ]
    # Rank 0 has the most passes of whole micro-batches. Compare now: later, a collective would block on the last
    # reduction of a rank that is ahead.
    most = all_max(len(parts), ranks) if forwards_must_match(engine) else len(parts)
    total = torch.zeros((), device=ranks.device)
    for part, group in parts:
        batch = _packed(part, group, images, processor)
        logps, _ = engine(batch.to(ranks.device), entropy=False)
        loss = -logps.sum() / tokens
        engine.backward(loss * ranks.world)
        total += loss.detach()
    for _ in range(most - len(parts)):
        engine.backward(engine(dummy_batch(processor).to(ranks.device))[0].sum() * 0.0)
    return total, tokens


Learned = tuple[Sample, tuple[list[int], list[bool]]]  # a sample, its completion and loss mask


def _parts(rows: Sequence[Learned], share_images: bool) -> Iterator[tuple[list[Learned], int]]:
    """Split a micro-batch by the number of rows behind one prefix: a pass has equally many behind each.

    Yields the rows, those of one prefix behind each other, and that number.
    """
    if not share_images:
        yield list(rows), 1
        return
    about: dict[object, list[Learned]] = {}
    for i, row in enumerate(rows):
        about.setdefault(_shown(row[0]) if row[0].images else i, []).append(row)
    for size in sorted({len(group) for group in about.values()}):
        yield [row for group in about.values() if len(group) == size for row in group], size


def _packed(part: Sequence[Learned], group: int, images: Images, processor: Processor) -> Packed:
    """Pack the rows of a pass, `group` of them behind each prefix."""
    rows = [sample for sample, _ in part]
    prompts = encode_prompts(
        [row.problem for row in rows], [row.images for row in rows], images, processor, [row.system for row in rows]
    )
    written, learned = zip(*(completion for _, completion in part), strict=True)
    if group > 1:
        places = range(0, len(part), group)
        token = processor.image_token_id
        shared = [share_prefix(*(x[i : i + group] for x in (prompts, written, learned)), token) for i in places]
        if all(shared):
            trunks, rests, flags = zip(*(found for found in shared if found), strict=True)
            return pack(trunks, [r for found in rests for r in found], group, [f for found in flags for f in found])
    return pack(prompts, written, learned=learned)
