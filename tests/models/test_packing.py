"""Laws of packing: a prompt computed once for its completions gives the same numbers as one computed for each."""

import contextlib
import dataclasses
import types
from collections.abc import Callable, Iterator
from typing import Any, get_args

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.models.qwen3_5 import modeling_qwen3_5

from tests.support.miniature import mixed_prompts, policy, prompts
from wethink.config.training import Family
from wethink.models import packing, recurrence
from wethink.models.batching import Packed, collate, micro_batches, pack
from wethink.models.logprobs import CompletionLogProbs

GROUP = 4
COMPLETIONS = [[26 + (i * j) % 9 for j in range(1 + (5 * i) % 7)] for i in range(4 * GROUP)]
families = pytest.mark.parametrize("family", get_args(Family))


def _double(batch: Any) -> Any:
    return dataclasses.replace(batch, pixels=batch.pixels.double())


Make = Callable[[list[Any], Any], list[tuple[Any, slice]]]


def _shared(asked: list[Any], made: Any) -> list[tuple[Any, slice]]:
    return [(pack(asked, COMPLETIONS, GROUP), slice(None))]


def _packed_apart(asked: list[Any], made: Any) -> list[tuple[Any, slice]]:
    return [(pack(asked, COMPLETIONS, GROUP, shared=False), slice(None))]


def _padded(asked: list[Any], made: Any) -> list[tuple[Any, slice]]:
    return [(collate(asked, COMPLETIONS, made.tokenizer.pad_token_id, GROUP), slice(None))]


def _by_budget(asked: list[Any], made: Any) -> list[tuple[Any, slice]]:
    """Several groups under a token budget, the last of them alone."""
    ends = [0]
    for completion in COMPLETIONS:
        ends.append(ends[-1] + len(completion))
    sizes = [len(p.ids) + ends[GROUP * (i + 1)] - ends[GROUP * i] for i, p in enumerate(asked)]
    cuts = micro_batches(sizes, sum(sizes[:3]))
    assert [len(cut) for cut in cuts] == [3, 1]
    return [
        (
            pack([asked[i] for i in cut], COMPLETIONS[GROUP * cut.start : GROUP * cut.stop], GROUP),
            slice(ends[GROUP * cut.start], ends[GROUP * cut.stop]),
        )
        for cut in cuts
    ]


