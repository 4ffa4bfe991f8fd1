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
class Picture:
    """An image for the model. P patches give P / merge² image tokens."""

    name: str  # its id: a batch encodes pictures of one name once
    pixels: Tensor  # [P, C·T·p·p], patches of side p = 14 or 16
    grid: tuple[int, int, int]


@dataclass(frozen=True)
class Prompt:
    """One question with its pictures in the order of their places; it may have none."""

    ids: np.ndarray  # [L]
    positions: np.ndarray  # [3, L] temporal, height, width (M-RoPE)
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Batch:
    """Padded model inputs of B rows, which share n images through `image_of`."""

    ids: Tensor  # [B, L]
    mask: Tensor  # [B, L] 1 at real tokens, 0 at padding
    positions: Tensor  # [3, B, L]
    pixels: Tensor  # [ΣP, C·T·p·p]; [0, 0] without images
    grids: Tensor  # [n, 3]
    image_of: Tensor  # [S] for each place of an image in the B rows, in order: index into the n images
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
    pixels: Tensor  # [ΣP, C·T·p·p]; [0, 0] without images
    grids: Tensor  # [n, 3]
    image_of: Tensor  # [S] for each place of an image in the row, in order: index into the n images
    sources: Tensor  # [N] indices into T whose hidden states predict the targets
    tokens: Tensor  # [N] the targets, completion by completion
    layout: Layout

    def to(self, device: torch.device) -> "Packed":
        return Packed(**{name: value.to(device) for name, value in vars(self).items()})


def encode_prompts(
    problems: Sequence[str],
    image_ids: Sequence[str | Sequence[str]],
    images: Images,
    processor: Processor,
    systems: Sequence[str | None] | None = None,
) -> list[Prompt]:
    """Encode questions with their images; decode a shared image once.

    Args:
        image_ids: for each question one image, or a list of several or none.
        systems: a system prompt per question (see `Processor.prompt_ids`); None means the template's own for all.
    """
    shown = [(ids,) if isinstance(ids, str) else tuple(ids) for ids in image_ids]
    pictures = _pictures(list(dict.fromkeys(image for ids in shown for image in ids)), images, processor)
    prompts = []
    for problem, names, system in zip(problems, shown, systems or [None] * len(problems), strict=True):
        seen = tuple(pictures[name] for name in names)
        grids = [picture.grid for picture in seen]
        ids = np.asarray(processor.prompt_ids(problem, grids, system))
        prompts.append(Prompt(ids, mrope_positions(ids, grids, processor), seen))
    return prompts


def _pictures(names: Sequence[str], images: Images, processor: Processor) -> dict[str, Picture]:
    """Open and convert images, by name."""
    if not names:
        return {}
    pixels, grids = processor.pixels([images.open(name) for name in names])
    parts = torch.split(pixels, grids.prod(dim=1).tolist())
    return {
        name: Picture(name, part, (int(grid[0]), int(grid[1]), int(grid[2])))
        for name, part, grid in zip(names, parts, grids.tolist(), strict=True)
    }


def mrope_positions(ids: np.ndarray, grids: Sequence[tuple[int, int, int]], processor: Processor) -> np.ndarray:
    """Compute M-RoPE positions [3, L] of a prompt with its images' grids (Qwen2-VL §2.1).

    They equal the model's `get_rope_index`: text counts up in all three rows; image tokens hold (t, h, w) offsets, then
    advance the count by the larger of the image's merged height and width.
    """
    merge = processor.image_processor.merge_size
    is_image = ids == processor.image_token_id
    parts, begin, following = [], 0, 0  # tokens placed so far; the position of the next one
    for grid in grids:
        t, h, w = grid[0], grid[1] // merge, grid[2] // merge
        text = int(np.argmax(is_image[begin:]))
        parts.append(np.tile(following + np.arange(text), (3, 1)))
        offsets = np.stack(np.meshgrid(np.arange(t), np.arange(h), np.arange(w), indexing="ij")).reshape(3, t * h * w)
        parts.append(following + text + offsets)
        begin, following = begin + text + t * h * w, following + text + max(h, w)
    parts.append(np.tile(following + np.arange(len(ids) - begin), (3, 1)))
    return np.concatenate(parts, axis=1)


