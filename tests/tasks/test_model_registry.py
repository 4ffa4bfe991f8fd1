"""The registry: a version is a checkpoint that exists, an alias is given to nothing less, and there is a way back."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import promote as command
from tasks.tracking import model_registry
from wethink.common.errors import UserError
from wethink.dag.publishing import verify_manifest, write_manifest


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_database: Path) -> Path:
    """A store of checkpoints beside a registry of its own, in a folder that is entered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(mlflow_database, tmp_path / 'mlflow.db')}")
    return tmp_path / "checkpoints"


def checkpoint(name: str) -> Path:
    """A published folder; another name, another content."""
    folder = Path("models", name)
    (folder / "sub").mkdir(parents=True)
    (folder / "weights").write_text(name, encoding="utf-8")
    (folder / "sub/config").write_text("{}", encoding="utf-8")
    write_manifest(folder)
    return folder


def test_a_version_outlives_the_folder_it_was_made_from_and_resolves_by_alias(store: Path) -> None:
    import mlflow

    folder = checkpoint("one")
    version = model_registry.register(folder, {"sources": ["scenes"], "dvc_lock": "abc"}, store)
    assert version.folder == store / version.digest and version.tags["sources"] == '["scenes"]'
    assert model_registry.register(folder, {}, store) == version, "the same content is the same version"
    shutil.rmtree(folder)
    assert model_registry.promote(version, "the first") is None
    found = Path(mlflow.artifacts.download_artifacts(artifact_uri="models:/wethink@champion"))
    assert (found / "weights").read_text() == "one"
    verify_manifest(found)


def test_a_project_in_a_folder_with_spaces_and_umlauts_finds_its_checkpoints(store: Path) -> None:
    home = store.parent / "Meine Überlegungen" / "checkpoints"
    version = model_registry.register(checkpoint("one"), {}, home)
    assert version.folder == home / version.digest and version.folder.is_dir()
    assert model_registry.register(Path("models/one"), {}, home) == version


def test_two_retrains_that_came_to_the_same_weights_are_two_versions_each_with_its_own_data(store: Path) -> None:
    folder = checkpoint("one")
    made = [
        model_registry.register(folder, {"retrain_key": key, "dataset": f"of {key}"}, store) for key in ("a", "b", "a")
    ]
    assert made[0] == made[2] and made[0].number != made[1].number and made[0].folder == made[1].folder
    assert [version.tags["dataset"] for version in made] == ["of a", "of b", "of a"]


def test_what_the_manifest_does_not_name_is_not_kept(store: Path) -> None:
    folder = checkpoint("one")
    (folder / "optimizer.pickle").write_bytes(b"arbitrary code")
    assert not (model_registry.keep(folder, store) / "optimizer.pickle").exists()


@pytest.mark.parametrize("damage", ["changed", "removed"])
def test_no_alias_for_a_checkpoint_that_is_not_whole(store: Path, damage: str) -> None:
    version = model_registry.register(checkpoint("one"), {}, store)
    if damage == "changed":
        (version.folder / "weights").write_text("other", encoding="utf-8")
    else:
        shutil.rmtree(version.folder)
    for act in (model_registry.challenge, lambda v: model_registry.promote(v, "why")):
        with pytest.raises(UserError, match=r"changed|no checkpoint"):
            act(version)
    assert model_registry.named("champion") is None and model_registry.named("challenger") is None


def test_a_folder_that_is_no_published_checkpoint_is_refused(store: Path) -> None:
    Path("photos").mkdir()
    with pytest.raises(UserError, match="no published checkpoint"):
        model_registry.register(Path("photos"), {}, store)
    folder = checkpoint("one")
    (folder / "weights").write_text("tampered", encoding="utf-8")
    with pytest.raises(UserError, match="changed after publishing"):
        model_registry.register(folder, {}, store)
    assert not store.exists() or not list(store.iterdir())


