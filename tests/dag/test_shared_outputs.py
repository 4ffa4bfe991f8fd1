"""A retrain's step that one machine has run is fetched by another one, if they share storage."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tasks import ROOT
from tasks.execution import retraining
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json
from wethink.common.stage_run import StageRun
from wethink.config.params import load_params
from wethink.dag import runner
from wethink.dag.retraining_stages import RETRAIN
from wethink.dag.stage import Stage

STEP = "union"


def count(*, run: StageRun[Any], **_: Any) -> None:
    """A step that notes in the current folder that it has run."""
    with Path("ran").open("a") as log:
        log.write("x")
    (run.out / "metrics.json").write_text('{"rows": 1}', encoding="utf-8")


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    stage = Stage("test", f"{__name__}:count", "retrain", {}, "retrain/union")
    monkeypatch.setitem(RETRAIN, STEP, stage)
    monkeypatch.setitem(runner.EXTRA_STAGES, STEP, stage)
    (tmp_path / "shared").mkdir()
    return tmp_path / "shared"


def run_on(machine: Path, shared: Path | None = None, **settings: Any) -> dict[str, Any]:
    (machine / ".wethink").mkdir(parents=True, exist_ok=True)
    if shared is not None and not (machine / ".wethink/steps").exists():
        (machine / ".wethink/steps").symlink_to(shared)
    os.chdir(machine)
    params = load_params(ROOT / "params.yaml")
    changed = params.retrain.model_copy(update=settings)
    return runner.run_stage(STEP, params.model_copy(update={"retrain": changed}), once=True)


def ran(machine: Path) -> int:
    return len((machine / "ran").read_text()) if (machine / "ran").exists() else 0


def test_a_step_that_one_machine_has_run_is_fetched_by_the_other(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    one, other = tmp_path / "one", tmp_path / "other"
    assert run_on(one, shared) == {"rows": 1} == run_on(other, shared) == run_on(other, shared)
    assert (ran(one), ran(other)) == (1, 0)
    assert "another machine has run it" in capsys.readouterr().err
    assert (other / "retrain/union/manifest.json").read_bytes() == (one / "retrain/union/manifest.json").read_bytes()
    assert read_json(other / ".wethink/runs/union.run.json")["metrics"] == {"rows": 1}


def test_a_step_with_other_parameters_or_without_the_folder_is_run(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one, other, alone = tmp_path / "one", tmp_path / "other", tmp_path / "alone"
    run_on(one, shared)
    run_on(other, shared, held_out=0.5)
    run_on(alone)
    assert (ran(one), ran(other), ran(alone)) == (1, 1, 1)
    assert not (alone / ".wethink/steps").exists() and len(list(shared.iterdir())) == 2


def test_a_kept_output_that_was_changed_is_refused_and_nothing_is_published(
    tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_on(tmp_path / "one", shared)
    (kept,) = shared.iterdir()
    (kept / "out/metrics.json").write_text('{"rows": 2}')
    with pytest.raises(UserError, match=r"metrics\.json is missing or was changed"):
        run_on(tmp_path / "other", shared)
    assert not (tmp_path / "other/retrain/union").exists()
    shutil.rmtree(kept)
    assert run_on(tmp_path / "other", shared) == {"rows": 1}


def test_the_folder_of_the_checkout_is_that_of_its_worktrees() -> None:
    assert Path(".wethink/steps") == retraining.SHARED
