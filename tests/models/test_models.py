"""The miniature policy and its fast paths against the stock model, processor and `generate`."""

from typing import get_args

import numpy as np
import pytest
import torch

from tests.support.miniature import NoiseImages, policy, processor, prompts
from wethink.config.training import Family
from wethink.generation.in_process import sample, uniforms
from wethink.models import logprobs
from wethink.models.batching import collate, encode_prompts, mrope_positions, pack
from wethink.models.context_length import image_tokens
from wethink.models.families.known import SWAPS, use_fast_paths
from wethink.models.logprobs import CompletionLogProbs, language_inputs

STOCK_TOWER: frozenset[Family] = frozenset()  # families without fast vision paths
both = pytest.mark.parametrize("family", get_args(Family))  # every family passes the same laws


@both
def test_fast_vision_paths_equal_the_stock_tower_for_equal_and_unequal_images(family: Family) -> None:
    model, made = policy(family=family)
    for names in (["a", "b", "c"], ["a", "b-wide", "c"]):
        pixels, grids = made.pixels([NoiseImages().open(name) for name in names])
        with torch.no_grad():
            fresh, _ = policy(family=family)
            stock = torch.cat(list(fresh.model.get_image_features(pixels, grids, return_dict=True).pooler_output))
            use_fast_paths(model)
            fast = torch.cat(list(model.model.get_image_features(pixels, grids, return_dict=True).pooler_output))
        swapped = sum(type(module) in SWAPS.values() for module in model.modules())
        assert swapped == 0 if family in STOCK_TOWER else swapped >= 2
        assert (stock - fast).abs().max() <= 1e-5 * stock.abs().max()


@both
def test_mrope_positions_equal_the_models_own(family: Family) -> None:
    model, made = policy(family=family)
    for names in (["a"], ["b-wide"], [], ["a", "b-wide"], ["b-wide", "a", "c", "a", "d-wide"]):
        for question in ("how many things", "how many " + " or ".join(["<image>"] * len(names)) + " things"):
            (prompt,) = encode_prompts([question], [names], NoiseImages(), made)
            ids, grids = torch.from_numpy(prompt.ids)[None], [picture.grid for picture in prompt.pictures]
            kinds = (ids == made.image_token_id).int()
            theirs, _ = model.model.get_rope_index(
                ids, mm_token_type_ids=kinds, image_grid_thw=torch.tensor(grids) if grids else None
            )
            assert np.array_equal(prompt.positions, theirs[:, 0].numpy()), names
            assert np.array_equal(prompt.positions, mrope_positions(prompt.ids, grids, made))


@both
def test_number_of_image_tokens_equals_number_of_image_features(family: Family) -> None:
    model, made = policy(family=family)
    for prompt in prompts(made, 2, ("a", "b-wide")):
        (picture,) = prompt.pictures
        features = model.model.get_image_features(picture.pixels, torch.tensor([picture.grid]), return_dict=True)
        assert (prompt.ids == made.image_token_id).sum() == features.pooler_output[0].shape[0]


@both
def test_number_of_image_tokens_by_size_is_the_image_processors(family: Family) -> None:
    made = processor(family)
    for name in ("a", "b-wide"):
        image = NoiseImages().open(name)
        _, (grid,) = made.pixels([image])
        assert image_tokens(*image.size, made) == int(grid.prod()) // made.image_processor.merge_size**2


def _stock_generate(model: torch.nn.Module, made, prompt, limit: int) -> list[int]:
    ids = torch.from_numpy(prompt.ids)[None]
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == made.image_token_id).int(),
        pixel_values=torch.cat([picture.pixels for picture in prompt.pictures]),
        image_grid_thw=torch.tensor([picture.grid for picture in prompt.pictures]),
        max_new_tokens=limit,
        do_sample=False,
        suppress_tokens=made.banned,
        eos_token_id=list(made.stop_ids),
    )
    return out[0, ids.shape[1] :].tolist()


@both
def test_greedy_sampling_equals_generate(family: Family) -> None:
    model, made = policy(family=family)
    asked = prompts(made, 12, ("a", "b-wide", "c"))
    ours = sample(model, made, asked, None, 12, 0.0)
    for prompt, (completion,) in zip(asked, ours, strict=True):
        assert list(completion.ids) == _stock_generate(model, made, prompt, 12)


def _groups(model, made, asked, names: list[str], group: int = 4, limit: int = 10):
    draws = np.concatenate([uniforms(0, 3, name, group, limit) for name in names])
    return sample(model, made, asked, draws, limit, 0.8, group)