def test_promotion_moves_the_aliases_and_rollback_gives_the_place_back(store: Path) -> None:
    first, second = (model_registry.register(checkpoint(name), {}, store) for name in ("one", "two"))
    model_registry.promote(first, "the first")
    model_registry.challenge(second)
    assert model_registry.promote(second, "better") == model_registry.get(first.number)
    assert (_number("champion"), _number("challenger")) == (second.number, None)
    assert model_registry.promote(second, "again") == model_registry.get(second.number)
    assert model_registry.get(second.number).tags[model_registry.PREVIOUS] == first.number
    left, now = model_registry.rollback("it was slow")
    assert (left.number, now.number, _number("champion")) == (second.number, first.number, first.number)
    assert model_registry.get(second.number).tags["rolled_back_because"] == "it was slow"
    with pytest.raises(UserError, match="no earlier champion"):
        model_registry.rollback("once more")


def test_rollback_to_a_checkpoint_that_is_gone_changes_nothing(store: Path) -> None:
    first, second = (model_registry.register(checkpoint(name), {}, store) for name in ("one", "two"))
    model_registry.promote(first, "the first")
    model_registry.promote(second, "better")
    shutil.rmtree(first.folder)
    with pytest.raises(UserError, match="no checkpoint"):
        model_registry.rollback("why")
    assert _number("champion") == second.number


def test_a_decision_is_kept_with_its_evidence_and_counts_as_one_look(store: Path) -> None:
    first, second = (model_registry.register(checkpoint(name), {}, store) for name in ("one", "two"))
    decision: dict[str, Any] = {"promoted": False, "reasons": ["no better", "MC is worse"], "gain": None}
    assert model_registry.looks("first") == 0
    assert model_registry.decided(first, second, "first", "items") is None
    model_registry.record_decision(first, second, "first", "items", decision, "<p>page</p>")
    assert model_registry.decided(first, second, "first", "items") == decision
    assert model_registry.decided(first, second, "first", "other items") is None
    assert model_registry.decided(second, first, "first", "items") is None
    assert (model_registry.looks("first"), model_registry.looks("second")) == (1, 0)
    assert model_registry.get(second.number).tags["reasons"] == "no better MC is worse"
    model_registry.tell(second, decision)
    assert model_registry.get(second.number).story == "Refused by the gate: no better MC is worse", "told once"


def test_the_commands_say_what_is_so(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*arguments: str) -> str:
        return command.run(command.parser().parse_args(arguments))

    monkeypatch.setattr(model_registry.register, "__defaults__", (store,))
    assert "register" in said("list")
    folders = [checkpoint("one"), checkpoint("two")]
    assert "version 1" in said("register", str(folders[0])) and "version 2" in said("register", str(folders[1]))
    assert said("promote", "1", "--because", "first") == "version 1 is champion."
    assert said("promote", "2", "--because", "better") == "version 2 is champion; it was version 1."
    assert said("promote", "2", "--because", "better") == "version 2 is champion already."
    assert said("rollback", "--because", "slow") == "version 1 is champion again; version 2 was rolled back."
    assert Path(said("champion")).parent == store
    listed = said("list").splitlines()
    assert "champion" in listed[0] and listed[0].endswith("Champion: first")
    assert [line.strip() for line in listed[1:]] == [
        "Champion again, version 2 was rolled back: slow",
        f"2  {model_registry.get('2').digest[:12]}  -           Champion in place of version 1: better",
        "Rolled back, version 1 is champion again: slow",
    ]
    for arguments, sentence in (
        (("promote", "9", "--because", "x"), "no version 9"),
        (("challenger",), "no challenger"),
    ):
        with pytest.raises(UserError, match=sentence):
            said(*arguments)


def test_a_users_mistake_is_a_sentence_and_exit_code_2(store: Path) -> None:
    root = Path(command.__file__).parents[1]
    arguments = [sys.executable, "-m", "flows.promote", "promote", "7", "--because", "x"]
    ended = subprocess.run(arguments, cwd=root, capture_output=True, text=True)
    assert ended.returncode == 2 and "no version 7" in ended.stderr and "Traceback" not in ended.stderr


def _number(alias: str) -> str | None:
    found = model_registry.named(alias)
    return found.number if found else None
