"""Batching for Qwen-VL: encoded prompts, M-RoPE positions, padded batches and packed sequences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wethink.models.packing import Layout, Rows
from wethink.models.policy import Processor


class Images(Protocol):
    """Image source that opens an image by its id."""

    def open(self, image: str) -> Image.Image: ...


@dataclass(frozen=True)
class Prompt:
    """One question about one image. P patches give P / merge² image tokens."""

    ids: np.ndarray  # [L]
    positions: np.ndarray  # [3, L] temporal, height, width (M-RoPE)
    pixels: Tensor  # [P, C·T·p·p], patches of side p = 14 or 16
    grid: tuple[int, int, int]


@dataclass(frozen=True)
class Batch:
    """Padded model inputs of B rows, which share n ≤ B images through `image_of`."""

    ids: Tensor  # [B, L]
    mask: Tensor  # [B, L] 1 at real tokens, 0 at padding
    positions: Tensor  # [3, B, L]
    pixels: Tensor  # [ΣP, C·T·p·p]
    grids: Tensor  # [n, 3]
    image_of: Tensor  # [B] index into the n images
    targets: Tensor  # [B, L] 1 where the token is a completion token (to be learned or scored)

    def to(self, device: torch.device) -> "Batch":
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Packed:
    """Packed model inputs: T tokens in one row, N of them scored.

    `layout` defines which tokens attend to which.
    """

    ids: Tensor  # [1, T]
    positions: Tensor  # [3, 1, T]
    pixels: Tensor  # [ΣP, C·T·p·p]
    grids: Tensor  # [n, 3]
    image_of: Tensor  # [trunks] index into the n images
    sources: Tensor  # [N] indices into T whose hidden states predict the targets
    tokens: Tensor  # [N] the targets, completion by completion
    layout: Layout

    def to(self, device: torch.device) -> "Packed":
        return Packed(**{name: value.to(device) for name, value in vars(self).items()})


def encode_prompts(
    problems: Sequence[str],
    image_ids: Sequence[str],
    images: Images,
    processor: Processor,
    systems: Sequence[str | None] | None = None,
) -> list[Prompt]:
    """Encode questions with their images; decode a shared image once.

    `systems` holds one system prompt per question (see `Processor.prompt_ids`); None means the template's own for all.
    """
    unique = list(dict.fromkeys(image_ids))
    pixels, grids = processor.pixels([images.open(image) for image in unique])
    parts = torch.split(pixels, grids.prod(dim=1).tolist())
    by_image = {
        image: (part, (int(grid[0]), int(grid[1]), int(grid[2])))
        for image, part, grid in zip(unique, parts, grids.tolist(), strict=True)
    }
    prompts = []
    for problem, image, system in zip(problems, image_ids, systems or [None] * len(problems), strict=True):
        part, grid = by_image[image]
        ids = np.asarray(processor.prompt_ids(problem, grid, system))
        prompts.append(Prompt(ids, mrope_positions(ids, grid, processor), part, grid))
    return prompts


def mrope_positions(ids: np.ndarray, grid: tuple[int, int, int], processor: Processor) -> np.ndarray:
    """Compute M-RoPE positions [3, L] of a one-image prompt (Qwen2-VL §2.1).

    They equal the model's `get_rope_index`: text counts up in all three rows; image tokens hold (t, h, w) offsets, then
    advance the count by the larger of the image's merged height and width.
    """
    merge = processor.image_processor.merge_size
    t, h, w = grid[0], grid[1] // merge, grid[2] // merge
    start = int(np.argmax(ids == processor.image_token_id))
    count = t * h * w
    offsets = np.stack(np.meshgrid(np.arange(t), np.arange(h), np.arange(w), indexing="ij")).reshape(3, count)
    after = np.arange(len(ids) - start - count) + start + max(h, w)
    return np.concatenate([np.tile(np.arange(start), (3, 1)), start + offsets, np.tile(after, (3, 1))], axis=1)


def collate(
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]] | None,
    pad: int,
    rows_per_prompt: int = 1,
    learned: Sequence[Sequence[bool]] | None = None,
) -> Batch:
    """Stack rows into a padded batch.

    Without completions: one row per prompt, padded left (for sampling). With completions: `rows_per_prompt` consecutive
    rows share a prompt and its image, padded right (for learning); under a causal mask no real token attends to right
    padding, so no attention mask is needed. `learned` marks the completion tokens that are targets; by default all are.
    """
    if completions is None:
        completions = [()] * len(prompts)
        rows_per_prompt = 1
    rows = [(prompts[i // rows_per_prompt], completion) for i, completion in enumerate(completions)]
    width = max(len(prompt.ids) + len(completion) for prompt, completion in rows)
    shape = (len(rows), width)
    ids, mask, targets = np.full(shape, pad), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    positions = np.zeros((3, *shape), np.int64)
    left = not any(len(completion) for completion in completions)
    for i, (prompt, completion) in enumerate(rows):
        length, extra = len(prompt.ids), len(completion)
        begin = width - length if left else 0
        ids[i, begin : begin + length] = prompt.ids
        mask[i, begin : begin + length + extra] = 1
        positions[:, i, begin : begin + length] = prompt.positions
        if extra:
            ids[i, length : length + extra] = completion
            targets[i, length : length + extra] = 1 if learned is None else learned[i]
            positions[:, i, length : length + extra] = prompt.positions[:, -1:] + 1 + np.arange(extra)
    return Batch(
        ids=torch.from_numpy(ids),
        mask=torch.from_numpy(mask),
        positions=torch.from_numpy(positions),
        pixels=torch.cat([prompt.pixels for prompt in prompts]),
        grids=torch.tensor([prompt.grid for prompt in prompts]),
        image_of=torch.arange(len(rows)) // rows_per_prompt,
        targets=torch.from_numpy(targets),
    )


def pack(
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]],
    rows_per_prompt: int = 1,
    learned: Sequence[Sequence[bool]] | None = None,
    shared: bool = True,
) -> Packed:
    """Pack prompts and completions into one row for learning.

    `rows_per_prompt` consecutive completions belong to one prompt and its image. With `shared`, a prompt occurs once
    and all its completions attend to it; otherwise it is repeated before each completion (its image is still encoded
    once). `learned` marks the completion tokens that are targets; by default all are. Targets are in completion order
    either way.
    """
    branching = shared and rows_per_prompt > 1
    ids, positions, trunks, branches = [], [], list[int](), list[int]()
    sources, begin = [], 0
    if branching:
        for prompt in prompts:
            ids.append(prompt.ids)
            positions.append(prompt.positions)
            trunks.append(len(prompt.ids))
            begin += len(prompt.ids)
    ends = np.cumsum(trunks) - 1
    for i, completion in enumerate(completions):
        prompt = prompts[i // rows_per_prompt]
        if branching:
            branches.append(len(completion))
            last = ends[i // rows_per_prompt]
        else:
            ids.append(prompt.ids)
            positions.append(prompt.positions)
            trunks.append(len(prompt.ids) + len(completion))
            begin += len(prompt.ids)
            last = begin - 1
        ids.append(np.asarray(completion, np.int64))
        positions.append(prompt.positions[:, -1:] + 1 + np.arange(len(completion)))
        before = np.concatenate([[last], begin + np.arange(len(completion) - 1)])
        sources.append(before if learned is None else before[np.asarray(learned[i], bool)])
        begin += len(completion)
    written = [np.asarray(c) if learned is None else np.asarray(c)[list(learned[i])] for i, c in enumerate(completions)]
    return Packed(
        ids=torch.from_numpy(np.concatenate(ids))[None],
        positions=torch.from_numpy(np.concatenate(positions, axis=1))[:, None],
        pixels=torch.cat([prompt.pixels for prompt in prompts]),
        grids=torch.tensor([prompt.grid for prompt in prompts]),
        image_of=torch.arange(len(trunks)) // (1 if branching else rows_per_prompt),
        sources=torch.from_numpy(np.concatenate(sources)),
        tokens=torch.from_numpy(np.concatenate(written)),
        layout=Layout(Rows.of(trunks), Rows.of(branches) if branching else None),
    )


def pack_prompts(prompts: Sequence[Prompt]) -> Packed:
    """Pack prompts for sampling.

    `sources` are the prompts' last tokens; the forward pass stores the prompts' keys and values in `layout.kept`.
    """
    lengths = [len(prompt.ids) for prompt in prompts]
    return Packed(
        ids=torch.from_numpy(np.concatenate([prompt.ids for prompt in prompts]))[None],
        positions=torch.from_numpy(np.concatenate([prompt.positions for prompt in prompts], axis=1))[:, None],
        pixels=torch.cat([prompt.pixels for prompt in prompts]),
        grids=torch.tensor([prompt.grid for prompt in prompts]),
        image_of=torch.arange(len(prompts)),
        sources=torch.tensor(lengths).cumsum(0) - 1,
        tokens=torch.empty(0, dtype=torch.long),
        layout=Layout(Rows.of(lengths), kept=[]),
    )


def micro_batches(sizes: Sequence[int], budget: int) -> list[range]:
    """Split items into runs of at most `budget` tokens; a larger item runs alone."""
    cuts, begin, filled = list[range](), 0, 0
    for i, size in enumerate(sizes):
        if i > begin and filled + size > budget:
            cuts.append(range(begin, i))
            begin, filled = i, 0
        filled += size
    return [*cuts, range(begin, len(sizes))] if sizes else []


def epoch_order(count: int, seed: int) -> Iterator[int]:
    """Yield row indices without end; every epoch is a seeded permutation.

    A permutation depends on (seed, epoch) only.

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"epoch_order needs at least one row, not {count}")
    epoch = 0
    while True:
        yield from np.random.default_rng([seed, epoch]).permutation(count).tolist()
        epoch += 1


class _Grey:
    def open(self, image: str) -> Image.Image:
        return Image.new("RGB", (56, 56), (128, 128, 128))


def dummy_batch(processor: Processor) -> Batch:
    """Build a minimal batch: one grey image, one word, one token to score."""
    prompts = encode_prompts(["?"], ["grey"], _Grey(), processor)
    return collate(prompts, [[processor.tokenizer.eos_token_id]], processor.tokenizer.pad_token_id)
