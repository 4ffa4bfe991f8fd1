"""Some seconds of `make fuzz`, and its own teeth: a reader that drops, crashes or hangs is caught."""

import itertools
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from tasks import ROOT
from tests.fuzz import __main__ as fuzz
from tests.fuzz import readers
from tests.fuzz.campaign import LISTINGS, NAMES, READERS, check_of, inputs_of
from wethink.common import jsonl
from wethink.data.image_decoding import Accepted
from wethink.data.tables import files

INPUTS = {"pictures": 500, "score lines": 150, "parameters": 60, LISTINGS: 40}


@pytest.mark.parametrize("name", NAMES)
def test_no_input_ends_in_a_traceback_or_is_lost(name: str, tmp_path: Path) -> None:
    check = check_of(name)
    for data in itertools.islice(inputs_of(name, Random(f"short {name}")), INPUTS.get(name, 250)):
        assert fuzz.attempt(check, data, tmp_path) is None, data[:2000]


@pytest.mark.parametrize("name", READERS)
def test_the_seeds_are_read_as_they_are(name: str, tmp_path: Path) -> None:
    for data in READERS[name].seeds:
        assert fuzz.attempt(READERS[name].check, data, tmp_path) is None, data[:200]


def found(name: str, tmp_path: Path, inputs: int = 400) -> set[str]:
    """The kinds of failures within some inputs."""
    check = check_of(name)
    tried = (fuzz.attempt(check, data, tmp_path) for data in itertools.islice(inputs_of(name, Random(0)), inputs))
    return {failure[0] for failure in tried if failure}


def test_a_reader_that_passes_over_a_faulty_line_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = jsonl.json_lines
    monkeypatch.setattr(files, "json_lines", lambda *about: (line for line in whole(*about) if not line.fault))
    assert "lost" in found("rows", tmp_path)


def test_a_parser_that_raises_for_huge_numbers_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def naive(text: str) -> object:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise jsonl.NotJson(error.msg) from None

    monkeypatch.setattr(jsonl, "parse_json", naive)
    assert "tracebacks" in found("json lines", tmp_path)


def test_a_decoder_that_states_another_size_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = readers.accept

    def careless(data: bytes, pixels: int, first: bool) -> Accepted:
        accepted = whole(data, pixels, first)
        return Accepted(accepted.data, accepted.image.transpose(Image.Transpose.ROTATE_90))

    monkeypatch.setattr(readers, "accept", careless)
    assert "lost" in found("pictures", tmp_path, 40)


def test_a_reader_that_hangs_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "INPUT_SECONDS", 1)
    kind, account = fuzz.attempt(lambda data, folder: [None for _ in iter(int, 1)] and None, b"", tmp_path) or ("", "")
    assert kind == "tracebacks" and "Hang: over 1 s" in account


def test_the_command_writes_counts_for_every_reader(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--reader", "json documents", "--seconds", "1", "--seed", "3"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    counts = json.loads(ran.stdout.splitlines()[-1])
    assert set(counts) == {"name", "inputs", "tracebacks", "lost"} and counts["inputs"] > 10
