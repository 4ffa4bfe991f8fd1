"""Synthesis against servers that refuse, think and lack parameters: what is paid for is kept, nothing false written."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_script import PARAMETERS
from tests.support.chat_server import chat_server, stats
from tests.synthesis.test_teams import FILES, at, photos, synthesized
from wethink.clients.response_store import ResponseStore
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl
from wethink.synthesis import api_run


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_run, "LEDGER", tmp_path / "ledger.json")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photos(tmp_path_factory.mktemp("photos"), range(8), "images")


@pytest.fixture(scope="module")
def undisturbed(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    home = tmp_path_factory.mktemp("undisturbed")
    with chat_server(home) as url, pytest.MonkeyPatch.context() as patch:
        patch.setattr(api_run, "LEDGER", home / "ledger.json")
        return synthesized(images, home / "out", at(url, home / "a.sqlite")), stats(url)


def same(out: Path, other: Path) -> bool:
    return all((out / name).read_bytes() == (other / name).read_bytes() for name in FILES)


def bought_twice(store: Path) -> int:
    with ResponseStore(store) as answers:
        return answers.duplicate_charges()


@pytest.mark.parametrize("status", [401, 402, 403])
def test_an_account_that_is_refused_in_the_middle_stops_the_stage_and_a_later_start_buys_only_the_rest(
    images: Path, undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path, status: int
) -> None:
    out, whole = undisturbed
    store, mended = tmp_path / "a.sqlite", tmp_path / "mended"
    with chat_server(tmp_path, status=status, words="not any more", after=25, until=mended) as url:
        with pytest.raises(
            UserError, match=rf"endpoint '\w+' .*HTTP {status}: “not any more”.* what is paid for is kept"
        ):
            synthesized(images, tmp_path / "first", at(url, store))
        assert not (tmp_path / "first" / "metrics.json").exists()
        assert 25 <= stats(url)["answered"] <= 25 + 24
        mended.touch()
        assert same(synthesized(images, tmp_path / "second", at(url, store)), out)
        seen = stats(url)
    assert seen["answered"] == seen["distinct"] == whole["distinct"] and bought_twice(store) == 0


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_everything_stops_the_stage_with_its_words(
    images: Path, tmp_path: Path, status: int
) -> None:
    store = tmp_path / "a.sqlite"
    with chat_server(tmp_path, status=status, words="no such template") as url:
        with pytest.raises(UserError, match=rf"refuses every call to model .*HTTP {status}: “no such template”"):
            synthesized(images, tmp_path / "out", at(url, store))
        assert stats(url)["received"] <= 8 + 2
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize("poison", [400, 413])
def test_one_request_that_is_refused_among_answers_fails_alone_with_its_reason(
    images: Path, tmp_path: Path, poison: int
) -> None:
    with chat_server(tmp_path, poisoned=0.05, poison=poison) as url:
        out = synthesized(images, tmp_path / "out", at(url, tmp_path / "a.sqlite"))
    failed = list(read_jsonl(out / "failed.jsonl"))
    assert failed and all(record["reason"].endswith(f"HTTP {poison}") for record in failed)
    assert not any(record["retryable"] for record in failed) and list(read_jsonl(out / "rows.jsonl"))


@pytest.mark.parametrize("terse", [0, 1])
@pytest.mark.parametrize("refused", [*PARAMETERS, ",".join(PARAMETERS)])
def test_a_server_that_lacks_a_parameter_annotates_all_the_same(
    images: Path, undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path, refused: str, terse: int
) -> None:
    store = tmp_path / "a.sqlite"
    with chat_server(tmp_path, refuses=refused, terse=terse) as url:
        out = synthesized(images, tmp_path / "out", at(url, store))
        seen = stats(url)
        again = synthesized(images, tmp_path / "again", at("http://127.0.0.1:9", store))
    with ResponseStore(store) as answers:  # without a seed, several samples are one request to the server
        assert seen["answered"] == answers._base.execute("SELECT COUNT(*) FROM answers")[0][0]
        assert answers.duplicate_charges() == 0
    assert same(out, again) and list(read_jsonl(out / "rows.jsonl")) and not list(read_jsonl(out / "failed.jsonl"))
    forms = {line["form"] for line in read_json(tmp_path / "ledger.json")["calls"] if line["outcome"] == "answered"}
    assert any(forms)


@pytest.mark.parametrize("shape", ["parts", "apart", "noopen", "think", "fence"])
def test_a_model_that_thinks_yields_the_rows_of_one_that_does_not(
    images: Path, undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path, shape: str
) -> None:
    out, whole = undisturbed
    with chat_server(tmp_path, shape=shape) as url:
        assert same(synthesized(images, tmp_path / "out", at(url, tmp_path / "a.sqlite")), out)
        assert stats(url)["answered"] == whole["answered"], "a reply was repaired that was whole"


@pytest.mark.parametrize(
    ("shape", "reason"),
    [("only_reasoning", "describe: empty reply"), ("cut_thinking", "describe: cut off while thinking")],
)
def test_replies_of_thoughts_alone_are_a_named_failure_and_no_outage(
    images: Path, tmp_path: Path, shape: str, reason: str
) -> None:
    store = tmp_path / "a.sqlite"
    with chat_server(tmp_path, shape=shape) as url:
        with pytest.raises(UserError, match=f"none of the 8 images was annotated, .*'{reason}'"):
            synthesized(images, tmp_path / "out", at(url, store, give_up_seconds=5.0))
        assert stats(url)["received"] == 8, "an answered call was repeated"
    assert not (tmp_path / "out" / "metrics.json").exists()
