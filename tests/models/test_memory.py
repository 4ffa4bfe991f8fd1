"""Vision chunks by length, a fused Adam and the sharing of the GPU change no number."""

from typing import Any
from unittest import mock

import torch
from torch import nn

from tests.support.miniature import NoiseImages, policy
from wethink.config.training import Family
from wethink.models.families import qwen2_5_vl
from wethink.models.families.vision import chunks_by_length
from wethink.rl.gpu_sharing import GpuSharing

FAMILIES: tuple[Family, ...] = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")


def test_chunks_of_unequal_length_attend_as_in_the_stock_tower() -> None:
    model, made = policy()
    tower: Any = model.model.visual  # type: ignore[union-attr]
    pixels, grids = made.pixels([NoiseImages().open(name) for name in ("a", "b-wide", "c")])
    assert len(chunks_by_length(torch.tensor([0, 16, 40, 56]))[0]) == 2
    ours = tower(pixels, grid_thw=grids).pooler_output
    with mock.patch.object(qwen2_5_vl.VisionAttention, "forward", qwen2_5_vl.stock.Qwen2_5_VLVisionAttention.forward):
        stock = tower(pixels, grid_thw=grids).pooler_output
    assert torch.equal(ours, stock)


def test_while_the_engine_samples_the_reference_is_on_the_cpu_and_the_cache_is_empty() -> None:
    """A copy on the CPU stands for the GPU's."""
    reference = nn.Linear(3, 3)
    home, before = reference.weight.data_ptr(), reference.weight.detach().clone()
    shared = GpuSharing(reference, torch.device("cpu"), is_shared=True)
    with mock.patch("torch.cuda.empty_cache") as emptied:
        shared.learn()
        assert reference.weight.data_ptr() != home and torch.equal(reference.weight, before) and not emptied.called
        shared.sample()
        assert reference.weight.data_ptr() == home and torch.equal(reference.weight, before) and emptied.called
    alone = GpuSharing(reference, torch.device("cpu"), is_shared=False)
    with mock.patch("torch.cuda.empty_cache") as emptied:
        alone.learn()
        alone.sample()
    assert reference.weight.data_ptr() == home and not emptied.called


def test_a_fused_adam_differs_by_rounding_and_every_large_profile_has_it() -> None:
    from tests.invariants.workshop import ROOT
    from wethink.common.jsonl import read_json

    draw = torch.Generator().manual_seed(0)
    start, slopes = torch.randn(10_000, generator=draw), torch.randn(5, 10_000, generator=draw)
    found = []
    for fused in (False, True):
        weight = nn.Parameter(start.clone())
        adam = torch.optim.AdamW([weight], lr=1e-3, fused=fused)
        for slope in slopes:
            weight.grad = slope.clone()
            adam.step()
        found.append(weight.detach())
    assert (found[0] - found[1]).abs().max() <= 5e-7
    for path in (ROOT / "infra/deepspeed").glob("*.json"):
        given = read_json(path)["optimizer"]["params"]
        assert bool(given.get("fused")) == (bool(given.get("torch_adam")) and path.stem != "zero1_fp32"), path
