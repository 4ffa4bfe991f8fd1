"""Worktrees: every run has a checkout and a params.yaml of its own, and all of them one DVC cache."""

import subprocess
from pathlib import Path

import pytest

from tasks.versioning import worktrees
from wethink.common.errors import UserError
from wethink.config.params import load_params


def test_a_worktree_has_its_own_parameters_and_the_shared_cache(project: Path) -> None:
    folder = worktrees.checkout(Path(".wethink/runs/one"), {"seed": 7, "synthesize.embedded.error_rate": 0.3})
    assert folder.is_absolute() and (folder / "wethink/dag/main_stages.py").is_file()
    changed, ours = load_params(folder / "params.yaml"), load_params()
    assert (changed.seed, changed.synthesize.embedded.error_rate) == (7, 0.3)
    assert ours.seed == 0 and changed.model_copy(update={"seed": 0, "synthesize": ours.synthesize}) == ours
    asked = ["dvc", "cache", "dir"]
    found = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    assert Path(found) == (project / ".dvc/cache").resolve()


def test_a_worktree_is_brought_to_head_and_keeps_what_was_made_in_it(project: Path) -> None:
    folder = worktrees.checkout(Path(".wethink/runs/one"), {"seed": 7})
    (folder / "models").mkdir()
    (folder / "models/made").write_text("weights", encoding="utf-8")
    Path("new.txt").write_text("new", encoding="utf-8")
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "add", "new.txt"], check=True)
    subprocess.run(["git", *identity, "commit", "--quiet", "-m", "new"], check=True)
    again = worktrees.checkout(Path(".wethink/runs/one"), {"seed": 8})
    assert again == folder and (folder / "new.txt").is_file() and (folder / "models/made").is_file()
    assert load_params(folder / "params.yaml").seed == 8


def test_a_worktree_whose_making_was_killed_is_made_anew_and_this_checkout_stays_as_it_is(project: Path) -> None:
    """Without its .git, git would take the folder for a part of this checkout, and throw changes away there."""
    half = project / ".wethink/runs/one"
    half.mkdir(parents=True)
    (half / "half").write_text("made", encoding="utf-8")
    branch = subprocess.run(["git", "branch", "--show-current"], capture_output=True, text=True, check=True).stdout
    folder = worktrees.checkout(Path(".wethink/runs/one"), {"seed": 7})
    assert (folder / "wethink/dag/main_stages.py").is_file() and not (folder / "half").exists()
    now = subprocess.run(["git", "branch", "--show-current"], capture_output=True, text=True, check=True).stdout
    assert now == branch != ""


def test_the_lock_of_a_git_that_was_killed_in_a_worktree_does_not_stay(project: Path) -> None:
    folder = worktrees.checkout(Path(".wethink/runs/one"), {"seed": 7})
    (project / ".git/worktrees/one/index.lock").touch()
    assert worktrees.checkout(Path(".wethink/runs/one"), {"seed": 8}) == folder


def test_uncommitted_changes_and_unknown_keys_are_refused_in_a_sentence(project: Path) -> None:
    with pytest.raises(UserError, match="no key"):
        worktrees.checkout(Path(".wethink/runs/one"), {"grpo.optim.speed": 1})
    Path("params.yaml").write_text("seed: 1\n", encoding="utf-8")
    with pytest.raises(UserError, match="uncommitted changes"):
        worktrees.checkout(Path(".wethink/runs/two"), {})


def test_parameters_that_were_json_stay_readable_for_dvc(tmp_path: Path) -> None:
    import json

    from dvc.utils.serialize import load_yaml as dvc_reads

    path = tmp_path / "params.yaml"
    path.write_text(json.dumps({"launch": {"endpoints": {"vision": {"url": "http://127.0.0.1:8000/v1"}}}, "seed": 0}))
    worktrees.set_params(path, {"seed": 1, "launch.endpoints": {"vision": {"url": "http://127.0.0.1:8001/v1"}}})
    assert dvc_reads(path) == {"launch": {"endpoints": {"vision": {"url": "http://127.0.0.1:8001/v1"}}}, "seed": 1}


def test_a_retrain_sets_only_keys_that_params_yaml_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from tasks import ROOT
    from tasks.execution import retraining

    monkeypatch.chdir(ROOT)
    path = Path(shutil.copy(ROOT / "params.yaml", tmp_path))
    worktrees.set_params(path, {"retrain.source": "birds"} | retraining._own_params())
    changed = load_params(path)
    assert changed.retrain.source == "birds" and Path(changed.launch.answers).is_absolute()