def _norm(self: Any, x: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
    """The stock RMSNorms round to fp32 inside, whatever the model's precision; this one does not."""
    zero_centred = hasattr(self, "eps")  # Qwen3.5's: its weight is what is added to 1
    epsilon = self.eps if zero_centred else self.variance_epsilon
    normed = (self.weight + zero_centred) * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
    return normed if gate is None else normed * torch.nn.functional.silu(gate)


def _delta_rule(query: Any, key: Any, value: Any, g: Any, beta: Any, initial_state: Any = None, **others: Any) -> Any:
    """The gated delta rule token by token (arXiv 2412.06464, equation 10), in the precision of what it gets."""
    query, key = (x * torch.rsqrt(x.square().sum(-1, keepdim=True) + 1e-6) for x in (query, key))
    state = query.new_zeros(len(query), value.shape[2], key.shape[-1], value.shape[-1])
    state, said = state if initial_state is None else initial_state, []
    for t in range(query.shape[1]):
        state = state * g[:, t].exp()[..., None, None]
        wrong = value[:, t] - torch.einsum("rhkv,rhk->rhv", state, key[:, t])
        state = state + torch.einsum("rhk,rhv->rhkv", key[:, t], wrong * beta[:, t, :, None])
        said.append(torch.einsum("rhkv,rhk->rhv", state, query[:, t]) * query.shape[-1] ** -0.5)
    return torch.stack(said, dim=1), state


@contextlib.contextmanager
def _exact(dtype: torch.dtype) -> Iterator[None]:
    """In fp64, replace what rounds to fp32 in the recurrent layers."""
    with pytest.MonkeyPatch.context() as patch:
        if dtype == torch.float64:
            patch.setattr(modeling_qwen3_5, "torch_chunk_gated_delta_rule", _delta_rule)
            patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        yield


def _some(made: Any) -> list[Any]:
    return prompts(made, 4, ("a", "b-wide", "c"))


def _gradients(
    family: Family,
    make: Make,
    dtype: torch.dtype,
    prepare: Callable[[Any], None] = lambda model: None,
    ask: Callable[[Any], list[Any]] = _some,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Log-probs of all completions and the gradient of a sum weighted by row."""
    model, made = policy(family=family)
    model = model.to(dtype)
    if dtype == torch.float64:
        for module in model.modules():
            if "RMSNorm" in type(module).__name__:
                module.forward = types.MethodType(_norm, module)
    prepare(model)
    asked = ask(made)
    weights = torch.tensor([(-1.0) ** i + i / 9 for i, c in enumerate(COMPLETIONS) for _ in c], dtype=dtype)
    scorer, found = CompletionLogProbs(model, made.banned), []
    for batch, part in make(asked, made):
        with _exact(dtype):
            logps, _ = scorer(_double(batch) if dtype == torch.float64 else batch, 0.7)
            (logps * weights[part]).sum().backward()
        found.append(logps.detach())
    return torch.cat(found), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], tolerance: float) -> list[str]:
    """Tensors whose gradients differ by more than `tolerance` of the largest.

    A recurrent layer's fp32 gradients are sums over all later tokens; both ways are off the fp64 truth by 2e-4.
    """
    assert one.keys() == other.keys()

    def bound(name: str) -> float:
        return max(tolerance, 2e-4) if "linear_attn" in name and tolerance > 1e-8 else tolerance

    return [name for name in one if (one[name] - other[name]).abs().max() > bound(name) * one[name].abs().max()]


@families
@pytest.mark.parametrize("ask", [_some, mixed_prompts])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_the_gradient_is_the_same_with_a_shared_prefix_without_and_with_padding(
    family: Family, dtype: torch.dtype, tolerance: float, ask: Callable[[Any], list[Any]]
) -> None:
    logps, gradient = _gradients(family, _padded, dtype, ask=ask)
    for make in (_shared, _packed_apart, _by_budget):
        other, found = _gradients(family, make, dtype, ask=ask)
        assert torch.allclose(logps, other, atol=tolerance), make.__name__
        assert not _differing(gradient, found, tolerance), make.__name__


@families
def test_the_gradient_is_the_same_under_gradient_checkpointing(family: Family) -> None:
    def checkpointing(model: Any) -> None:
        model.train().gradient_checkpointing_enable({"use_reentrant": False})

    _, gradient = _gradients(family, _shared, torch.float64)
    _, found = _gradients(family, _shared, torch.float64, checkpointing)
    assert not _differing(gradient, found, 1e-10)


def test_a_mask_that_lets_through_what_it_should_hide_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    _, gradient = _gradients("qwen2_5_vl", _padded, torch.float32)
    monkeypatch.setattr(packing, "HIDDEN", -1.0)
    _, found = _gradients("qwen2_5_vl", _shared, torch.float32)
    assert len(_differing(gradient, found, 1e-5)) > len(gradient) / 2


def test_completions_that_follow_each_other_instead_of_the_prompt_are_caught() -> None:
    def behind_each_other(asked: list[Any], made: Any) -> list[tuple[Any, slice]]:
        batch = pack(asked, COMPLETIONS, GROUP)
        positions = batch.positions.clone()
        positions[:, :, -len(COMPLETIONS[-1]) :] += 1
        return [(dataclasses.replace(batch, positions=positions), slice(None))]

    _, gradient = _gradients("qwen2_5_vl", _padded, torch.float32)
    _, found = _gradients("qwen2_5_vl", behind_each_other, torch.float32)
    assert _differing(gradient, found, 1e-5)


def _expanded(tail: torch.Tensor, state: torch.Tensor, group: int) -> Any:
    return recurrence.Carried(tail.repeat_interleave(group, 0), state.repeat_interleave(group, 0))


def _no_tail(carried: Any, group: int) -> Any:
    return _expanded(torch.zeros_like(carried.tail), carried.state, group)


def _leaked(carried: Any, group: int) -> Any:
    """Every trunk's state goes on to the next trunk's branches."""
    return _expanded(carried.tail.roll(1, 0), carried.state.roll(1, 0), group)


def _tiled(carried: Any, group: int) -> Any:
    """The states are repeated as a whole, not expanded one by one."""
    return recurrence.Carried(carried.tail.repeat(group, 1, 1), carried.state.repeat(group, 1, 1, 1))


def _detached(carried: Any, group: int) -> Any:
    return _expanded(carried.tail, carried.state.detach(), group)


RECURRENT_MUTANTS = {"no tail": _no_tail, "leaked": _leaked, "tiled": _tiled, "detached": _detached}


@pytest.mark.parametrize("mutant", RECURRENT_MUTANTS)
def test_a_state_that_is_handed_on_wrongly_is_caught(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, gradient = _gradients("qwen3_5", _padded, torch.float32)
    monkeypatch.setattr(recurrence.Carried, "for_each", RECURRENT_MUTANTS[mutant])
    _, found = _gradients("qwen3_5", _shared, torch.float32)
    assert _differing(gradient, found, 1e-5)


def test_padding_that_writes_into_the_state_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    _, gradient = _gradients("qwen3_5", _padded, torch.float32)

    def ones_behind(self: Any, packed: torch.Tensor) -> torch.Tensor:
        padded = packed.new_ones(self.shape[0] * self.shape[1], *packed.shape[1:])
        return padded.index_copy(0, self.places, packed).view(*self.shape, *packed.shape[1:])

    monkeypatch.setattr(packing.Rows, "pad", ones_behind)
    _, found = _gradients("qwen3_5", _shared, torch.float32)
    assert _differing(gradient, found, 1e-5)


def test_a_packed_sequence_does_not_see_the_one_before_it() -> None:
    """The stock layer does: its state runs on from one into the next."""
    model, made = policy(family="qwen3_5")
    scorer, asked = CompletionLogProbs(model, made.banned), prompts(made, 2)
    with torch.no_grad():
        both, _ = scorer(pack(asked, [[30, 31], [32, 33]]))
        alone, _ = scorer(pack(asked[1:], [[32, 33]]))
    assert torch.allclose(both[2:], alone, atol=1e-5)


def _batch(count: int = 4) -> tuple[Any, Packed]:
    model, made = policy()
    return CompletionLogProbs(model, made.banned), pack(
        prompts(made, count), [COMPLETIONS[i % len(COMPLETIONS)] for i in range(count * GROUP)], GROUP
    )


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_the_gpus_block_mask_gives_the_log_probs_of_the_cpus_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward only: flex attention has no backward pass on a CPU. `make gpu-check` compares gradients on a GPU."""
    scorer, batch = _batch()
    with torch.no_grad():
        padded, _ = scorer(batch)
        monkeypatch.setattr(packing, "blocked", lambda query: True)
        torch.compiler.set_stance("force_eager")  # compiling takes minutes and changes nothing
        try:
            blocked, _ = scorer(batch)
        finally:
            torch.compiler.set_stance("default")
    assert torch.allclose(padded, blocked, atol=1e-5)


class _Largest(TorchDispatchMode):
    """Notes the largest number of elements that any operation returned."""

    largest = 0

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.largest = max(self.largest, tensor.numel())
        return out


def test_memory_grows_with_the_number_of_groups_and_not_with_its_square() -> None:
    largest = []
    for count in (16, 32):
        scorer, batch = _batch(count)
        assert batch.ids.numel() ** 2 > 300_000  # so that a mask over all tokens would be the largest tensor
        with _Largest() as seen:
            scorer(batch)
        largest.append(seen.largest)
    assert largest[1] <= 2.1 * largest[0]


def test_micro_batches_keep_every_item_in_order_and_within_the_budget() -> None:
    sizes = [3, 4, 9, 1, 1, 12, 2]
    cuts = micro_batches(sizes, 8)
    assert [i for cut in cuts for i in cut] == list(range(len(sizes)))
    assert all(len(cut) == 1 or sum(sizes[i] for i in cut) <= 8 for cut in cuts)
    assert micro_batches([], 8) == []
