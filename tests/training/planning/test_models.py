"""Counts and shapes come from the config alone, and bad configs end in one sentence."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.miniature import SHAPE, policy
from wethink.common.errors import UserError
from wethink.config.params import load_params
from wethink.config.training import Family, Lora, Optim
from wethink.training.engine import shape_trainable
from wethink.training.planning.devices import calibrate, device_named
from wethink.training.planning.models import count, part_of, read_config, shape_of

OPTIM = Optim(lr=1e-4, max_steps=1, train_batch_size=1)
FAMILIES: tuple[Family, ...] = ("qwen2_5_vl", "qwen3_vl", "qwen3_5")
BASE = load_params(Path("profiles/tiny.yaml")).base


@pytest.mark.parametrize("lora", [None, Lora(rank=3, alpha=3)])
@pytest.mark.parametrize("family", FAMILIES)
def test_counts_are_those_of_a_built_model_that_an_engine_would_train(family: Family, lora: Lora | None) -> None:
    model, _ = policy(family=family)
    optim = OPTIM.model_copy(update={"lora": lora})
    counted = count(model.config, optim, "miniature")
    shape_trainable(model, optim)
    parameters = dict(model.named_parameters())
    assert counted.total == sum(p.numel() for p in parameters.values())
    assert counted.learned == sum(p.numel() for p in parameters.values() if p.requires_grad)
    for part, size in counted.weights.items():
        assert size == sum(p.numel() for name, p in parameters.items() if part_of(name) == part)
    assert (counted.weights["lora"] > 0) == (lora is not None)


def test_four_bit_weights_are_counted_whole_with_no_library_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)  # as where it is not installed
    config, name = read_config(BASE)
    whole, packed = (OPTIM.model_copy(update={"lora": Lora(rank=3, alpha=3, load_in_4bit=b)}) for b in (False, True))
    assert count(config, packed, name) == count(config, whole, name)


def test_frozen_parts_are_counted_and_not_trained() -> None:
    config, name = read_config(BASE)
    counted = count(config, OPTIM.model_copy(update={"frozen_parameters": ("visual",)}), name)
    assert counted.trained["vision"] == 0 < counted.weights["vision"]


@pytest.mark.parametrize(
    ("model", "billions"),  # as published with the weights; Qwen3.5-9B's without its multi-token head (0.24)
    [("Qwen/Qwen2.5-VL-7B-Instruct", 8.292), ("Qwen/Qwen3-VL-2B-Instruct", 2.128), ("Qwen/Qwen3.5-9B", 9.41)],
)
def test_known_shapes_have_the_published_sizes(model: str, billions: float) -> None:
    config, name = read_config(BASE.model_copy(update={"model": model}))
    assert count(config, OPTIM, name).total / 1e9 == pytest.approx(billions, abs=1e-3)


def test_products_of_a_layer_are_counted_once() -> None:
    config, name = read_config(BASE)
    shape = shape_of(config, name)
    layer = 2 * shape.hidden * (shape.query + shape.key) + 3 * shape.hidden * shape.inner
    assert count(config, OPTIM, name).language == shape.layers * layer


GOOD: dict[str, Any] = {"model_type": "qwen3_vl", "text_config": {"hidden_size": 64}, "vision_config": {"depth": 1}}
BAD: dict[str, tuple[object, str]] = {
    "a text model": ({"model_type": "qwen3", "hidden_size": 64}, "of type 'qwen3'; those that work here are"),
    "no vision part": ({"model_type": "qwen3_5", "text_config": {}}, "has no vision part"),
    "its text part alone": ({"model_type": "qwen3_5_text"}, "has no vision part"),
    "no type": ({"vision_config": {}}, "of type 'unknown'"),
    "quantised": (GOOD | {"quantization_config": {"quant_method": "awq"}}, "is quantised (awq)"),
    "a list": ([1], "is no JSON object"),
    "text for a number": (GOOD | {"text_config": {"hidden_size": "wide"}}, "cannot be read"),
    "heads that do not divide": (
        GOOD | {"vision_config": {"depth": 1, "hidden_size": 0, "num_heads": 0}},
        "no model can be built",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_config_that_cannot_be_planned_ends_in_one_sentence(case: str, tmp_path: Path) -> None:
    raw, sentence = BAD[case]
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(UserError) as refused:
        config, name = read_config(BASE.model_copy(update={"model": str(tmp_path)}))
        count(config, OPTIM, name)
    assert sentence in str(refused.value)


def test_an_unknown_hub_id_says_how_to_give_a_config() -> None:
    with pytest.raises(UserError, match=r"--model config\.json"):
        read_config(BASE.model_copy(update={"model": "nobody/no-such-model"}))


def test_a_config_file_is_read_like_its_folder(tmp_path: Path) -> None:
    model, _ = policy(family="qwen3_5")
    model.config.save_pretrained(tmp_path)  # type: ignore[union-attr, operator]
    for given in (tmp_path, tmp_path / "config.json"):
        config, name = read_config(BASE.model_copy(update={"model": str(given)}))
        shape = shape_of(config, name)
        assert (shape.hidden, shape.layers, shape.recurrent) == (SHAPE.hidden_size, SHAPE.num_hidden_layers, 1)


def test_an_unknown_device_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"known are: cpu, h200, h100"):
        device_named("abacus")


def test_a_core_is_measured() -> None:
    core = calibrate(0.02)
    assert core.is_cpu and 1e8 < core.fp32 < 1e13 and 1e8 < core.bandwidth < 1e13
