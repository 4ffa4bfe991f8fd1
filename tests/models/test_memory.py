"""Vision chunks by length, shared prefixes in SFT, published adapters and the GPU's sharing are exact."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn

from tests.support.miniature import NoiseImages, policy
from wethink.config.training import Family, Lora
from wethink.models.batching import encode_prompts, pack, share_prefix
from wethink.models.families import qwen2_5_vl
from wethink.models.families.vision import chunks_by_length
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.lora import add_adapters, merge, save_adapter
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


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_behind_one_prefix_have_the_log_probs_and_gradients_of_rows_alone(family: Family) -> None:
    model, made = policy(family=family)
    scorer = CompletionLogProbs(model, made.banned)
    questions = ["how many things are red", "how many things are blue ?", "what is the level"]
    asked = encode_prompts(questions, ["a"] * 3, NoiseImages(), made)
    written = [made.text_ids(text) for text in ("think then answer 1", "2", "yes no 3 4")]
    learned = [[True] * len(ids) for ids in written]
    found = share_prefix(asked, written, learned, made.image_token_id)
    assert found is not None
    trunk, rests, flags = found
    assert 0 < len(trunk.ids) < min(len(prompt.ids) for prompt in asked)
    sides = []
    for batch in (pack(asked, written, learned=learned), pack([trunk], rests, 3, flags)):
        model.zero_grad()
        logps, _ = scorer(batch)
        (logps * torch.linspace(-1, 1, len(logps))).sum().backward()
        sides.append((logps.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}))
    (alone, slopes), (shared, others) = sides
    assert (alone - shared).abs().max() <= 2e-5 * alone.abs().max() and slopes.keys() == others.keys()
    bound = 2e-4 if family == "qwen3_5" else 2e-5
    most = max(float(value.abs().max()) for value in slopes.values())
    for name, value in slopes.items():
        assert (value - others[name]).abs().max() <= bound * max(float(value.abs().max()), 1e-2 * most), name


def test_questions_that_differ_before_or_within_the_image_share_nothing() -> None:
    _, made = policy()
    asked = encode_prompts(["<image> how many", "how many <image>"], ["a"] * 2, NoiseImages(), made)
    assert share_prefix(asked, [[1], [2]], [[True], [True]], made.image_token_id) is None
    asked = encode_prompts(["how many"] * 2, ["a", "b"], NoiseImages(), made)
    assert share_prefix(asked, [[1], [2]], [[True], [True]], made.image_token_id) is None


@pytest.mark.parametrize("vision", [False, True])
def test_a_published_adapter_is_what_was_merged(vision: bool, tmp_path: Path) -> None:
    from peft import PeftModel

    (model, _), (plain, _) = policy(), policy()
    lora = Lora(rank=2, alpha=4, vision=vision)
    add_adapters(model, lora)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert any("visual" in name for name in trained) == vision and any("language_model" in name for name in trained)
    for p in model.parameters():
        if p.requires_grad:
            nn.init.normal_(p, std=0.1)
    raw = {name: p.detach().clone() for name, p in model.named_parameters()}
    save_adapter(model, raw, lora, tmp_path)
    merged = merge(model, raw)
    loaded = PeftModel.from_pretrained(plain, str(tmp_path)).merge_and_unload()
    for name, p in loaded.named_parameters():
        assert torch.allclose(p, merged[name], atol=1e-6), name


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
