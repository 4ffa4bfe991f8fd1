"""Rows to tensors: encoded prompts, M-RoPE positions, and sequences packed into one row without padding."""

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
    """Anything that opens an image by its id."""

    def open(self, image: str) -> Image.Image: ...


@dataclass(frozen=True)
class Prompt:
    """One question about one image. P patches give P / merge² image tokens."""

    ids: np.ndarray  # [L]
    positions: np.ndarray  # [3, L] temporal, height, width (M-RoPE)
    pixels: Tensor  # [P, C·T·14·14]
    grid: tuple[int, int, int]


@dataclass(frozen=True)
class Batch:
    """Model inputs of B rows. `image_of` lets rows share an image: n ≤ B images are encoded once each."""

    ids: Tensor  # [B, L]
    mask: Tensor  # [B, L] 1 where a real token stands
    positions: Tensor  # [3, B, L]
    pixels: Tensor  # [ΣP, C·T·14·14]
    grids: Tensor  # [n, 3]
    image_of: Tensor  # [B] index into the n images
    targets: Tensor  # [B, L] 1 where the token is a completion token (to be learned or scored)

    def to(self, device: torch.device) -> "Batch":
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Packed:
    """Model inputs without padding: T tokens in one row (`Layout` says who sees whom), N of them to be scored."""

    ids: Tensor  # [1, T]
    positions: Tensor  # [3, 1, T]
    pixels: Tensor  # [ΣP, C·T·14·14]
    grids: Tensor  # [n, 3]
    image_of: Tensor  # [trunks] index into the n images
    sources: Tensor  # [N] places whose hidden states predict the targets
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
    """Encode questions with their images; an image that several questions share is decoded once.

    `systems` are the system prompts (see `Processor.prompt_ids`); None means the template's own for all.
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
    """M-RoPE positions [3, L] of a prompt with one image (Qwen2-VL §2.1), as the model's `get_rope_index`.

    Text counts up in all three rows; the image's tokens hold (t, h, w) offsets and then advance the
    count by the larger of its merged height and width.
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
    """Stack rows. Without completions: one row per prompt, padded left (to sample).

    With completions: `rows_per_prompt` consecutive rows share a prompt and its image, padded right (to
    learn): under a causal mask nothing can see right padding, so no attention mask is needed.
    `learned` marks which completion tokens are targets; all are by default.
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
    """Pack rows to learn from: `rows_per_prompt` consecutive completions belong to a prompt and its image.

    `shared`: a prompt stands once and all its completions see it; otherwise it stands before each of them (the
    image is encoded once all the same). `learned` marks which completion tokens are targets; all are by default.
    Targets are in the order of the completions either way.
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
    """Pack prompts to sample from; the sources are their last tokens, and the layout keeps their keys and values."""
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
    """Cut a sequence of items into runs of at most `budget` tokens; an item that is larger stands alone."""
    cuts, begin, filled = list[range](), 0, 0
    for i, size in enumerate(sizes):
        if i > begin and filled + size > budget:
            cuts.append(range(begin, i))
            begin, filled = i, 0
        filled += size
    return [*cuts, range(begin, len(sizes))] if sizes else []


def epoch_order(count: int, seed: int) -> Iterator[int]:
    """An endless stream of indices: every epoch is a permutation that depends on (seed, epoch) only.

    Raises:
        ValueError: there is nothing to draw from.
    """
    if count < 1:
        raise ValueError(f"an order over {count} rows")
    epoch = 0
    while True:
        yield from np.random.default_rng([seed, epoch]).permutation(count).tolist()
        epoch += 1


class _Grey:
    def open(self, image: str) -> Image.Image:
        return Image.new("RGB", (56, 56), (128, 128, 128))


def dummy_batch(processor: Processor) -> Batch:
    """One grey image, one word, one token to score."""
    prompts = encode_prompts(["?"], ["grey"], _Grey(), processor)
    return collate(prompts, [[processor.tokenizer.eos_token_id]], processor.tokenizer.pad_token_id)
