"""A file that a person names and that is not there, or is no such file: the sentence says what kind is wanted."""

from pathlib import Path
from typing import Any

import pytest

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl
from wethink.report.audit import estimate
from wethink.rewards.judge.calibration import calibrate


def test_a_file_that_no_stage_writes_is_asked_for_by_its_kind(tmp_path: Path) -> None:
    params: Any = None  # the file is read before anything else is
    with pytest.raises(UserError, match=r"none\.jsonl does not exist; name a file of JSON lines .*problem.*tier.*\.$"):
        calibrate(tmp_path / "none.jsonl", params, tmp_path / "out.json")
    with pytest.raises(UserError, match=r"none\.json does not exist; name the file that the audit page saved\.$"):
        estimate(tmp_path / "none.json", tmp_path / "out.json", 0.2)
    (tmp_path / "page.html").write_text("<html>")
    with pytest.raises(UserError, match=r"not JSON \(.*\); name the file that the audit page saved\.$"):
        estimate(tmp_path / "page.html", tmp_path / "out.json", 0.2)


def test_a_file_that_a_stage_writes_is_asked_for_by_its_stage(tmp_path: Path) -> None:
    for read in (read_json, lambda path: list(read_jsonl(path))):
        with pytest.raises(UserError, match="does not exist; run the stage that writes it first"):
            read(tmp_path / "none")
