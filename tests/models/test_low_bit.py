"""LoRA and QLoRA in the engine, on a CPU: what is trained is what is published, and a resume goes on.

The tests that quantise need the library: `pip install 'bitsandbytes>=0.50,<0.51'`.
"""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.invariants.worlds import in_world
from tests.support.miniature import policy, prompts
from wethink.common.errors import UserError
from wethink.common.jsonl import write_json
from wethink.config.launch import Launch
from wethink.config.params import load_params
from wethink.config.training import Family, Lora, Optim
from wethink.models.batching import pack
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.lora import add_adapters, merge
from wethink.training.checkpoints import identity, restore_state, save_state
from wethink.training.engine import build_engine, optimizer_step, policy_state, require_four_bits
from wethink.training.ranks import join

ROOT = Path(__file__).parents[2]
installed = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed; it is an extra"
)
QLORA = Lora(rank=2, alpha=4, load_in_4bit=True)


def log_probs(model: nn.Module, made: Any) -> torch.Tensor:
    batch = pack(prompts(made, 3), [[26 + i % 9] * (1 + i % 4) for i in range(12)], 4)
    found: torch.Tensor = CompletionLogProbs(model, made.banned)(batch)[0]
    return found


@installed
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_the_published_weights_score_as_the_four_bit_policy_with_its_adapters(family: Family) -> None:
    (model, made), (plain, _) = policy(family=family), policy(family=family)
    full = log_probs(plain, made)
    add_adapters(model, QLORA)
    quantised = [p for p in model.parameters() if p.dtype == torch.uint8]
    assert quantised and not any(p.requires_grad for p in quantised)
    torch.manual_seed(0)
    for name, p in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(p, std=0.3)
    raw = {name: p.detach().clone() for name, p in model.named_parameters()}
    ours = log_probs(model, made)
    plain.load_state_dict(merge(model, raw), strict=False)
    assert set(merge(model, raw)) == {name for name, _ in plain.named_parameters()}
    assert torch.allclose(log_probs(plain, made), ours, atol=1e-4)
    assert (ours - full).abs().max() > 1e-2  # neither is the policy before


def launch(zero: int, bf16: bool = False) -> Launch:
    config = load_params(ROOT / "profiles/tiny.yaml").launch
    path = ROOT / f"infra/deepspeed/zero{zero}_{'bf16' if bf16 else 'fp32'}.json"
    return config.model_copy(update={"deepspeed": str(path), "processes": 1})


def optim(**changes: Any) -> Optim:
    return Optim(**{"lr": 1e-2, "max_steps": 6, "train_batch_size": 4, "micro_batch_size": 4, **changes})


def trained(folder: Path, settings: Optim, where: Launch, begin: int, end: int) -> dict[str, torch.Tensor]:
    """The weights that would be published after steps `begin` to `end`, from the checkpoint in the folder if any."""
    ranks, (model, made) = join(where), policy()
    who = identity(model, settings, where)
    engine = build_engine(CompletionLogProbs(model, made.banned), settings, where)
    done, _ = restore_state(engine, folder, ranks, who)
    assert done == begin
    for step in range(begin, end):
        torch.manual_seed(step)
        batch = pack(prompts(made, 2), [[26 + (i + step) % 9] * 3 for i in range(4)], 2)
        engine.backward(-engine(batch, entropy=False)[0].sum() / 12)
        optimizer_step(engine, settings, step)
    save_state(engine, folder, end, ranks, who, 2)
    state = policy_state(engine)
    return state or {name: p.detach().clone() for name, p in engine.module.model.named_parameters()}


@pytest.mark.parametrize(
    ("changes", "zero", "bf16"),
    [
        ({"lora": Lora(rank=2, alpha=4)}, 1, False),
        pytest.param({"lora": QLORA}, 0, False, marks=installed),
        pytest.param({"lora": QLORA}, 2, True, marks=installed),
    ],
)
def test_three_steps_and_a_resume_of_three_end_where_six_steps_do(
    changes: dict[str, Any], zero: int, bf16: bool, tmp_path: Path
) -> None:
    in_world(1, _resume, changes, launch(zero, bf16), tmp_path)  # joins a group of ranks, which pytest must not keep


def _resume(changes: dict[str, Any], where: Launch, tmp_path: Path) -> None:
    settings = optim(**changes)
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    start = trained(tmp_path / "whole", settings, where, 0, 0)
    (tmp_path / "whole" / "state.json").unlink()
    whole = trained(tmp_path / "whole", settings, where, 0, 6)
    trained(tmp_path / "cut", settings, where, 0, 3)
    cut = trained(tmp_path / "cut", settings, where, 3, 6)
    assert any(not torch.equal(start[name], whole[name]) for name in whole)
    assert not {name for name in whole if not torch.equal(whole[name], cut[name])}


def test_four_bits_without_the_library_are_a_sentence_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"load_in_4bit needs bitsandbytes, .* pip install 'bitsandbytes>=0.50,<0.51'"):
        require_four_bits(optim(lora=QLORA), launch(1))
    require_four_bits(optim(lora=Lora(rank=2, alpha=4)), launch(3))


@pytest.mark.parametrize("zero", [{"stage": 3}, {"stage": 2, "offload_optimizer": {"device": "cpu"}}])
def test_four_bits_with_scattered_or_offloaded_states_are_refused_with_the_file_to_name(
    zero: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    write_json(tmp_path / "mine.json", {"zero_optimization": zero})
    where = launch(1).model_copy(update={"deepspeed": str(tmp_path / "mine.json")})
    with pytest.raises(UserError, match=r"load_in_4bit does not go with ZeRO-3 or offload .*zero2_bf16.json"):
        require_four_bits(optim(lora=QLORA), where)


def test_eight_bit_adam_is_refused_with_what_saves_memory_instead(tmp_path: Path) -> None:
    text = (ROOT / "profiles/tiny.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("optim: {lr: 0.001,", "optim: {optim: adamw_8bit, lr: 0.001,"), encoding="utf-8")
    with pytest.raises(UserError, match=r"unknown key 'base\.optim\.optim': .*8-bit Adam is not supported.*use 'lora'"):
        load_params(path)
