"""A DeepSpeed file of any content is read or refused in a sentence."""

from pathlib import Path

import pytest

from tasks import ROOT
from wethink.common.errors import UserError
from wethink.config.launch import Launch
from wethink.config.params import load_params
from wethink.training.engine import deepspeed_config

PLAIN = b'{"zero_optimization": {"stage": 1}}'


def launch(path: Path) -> Launch:
    return load_params(ROOT / "profiles" / "tiny.yaml").launch.model_copy(update={"deepspeed": str(path)})


@pytest.mark.parametrize("data", [PLAIN, b"\xef\xbb\xbf" + PLAIN, PLAIN.decode().encode("utf-16")])
def test_a_file_with_a_mark_is_read(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "zero.json").write_bytes(data)
    assert deepspeed_config(launch(tmp_path / "zero.json")) == {"zero_optimization": {"stage": 1}}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not JSON"),
        (b"{]", "not JSON"),
        (b"[1]", "no DeepSpeed configuration"),
        (b'{"bf16": true}', "no DeepSpeed configuration"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "not JSON"),
        (b"\xff\xfe\x00", "zero.json"),
        (b'{"zero_optimization": {"stage": 3, "offload_optimizer": {"device": "nvme"}}}', "sets .*'nvme'; checkpoints"),
        (b'{"zero_optimization": {"stage": 2, "round_robin_gradients": true}}', "sets .*round_robin_gradients; "),
        (None, "beside it are: none"),
    ],
)
def test_another_one_is_refused(data: bytes | None, sentence: str, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "zero.json").write_bytes(data)
    with pytest.raises(UserError, match=sentence):
        deepspeed_config(launch(tmp_path / "zero.json"))