def _seen(prompts: Sequence[Prompt], repeats: int = 1) -> dict[str, Tensor]:
    """Return `pixels`, `grids` and `image_of` of a batch in which each prompt stands `repeats` times."""
    pictures = {picture.name: picture for prompt in prompts for picture in prompt.pictures}
    place = {name: i for i, name in enumerate(pictures)}
    shown = [place[picture.name] for prompt in prompts for _ in range(repeats) for picture in prompt.pictures]
    return {
        "pixels": torch.cat([picture.pixels for picture in pictures.values()]) if pictures else torch.empty(0, 0),
        "grids": torch.tensor([picture.grid for picture in pictures.values()], dtype=torch.long).reshape(-1, 3),
        "image_of": torch.tensor(shown, dtype=torch.long),
    }


def collate(
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]] | None,
    pad: int,
    rows_per_prompt: int = 1,
    learned: Sequence[Sequence[bool]] | None = None,
) -> Batch:
    """Stack rows into a padded batch.

    Without completions: one row per prompt, padded left (for sampling). With completions: `rows_per_prompt` consecutive
    rows share a prompt and its images, padded right (for learning); under a causal mask no real token attends to right
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
        **_seen(prompts, rows_per_prompt),
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

    `rows_per_prompt` consecutive completions belong to one prompt. With `shared`, a prompt occurs once and
    all its completions attend to it; otherwise it is repeated before each completion (its images are still encoded
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
        **_seen(prompts, 1 if branching else rows_per_prompt),
        sources=torch.from_numpy(np.concatenate(sources)),
        tokens=torch.from_numpy(np.concatenate(written)),
        layout=Layout(Rows.of(trunks), Rows.of(branches) if branching else None),
    )


def share_prefix(
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]],
    learned: Sequence[Sequence[bool]],
    image_token: int,
) -> tuple[Prompt, list[list[int]], list[list[bool]]] | None:
    """Turn questions about the same pictures into one prompt, up to where they differ, and its continuations.

    Returns:
        The prompt, and per question the rest of it with its completion, and the loss mask; None if the questions
        differ before a text token that follows the last picture, whose position the rest counts on from.
    """
    first = prompts[0]
    same = min(len(prompt.ids) for prompt in prompts) - 1  # at least one token is left to each
    for prompt in prompts[1:]:
        differs = np.flatnonzero(first.ids[:same] != prompt.ids[:same])
        same = int(differs[0]) if len(differs) else same
    tail = first.positions[:, same - 1] if same else np.zeros(3)
    counts_on = all((prompt.positions[:, same] == tail + 1).all() for prompt in prompts) and len(set(tail)) == 1
    is_after = not any((prompt.ids[same:] == image_token).any() for prompt in prompts)
    if not (same and counts_on and is_after) or len({tuple(p.name for p in x.pictures) for x in prompts}) > 1:
        return None
    rest = [prompt.ids[same:].tolist() for prompt in prompts]
    return (
        Prompt(first.ids[:same], first.positions[:, :same], first.pictures),
        [[*asked, *written] for asked, written in zip(rest, completions, strict=True)],
        [[*([False] * len(asked)), *flags] for asked, flags in zip(rest, learned, strict=True)],
    )


def pack_prompts(prompts: Sequence[Prompt]) -> Packed:
    """Pack prompts for sampling.

    `sources` are the prompts' last tokens; the forward pass stores the prompts' keys and values in `layout.kept`.
    """
    lengths = [len(prompt.ids) for prompt in prompts]
    return Packed(
        ids=torch.from_numpy(np.concatenate([prompt.ids for prompt in prompts]))[None],
        positions=torch.from_numpy(np.concatenate([prompt.positions for prompt in prompts], axis=1))[:, None],
        **_seen(prompts),
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
