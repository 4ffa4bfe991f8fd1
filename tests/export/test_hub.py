"""`wethink push`: what it lists is what a hub over HTTP receives, private, with a token that stands nowhere else."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.export.test_export import home  # noqa: F401  a fixture
from tests.support.hub_stand_in import TOKEN, Hub, Repository, hub_stand_in
from wethink.cli.main import main
from wethink.common.jsonl import read_json, write_json
from wethink.dag.publishing import write_manifest


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_stand_in() as found:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", found.url)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield found


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A published checkpoint, in a project that is entered."""
    monkeypatch.chdir(tmp_path)
    folder = Path("models/grpo")
    (folder / "adapter").mkdir(parents=True)
    write_json(folder / "config.json", {"model_type": "qwen3_vl"})
    (folder / "model.safetensors").write_bytes(b"w" * 1000)
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"a")
    (folder / "README.md").write_text("---\ntags: [wethink, grpo]\n---\n# grpo\n", encoding="utf-8")
    write_manifest(folder)
    return folder


def wethink(*arguments: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["wethink", *map(str, arguments)])
    return main()


def test_a_checkpoint_arrives_whole_and_private_with_its_card(
    model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wethink("push", model, "me/grpo", monkeypatch=monkeypatch) == 0
    (name,) = hub.repositories
    kept = hub.repositories[name]
    assert (name, kept.private) == ("models/me/grpo", True)
    assert kept.files == {
        path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()
    }
    assert f"sent to {hub.url}/me/grpo (private model):" in capsys.readouterr().out
    assert read_json(Path("reports/push.json"))["sent"] is True
    assert TOKEN not in Path("reports/push.json").read_text(encoding="utf-8")


def test_a_dry_run_lists_what_would_arrive_and_asks_the_hub_nothing_even_without_a_token(
    model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    assert wethink("push", model, "me/grpo", "--dry-run", "--json", monkeypatch=monkeypatch) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == read_json(Path("reports/push.json"))
    assert (told["repository"], told["type"], told["private"], told["sent"]) == ("me/grpo", "model", True, False)
    assert told["card"].endswith("# grpo\n") and told["token"] is False
    assert hub.calls == []
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert wethink("push", model, "me/grpo", monkeypatch=monkeypatch) == 0
    arrived = hub.repositories["models/me/grpo"].files
    assert {entry["path"]: entry["bytes"] for entry in told["files"]} == {n: len(data) for n, data in arrived.items()}
    assert told["bytes"] == sum(map(len, arrived.values()))


def test_rows_are_sent_as_the_dataset_that_export_makes_of_them(
    home: Path,  # noqa: F811
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (home / "data").mkdir()
    for name in ("images", "rows", "valid"):
        shutil.move(home / name, home / "data" / name)
    monkeypatch.chdir(home)
    assert wethink("push", "data/valid", "me/rows", "--public", monkeypatch=monkeypatch) == 0
    assert wethink("export", "dataset", "--push", "me/again", monkeypatch=monkeypatch) == 0
    first, second = hub.repositories["datasets/me/rows"], hub.repositories["datasets/me/again"]
    assert first.files == second.files and {"README.md", "rows/train.jsonl"} < set(first.files)
    assert not first.private and second.private
    assert not list(Path(".wethink").iterdir())


def refused(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    assert wethink("push", model, "me/grpo", *more, monkeypatch=monkeypatch) == 2
    told = capsys.readouterr()
    assert not told.out and told.err.count("\n") == 1 and "Traceback" not in told.err and TOKEN not in told.err
    return told.err


def test_a_repository_that_is_there_and_public_gets_nothing_unless_public_is_asked(
    model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["models/me/grpo"] = Repository(private=False)
    assert "'me/grpo' is there and public; nothing was sent" in refused(model, monkeypatch, capsys)
    assert not hub.repositories["models/me/grpo"].files
    assert wethink("push", model, "me/grpo", "--public", monkeypatch=monkeypatch) == 0
    assert hub.repositories["models/me/grpo"].files


def test_a_repository_that_is_there_and_private_stays_so_and_the_list_shows_it(
    model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.repositories["models/me/grpo"] = Repository(private=True)
    assert wethink("push", model, "me/grpo", "--public", monkeypatch=monkeypatch) == 0
    assert "(private model)" in capsys.readouterr().out


@pytest.mark.parametrize("inside", ["weights.safetensors", "adapter/more", ".cache"])
def test_no_link_takes_a_file_from_outside_along(
    inside: str, model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = Path("secret")
    outside.mkdir()
    (outside / "key").write_text("planted")
    (model / inside).symlink_to((outside if inside == "adapter/more" else outside / "key").resolve())
    if inside.startswith("."):  # hidden: left out and told
        assert wethink("push", model, "me/grpo", monkeypatch=monkeypatch) == 0
        assert "left out, since hidden: .cache" in capsys.readouterr().out
        assert b"planted" not in hub.repositories["models/me/grpo"].files.values()
    else:
        assert f"{model / inside} is a link to" in refused(model, monkeypatch, capsys)
        assert hub.calls == []


def test_a_checkpoint_behind_a_link_of_its_own_is_sent(model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("champion").symlink_to(model)
    (model / "again.json").symlink_to("config.json")
    assert wethink("push", "champion", "me/grpo", monkeypatch=monkeypatch) == 0
    arrived = hub.repositories["models/me/grpo"].files
    assert arrived["again.json"] == arrived["config.json"]


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("no token", "HF_TOKEN is not set; set this environment variable to a token with write access"),
        ("wrong token", "the hub refuses the token in HF_TOKEN (401); it needs write access to 'me'"),
        ("no folder", "models/grpo is no folder; give a checkpoint"),
        ("no card", "models/grpo has no card (README.md)"),
        ("no model", "models/grpo is neither a checkpoint (config.json and *.safetensors) nor an exported dataset"),
        ("changed", "model.safetensors is missing or was changed after publishing"),
        ("no hub", "pushing to 'me/grpo' failed: "),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_sent(
    mistake: str, told: str, model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if mistake == "no token":
        monkeypatch.delenv("HF_TOKEN")
    elif mistake == "wrong token":
        monkeypatch.setenv("HF_TOKEN", "hf_other")
    elif mistake == "no folder":
        shutil.rmtree(model)
    elif mistake == "no hub":
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    else:
        file = {"no card": "README.md", "no model": "config.json", "changed": "model.safetensors"}[mistake]
        (model / file).unlink()
        if mistake != "changed":
            write_manifest(model)
    assert told in refused(model, monkeypatch, capsys)
    assert not hub.repositories


@pytest.mark.parametrize("name", ["grpo", "me/grpo/more", "me/gr po", "me/-grpo"])
def test_a_name_that_no_hub_takes_is_refused_before_anything_else(
    name: str, model: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert wethink("push", model, "--dry-run", "--", name, monkeypatch=monkeypatch) == 2
    assert f"'{name}' is no repository's name" in capsys.readouterr().err and hub.calls == []