@both
def test_sampled_logprobs_equal_a_teacher_forced_forward(family: Family) -> None:
    model, made = policy(family=family)
    asked = prompts(made, 5, ("a", "b-wide"))
    groups = _groups(model, made, asked, ["v", "w", "x", "y", "z"])
    completions = [completion for group in groups for completion in group]
    batch = collate(asked, [c.ids for c in completions], made.tokenizer.pad_token_id, 4)
    logps, entropy = CompletionLogProbs(model, made.banned)(batch, 0.8)
    sampled = torch.tensor([logp for c in completions for logp in c.logps])
    assert torch.allclose(logps, sampled, atol=1e-4)
    assert (entropy >= 0).all()


@both
def test_what_is_sampled_does_not_depend_on_the_rest_of_the_batch(family: Family) -> None:
    model, made = policy(family=family)
    asked = prompts(made, 5)
    names = ["v", "w", "x", "y", "z"]
    together = _groups(model, made, asked, names)
    for i, name in enumerate(names):
        (alone,) = _groups(model, made, [asked[i]], [name])
        assert [c.ids for c in alone] == [c.ids for c in together[i]]


@both
def test_banned_tokens_are_never_sampled_and_stop_tokens_end_a_completion(family: Family) -> None:
    model, made = policy(family=family)
    completions = [c for group in _groups(model, made, prompts(made, 5), list("vwxyz"), 16, 24) for c in group]
    for completion in completions:
        assert not set(completion.ids) & set(made.banned)
        assert completion.finished == (completion.ids[-1] in made.stop_ids)
        assert not set(completion.ids[:-1]) & set(made.stop_ids)
    assert len({len(c.ids) for c in completions}) > 1  # some stopped, so dropping rows was exercised


@both
def test_samples_follow_the_models_distribution(family: Family) -> None:
    model, made = policy(family=family)
    (prompt,) = prompts(made, 1)
    draws = uniforms(1, 0, "p", 4000, 1)
    (group,) = sample(model, made, [prompt], draws, 1, 1.0, 4000)
    first = np.bincount([c.ids[0] for c in group], minlength=model.config.text_config.vocab_size) / 4000
    with torch.no_grad():
        batch = collate([prompt], [[5]], made.tokenizer.pad_token_id)
        hidden = model.model.language_model(**language_inputs(model, batch), position_ids=batch.positions)
        logits = model.lm_head(hidden.last_hidden_state[0, -2])
        logits[made.banned] = -torch.inf
    expected = logits.softmax(-1).numpy()
    assert np.abs(first - expected).max() < 4 * np.sqrt(0.25 / 4000)


@both
def test_padding_and_row_order_change_no_logprob(family: Family) -> None:
    model, made = policy(family=family)
    scorer = CompletionLogProbs(model, made.banned)
    asked = prompts(made, 4, ("a", "b-wide"))
    completions = [[26, 27, 28], [29], [26, 29, 27, 28, 30, 31], [32, 26]]
    batched, _ = scorer(collate(asked, completions, made.tokenizer.pad_token_id))
    alone = [scorer(collate([p], [c], made.tokenizer.pad_token_id))[0] for p, c in zip(asked, completions, strict=True)]
    assert torch.allclose(batched, torch.cat(alone), atol=1e-5)


@both
def test_a_question_cannot_smuggle_in_an_image(family: Family) -> None:
    made = processor(family)
    try:
        made.prompt_ids("how many <|image_pad|>", [(1, 4, 4)])
    except ValueError:
        return
    raise AssertionError("a placeholder in a question was accepted")


@both
def test_with_adapters_the_sampler_writes_what_a_forward_pass_scores(family: Family) -> None:
    from wethink.config.training import Lora
    from wethink.models.lora import add_adapters

    model, made = policy(family=family)
    add_adapters(model, Lora(rank=2, alpha=4))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    asked = prompts(made, 4, ("a", "b-wide"))
    completions = [c for group in _groups(model, made, asked, list("wxyz")) for c in group]
    logps, _ = CompletionLogProbs(model, made.banned)(pack(asked, [c.ids for c in completions], 4), 0.8)
    assert torch.allclose(logps, torch.tensor([logp for c in completions for logp in c.logps]), atol=1e-4)


@both
def test_logits_in_chunks_give_the_same_log_probs_and_gradient(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for limit in (logprobs.LOGITS, 64 * 5):  # the vocabulary has 64 words
        monkeypatch.setattr(logprobs, "LOGITS", limit)
        model, made = policy(family=family)
        batch = pack(prompts(made, 3), [[26 + i % 9] * (1 + i % 4) for i in range(12)], 4)
        logps, entropy = CompletionLogProbs(model, made.banned)(batch)
        (logps + entropy.detach()).sum().backward()
        found.append([logps, entropy, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*found, strict=True))
