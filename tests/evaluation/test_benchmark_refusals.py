"""Benchmarks against servers that refuse, think and lack parameters."""

from pathlib import Path
from typing import Any

import pytest

from tests.evaluation.test_benchmark_job import colours
from tests.support.chat_script import THOUGHT
from tests.support.chat_server import chat_server, stats
from wethink.clients.response_store import Answer, ResponseStore
from wethink.common.errors import UserError
from wethink.evaluation.benchmarks.endpoint_engine import Served, _reply
from wethink.evaluation.benchmarks.run import Settings, records_of, run


def benchmark(url: str, tmp_path: Path, count: int = 12, batch: int = 4, **more: Any) -> list[dict[str, Any]]:
    """The records of a run; another call with the same folder resumes it."""
    engine = Served(f"{url}/v1", "m", None, 64, 4, tmp_path / "store.sqlite")
    try:
        table = colours(tmp_path, count)
        did = run(table, engine, Settings("m", controls=False, batch=batch, **more), tmp_path / "out")
        return records_of(Path(did["folder"]))
    finally:
        engine.close()


@pytest.mark.parametrize("status", [401, 402, 403])
def test_an_account_that_is_refused_in_the_middle_stops_the_run_and_a_later_start_buys_only_the_rest(
    tmp_path: Path, status: int
) -> None:
    mended = tmp_path / "mended"
    with chat_server(tmp_path, status=status, words="not any more", after=6, until=mended) as url:
        with pytest.raises(UserError, match=rf"endpoint 'benchmark' .*HTTP {status}: “not any more”"):
            benchmark(url, tmp_path)
        [folder] = (tmp_path / "out").glob("*/*")
        assert "unknown" not in {record["verdict"] for record in records_of(folder)}
        mended.touch()
        records = benchmark(url, tmp_path)
        seen = stats(url)
    assert len(records) == 12 and "unknown" not in {record["verdict"] for record in records}
    assert seen["answered"] == seen["distinct"] == 12
    with ResponseStore(tmp_path / "store.sqlite") as store:
        assert store.duplicate_charges() == 0


def test_one_item_that_is_refused_among_answers_is_unknown_with_the_servers_words(tmp_path: Path) -> None:
    with chat_server(tmp_path, poisoned=0.3, poison=413) as url:
        records = benchmark(url, tmp_path, 20)
    refused = [record for record in records if record["verdict"] == "unknown"]
    assert 1 <= len(refused) < 15
    assert {record["reason"] for record in refused} == {"endpoint: HTTP 413: the image cannot be read"}


@pytest.mark.parametrize("refused", ["max_tokens", "temperature", "seed", "max_tokens,temperature,seed"])
@pytest.mark.parametrize("terse", [0, 1])
def test_a_server_that_lacks_a_parameter_is_benchmarked_and_the_form_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], refused: str, terse: int
) -> None:
    with chat_server(tmp_path, refuses=refused, terse=terse) as url:
        records = benchmark(url, tmp_path, samples=1)
        assert stats(url)["distinct"] == (12 if "temperature" in refused and "seed" in refused else 24)
    assert len(records) == 24 and "unknown" not in {record["verdict"] for record in records}
    assert 1 <= capsys.readouterr().err.count("they go on in the form") <= 2  # a sampled call has more parameters


@pytest.mark.parametrize("shape", ["plain", "parts", "apart", "noopen", "fence"])
def test_the_answer_is_judged_and_not_the_thoughts(tmp_path: Path, shape: str) -> None:
    """The thoughts name A, the answer B."""
    with chat_server(tmp_path, shape=shape) as url:
        records = benchmark(url, tmp_path)
        assert stats(url)["received"] == 12
    assert {record["extracted"] for record in records} == {"B"}
    if shape in ("parts", "apart"):
        assert {record["thoughts"] for record in records} == {THOUGHT}
        assert {record["response"] for record in records} == {"B"}


@pytest.mark.parametrize(("shape", "finish"), [("only_reasoning", "empty"), ("cut_thinking", "length")])
def test_thoughts_without_an_answer_are_wrong_with_a_named_finish_and_no_outage(
    tmp_path: Path, shape: str, finish: str
) -> None:
    with chat_server(tmp_path, shape=shape) as url:
        records = benchmark(url, tmp_path)
        assert stats(url)["received"] == 12
    assert {record["verdict"] for record in records} == {"wrong"}
    assert {(record["finish"], record["thoughts"]) for record in records} == {(finish, THOUGHT)}


def test_a_policy_behind_a_reasoning_parser_gets_its_tags_back() -> None:
    assert _reply(Answer("<answer>B</answer>", "stop", "hm")).text == "<think>hm</think><answer>B</answer>"
    assert _reply(Answer("<think>hm</think><answer>B</answer>", "stop")).text == "<think>hm</think><answer>B</answer>"
    assert _reply(Answer("[THINK]A[/THINK]B", "stop")).text == "<think>A</think>B"


@pytest.mark.parametrize("url", ["http://", "http://user:key@127.0.0.1/v1", "http://127.0.0.1/v1?key=x"])
def test_a_url_that_cannot_be_used_is_a_sentence(url: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--model"):
        Served(url, "m", None, 64, 4, tmp_path / "store.sqlite")
