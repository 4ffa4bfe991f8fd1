"""Laws of memory and time: parts add up, more of anything needs no less, and suggestions fit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.miniature import SHAPE, policy, prompts
from wethink.config.params import Params, load_params
from wethink.config.profiles import profile_params
from wethink.config.training import Family
from wethink.models.batching import pack
from wethink.models.families.known import use_fast_paths
from wethink.models.logprobs import CompletionLogProbs
from wethink.training.planning.advice import suggest
from wethink.training.planning.devices import Device, device_named
from wethink.training.planning.memory import layers, spread, total, tower
from wethink.training.planning.plan import StagePlan, model_of, placed, plan_stage
from wethink.training.planning.seconds import PARTS
from wethink.training.planning.work import Lengths, Stage

H100 = device_named("h100")
CORE = Device("cpu", 24e9, 1e9, 60e9, 1e10, 5e9, "a test's", True)
TINY = load_params(Path("profiles/tiny.yaml"))
MODEL = model_of(TINY.base)
STAGES: tuple[Stage, ...] = ("sft", "grpo")
USUAL = Lengths()


def params(stage: str = "grpo", file: str = "zero2_bf16", ranks: int = 8, **optim: Any) -> Params:
    launch = TINY.launch.model_copy(update={"deepspeed": f"infra/deepspeed/{file}.json"})
    section = TINY.sft if stage == "sft" else TINY.grpo
    changed = section.model_copy(update={"optim": section.optim.model_copy(update={"muon_lr": None} | optim)})
    return placed(TINY.model_copy(update={"launch": launch, stage: changed}), H100, ranks)


def planned(stage: Stage = "grpo", lengths: Lengths = USUAL, device: Device = H100, **settings: Any) -> StagePlan:
    return plan_stage(params(stage, **settings), MODEL, device, stage, lengths)


@pytest.mark.parametrize("stage", STAGES)
def test_memory_grows_with_every_length(stage: Stage) -> None:
    peaks = [planned(stage, Lengths(text=text, completion=text)).peak for text in (8, 32, 48)]
    assert peaks == sorted(peaks) and peaks[0] < peaks[-1]
    images = [planned(stage, Lengths(pixels=side**2)).peak for side in (28, 56, 112)]
    assert images == sorted(images) and images[0] < images[-1]


@pytest.mark.parametrize("stage", STAGES)
def test_a_higher_zero_stage_and_more_ranks_hold_no_more_of_weights_gradients_and_optimizer(stage: Stage) -> None:
    def states(plan: StagePlan) -> float:
        return sum(plan.memory["learn"].get(part, 0.0) for part in ("gradients", "optimizer"))

    by_stage = [states(planned(stage, file=f"zero{number}_bf16")) for number in (1, 2, 3)]
    assert by_stage == sorted(by_stage, reverse=True)
    by_ranks = [states(planned(stage, ranks=ranks)) for ranks in (2, 4, 8)]
    assert by_ranks == sorted(by_ranks, reverse=True) and by_ranks[0] > by_ranks[-1]


@pytest.mark.parametrize("stage", STAGES)
def test_checkpointing_lora_and_offload_take_memory_away(stage: Stage) -> None:
    from wethink.config.training import Lora

    whole = planned(stage)
    assert planned(stage, gradient_checkpointing=True).peak < whole.peak
    assert total(planned(stage, lora=Lora(rank=4, alpha=4)).memory["learn"]) < total(whole.memory["learn"])
    offloaded = planned(stage, file="zero2_offload_bf16")
    assert "optimizer" not in offloaded.memory["learn"] and offloaded.host["optimizer"] > 0


def test_no_kl_means_no_reference() -> None:
    with_kl = planned()
    without = params().model_copy(update={"grpo": params().grpo.model_copy(update={"kl_coef": 0.0})})
    assert with_kl.memory["learn"]["reference"] > 0 and with_kl.seconds["reference"] > 0
    found = plan_stage(without, MODEL, H100, "grpo", USUAL)
    assert "reference" not in found.memory["learn"] and found.seconds["reference"] == 0


@pytest.mark.parametrize("device", [H100, CORE])
@pytest.mark.parametrize("stage", STAGES)
def test_the_sums_of_a_plan_add_up(stage: Stage, device: Device) -> None:
    plan = planned(stage, device=device, file="zero1_fp32", ranks=2)
    assert plan.peak == max(sum(parts.values()) for parts in plan.memory.values())
    assert tuple(plan.seconds) == PARTS and all(seconds >= 0 for seconds in plan.seconds.values())
    assert plan.hours == pytest.approx(plan.steps * sum(plan.seconds.values()) / 3600)
    assert plan.tokens == pytest.approx(plan.steps * plan.setup.work.tokens * 2)


def test_a_shared_prefix_learns_fewer_tokens_in_less_time() -> None:
    apart = params().model_copy(update={"grpo": params().grpo.model_copy(update={"shared_prefix": False})})
    found = plan_stage(apart, MODEL, H100, "grpo", USUAL)
    assert found.tokens > planned().tokens and found.seconds["learning"] > planned().seconds["learning"]


@pytest.mark.parametrize("stage", STAGES)
def test_what_is_suggested_fits(stage: Stage) -> None:
    wide = planned(stage)
    small = replace(H100, memory=0.97 * wide.peak)
    given = params(stage)

    def replan(other: Params, which: Stage) -> StagePlan:
        return plan_stage(other, MODEL, small, which, USUAL)

    assert not replan(given, stage).fits and "learn" in " ".join(replan(given, stage).problems)
    found = suggest(given, stage, replan)
    assert found and all(suggestion.peak <= small.memory for suggestion in found)


def test_a_model_that_no_setting_fits_is_said_to_fit_nowhere() -> None:
    tiny = replace(H100, memory=1e6)
    assert suggest(params(), "grpo", lambda other, stage: plan_stage(other, MODEL, tiny, stage, USUAL)) == []


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "qwen3_5"])
def test_activations_are_what_autograd_saves(family: Family, dtype: torch.dtype) -> None:
    made = TINY.base.model_copy(update={"tiny": SHAPE.model_copy(update={"family": family})})
    setup = plan_stage(params(), model_of(made), CORE, "grpo", USUAL).setup
    setup = replace(setup, width=dtype.itemsize)
    (deep, tokens, wide), (flat, _, _) = (_saved(family, dtype, layers_) for layers_ in (4, 2))
    # Two more layers of each kind; rows of 64 tokens fill the delta rule's chunks.
    assert (deep - flat) / tokens == pytest.approx(layers(setup, wide)[0], rel=0.06)
    (more, patches), (fewer, _) = (_saved_tower(family, dtype, depth) for depth in (3, 2))
    assert (more - fewer) / patches == pytest.approx(tower(setup)[1], rel=0.03)


def _scored(family: Family, dtype: torch.dtype, **sizes: int) -> tuple[int, Any]:
    from wethink.models.tiny import build_model

    _, made = policy(family=family)
    model = build_model(SHAPE.model_copy(update={"family": family} | sizes), made.tokenizer, 0).to(dtype)
    use_fast_paths(model)
    scorer = CompletionLogProbs(model, made.banned)
    asked = prompts(made, 1)
    batch = pack(asked, [[40] * (64 - len(asked[0].ids))])
    kept = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved: dict[int, tuple[int, Any]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in kept:
            saved[storage.data_ptr()] = (storage.nbytes(), storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scorer(batch)
    return sum(size for size, _ in saved.values()), batch


def _saved(family: Family, dtype: torch.dtype, depth: int) -> tuple[int, int, float]:
    size, batch = _scored(family, dtype, num_hidden_layers=depth)
    return size, batch.ids.shape[1], 1.0


def _saved_tower(family: Family, dtype: torch.dtype, depth: int) -> tuple[int, int]:
    size, batch = _scored(family, dtype, vision_depth=depth)
    return size, len(batch.pixels)


def test_completions_repeat_a_prompts_keys_on_a_cpu_only() -> None:
    setup = planned().setup
    assert spread(setup) == 1.0 < spread(replace(setup, device=CORE))


def test_the_command_prints_what_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    from wethink.cli.main import main

    for folder in ("profiles", "infra"):
        (tmp_path / folder).symlink_to(Path(folder).absolute())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "sys.argv", ["wethink", "plan", "--profile", "smoke", "--device", "l4", "--price", "1", "--json"]
    )
    monkeypatch.setattr("wethink.cli.main.die_with_owners", lambda: None)
    assert main() == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(Path("reports/plan.json").read_text())
    assert {"memory", "seconds", "fits", "suggestions"} <= set(printed) and set(printed["memory"]) == {"rank", "host"}
    monkeypatch.setattr("sys.argv", ["wethink", "plan", "--profile", "smoke", "--device", "abacus"])
    assert main() == 2
    refused = capsys.readouterr()
    assert "there is no 'abacus'" in refused.err and "Traceback" not in refused.err


PROFILES = sorted(path.stem for path in Path("profiles").glob("*.yaml"))
TABLE = [line for line in Path("docs/planning.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_loads_and_is_planned_with_its_own_model(name: str) -> None:
    found = profile_params([name])
    device = H100 if found.launch.device == "cuda" else CORE
    made, model = placed(found, device, None), model_of(found.base)
    for stage in STAGES:
        plan = plan_stage(made, model, device, stage, USUAL)
        assert plan.hours > 0 and plan.peak > 0
    rows = [line for line in TABLE if line.startswith(f"| `{name}`, ")]
    assert len(rows) == (2 if found.base.model != "tiny" or name == "tiny" else 0)


def test_the_lora_profile_is_planned_to_fit_a_device_of_24_gb() -> None:
    small = device_named("l4")
    made = placed(profile_params(["qwen3_5_2b_lora"]), small, None)
    model = model_of(made.base)
    assert all(plan_stage(made, model, small, stage, USUAL).fits for stage in STAGES)
