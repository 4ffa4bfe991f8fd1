"""Synthesis as a job: what it would cost is said before, a budget stops it cleanly, and kill -9 loses nothing."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from benchmarks.crash_safety.synthesis import chaos, holds
from tests.support.chat_server import chat_server, stats
from tests.synthesis.test_teams import at, photos, synthesized
from wethink.cli.synthesize import prepare
from wethink.clients.response_store import ResponseStore
from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl
from wethink.config.params import load_params, load_yaml
from wethink.synthesis import api_run

PROFILE = Path(__file__).resolve().parents[2] / "profiles" / "tiny.yaml"


def test_the_command_of_a_dry_run_says_what_each_step_may_cost_and_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    photos(tmp_path / "data", range(6), "images")
    with chat_server(tmp_path) as url:
        params = load_yaml(PROFILE)
        params["synthesize"]["annotator"] = "endpoints"
        for endpoint in params["launch"]["endpoints"].values():
            endpoint |= {"url": f"{url}/v1", "price_prompt": 1, "price_completion": 2}
        YAML().dump(params, tmp_path / "params.yaml")
        monkeypatch.chdir(tmp_path)
        prepare(load_params(), None, dry_run=True)
        assert stats(url)["received"] == 0
    said = capsys.readouterr().out
    for step in ("describe", "mine", "write", "filter", "reason", "look", "adjudicate", "blind", "refine"):
        assert f"\n{step} " in said
    [most] = [line.split() for line in said.splitlines() if line.startswith("at most")]
    assert float(most[-1]) > 0, "no cost was estimated"
    assert said.endswith("6 images; nothing was sent; 0.00 spent so far\n")


def test_a_key_that_is_missing_is_told_before_anything_is_bought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(api_run, "LEDGER", tmp_path / "ledger.json")
    images = photos(tmp_path, range(2), "images")
    with chat_server(tmp_path) as url:
        launch = at(url, tmp_path / "a.sqlite")
        closed = {"adjudicator": launch.endpoints["adjudicator"].model_copy(update={"key_env": "NO_SUCH_KEY"})}
        with pytest.raises(UserError, match=r"'adjudicator' .* variable NO_SUCH_KEY, which is not set"):
            synthesized(images, tmp_path / "out", launch.model_copy(update={"endpoints": launch.endpoints | closed}))
        assert stats(url)["received"] == 0
        synthesized(images, tmp_path / "open", launch)
    kept = len(list(read_jsonl(tmp_path / "open/rows.jsonl")))
    assert f"synthesize: {kept} of " in capsys.readouterr().err, "and at the end, what came of it"


def test_a_budget_stops_the_stage_before_it_is_passed_and_a_raised_one_buys_only_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_run, "LEDGER", tmp_path / "ledger.json")
    images, store = photos(tmp_path, range(8), "images"), tmp_path / "a.sqlite"
    with chat_server(tmp_path) as url:
        priced = at(url, store, price_prompt=100.0, price_completion=100.0)
        with pytest.raises(UserError, match=r"synthesize\.max_cost is 1\.5, .* are spent"):
            synthesized(images, tmp_path / "poor", priced, max_cost=1.5)
        with ResponseStore(store) as answers:
            assert 0 < answers.spent() <= 1.5
        bought = stats(url)["answered"]
        rich = synthesized(images, tmp_path / "rich", priced, max_cost=10_000.0)
        seen = stats(url)
    assert 0 < bought < seen["answered"] == seen["distinct"], "an answer was bought twice"
    assert len(list(read_jsonl(rich / "rows.jsonl"))) > 0


def test_a_killed_synthesis_publishes_the_bytes_of_an_undisturbed_one_and_buys_nothing_twice(tmp_path: Path) -> None:
    """`make synth-chaos` is the long version, in which the flow is killed, too."""
    found = chaos(tmp_path, images=10, kills=2, victims=("dvc", "worker"), latency=0.1, longest=1.0)
    assert found["by_victim"] == {"dvc": 1, "worker": 1} and found["live_kills"] > 0
    assert found["identical"] and found["stored_answers_bought_twice"] == 0
    assert sum(found["transport_faults"].values()) > 0 and found["funnel"]["kept"] > 0
    assert holds(found)
