"""The parameter file as editors write it: read, or refused in one sentence, never a traceback."""

from pathlib import Path

import pytest

from tasks import ROOT
from wethink.common.errors import UserError
from wethink.config.params import load_params

TINY = (ROOT / "profiles" / "tiny.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_an_encoding_with_a_mark_and_any_line_end_is_read(encoding: str, ends: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(TINY.replace("\n", ends).encode(encoding))
    assert load_params(tmp_path / "params.yaml") == load_params(ROOT / "profiles" / "tiny.yaml")


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
BROKEN = {
    "5,000 digits": TINY.replace("seed: 0", "seed: " + "9" * 5000),
    "NaN": TINY.replace("max_quarantined: 0.05", "max_quarantined: .nan"),
    "infinity": TINY.replace("lr: ", "lr: .inf # ", 1),
    "1e400": TINY.replace("lr: ", "lr: 1e400 # ", 1),
    "deep": TINY + "\nx: " + "[" * 3000 + "]" * 3000,
    "deep by lines": TINY + "\nx:\n" + "".join(" " * n + f"k{n}:\n" for n in range(1, 80)),
    "contains itself": TINY + "\nx: &x [*x]\n",
    "aliases that unfold to ten billion": TINY + LAUGHS,
    "a list as key": TINY + "\n? [a, b]\n: c\n",
    "a number as key": TINY + "\n1: c\n",
    "no value of its tag": TINY + "\nx: !!int many\n",
    "an object of Python": TINY + "\nx: !!python/object/apply:os.system [echo]\n",
    "a key twice": TINY + "\nseed: 1\n",
    "half a character": TINY.replace("profile: tiny", 'profile: "\\ud800"'),
    "tabs": TINY + "\n\tx: 1\n",
    "two documents": TINY + "\n---\na: 1\n",
    "a zero byte": TINY + "\0",
    "a list": "- a\n- b\n",
    "empty": "",
    "a date as seed": TINY.replace("seed: 0", "seed: 2026-01-01"),
    "bytes": TINY.replace("seed: 0", "seed: !!binary aGVsbG8="),
    "set": TINY + "\nx: !!set {a, b}\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_parameter_file_is_one_short_sentence(kind: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(BROKEN[kind], encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml") as caught:
        load_params(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


@pytest.mark.parametrize("data", [b"seed: \xe9\n", b"\xff\xfesee", TINY.encode("latin-1", "replace") + b"\x80"])
def test_bytes_of_another_encoding_are_named_with_the_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(data)
    with pytest.raises(UserError, match=r"params\.yaml, line \d+: a byte that is no UTF"):
        load_params(tmp_path / "params.yaml")
