"""The client: faults pass, outages pause, budgets hold, keys stay where they are, and nothing is bought twice."""

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clients.asking import ask, endpoint, request
from tests.support.chat_server import chat_server, stats
from wethink.clients import chat as client
from wethink.clients.chat import Chat, Unavailable
from wethink.clients.circuit_breaker import IN_A_ROW, Breaker
from wethink.clients.ordered import ordered_map
from wethink.clients.refusals import Fault, retry_after
from wethink.clients.request import Picture
from wethink.clients.response_store import Answer, ResponseStore
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.config.launch import Endpoint

SECRET = "sk-do-not-tell-anybody-1234"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(client, "LONGEST_BACKOFF", 0.05)


def test_what_passes_is_tried_again_and_every_answer_is_bought_once(tmp_path: Path) -> None:
    requests = [request(number) for number in range(60)]
    with chat_server(tmp_path, faults=0.3, latency=0.005, stall=0.3) as url:
        first = ask(tmp_path / "a.sqlite", [*requests, *requests], endpoint(url, attempts=20))
        again = ask(tmp_path / "a.sqlite", requests, endpoint("http://127.0.0.1:9"))  # nobody is there
        seen = stats(url)
    assert all(isinstance(answer, Answer) for answer in first), first
    assert first == again * 2
    assert seen["answered"] == seen["distinct"] == 60 and sum(seen["faults"].values()) > 5
    assert seen["most_in_flight"] <= 8
    with ResponseStore(tmp_path / "a.sqlite") as store:
        assert store.duplicate_charges() == 0
        outcomes = {line["outcome"]: line["calls"] for line in store.ledger()}
    assert outcomes["answered"] == 60 and sum(outcomes.values()) == seen["received"]


def test_a_failed_call_is_in_the_ledger_and_never_an_answer(tmp_path: Path) -> None:
    with chat_server(tmp_path, status=500) as url:
        [found] = ask(tmp_path / "a.sqlite", [request()], endpoint(url, attempts=3))
    assert isinstance(found, Unavailable) and found.retryable and found.reason == "HTTP 500 after 3 attempts"
    with ResponseStore(tmp_path / "a.sqlite") as store:
        assert store.get(request().key) is None
        assert [(line["outcome"], line["calls"]) for line in store.ledger()] == [("HTTP 500", 3)]


def test_a_call_past_its_deadline_is_given_up(tmp_path: Path) -> None:
    begin = time.monotonic()
    with chat_server(tmp_path, latency=30) as url:
        [found] = ask(tmp_path / "a.sqlite", [request()], endpoint(url, attempts=1, deadline_seconds=0.5))
    assert isinstance(found, Unavailable) and found.reason == "no answer in time after 1 attempts"
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("-1", 0.0), ("soon", 0.0), ("inf", 600.0), ("nan", 0.0), (None, 0.0)]
)
def test_retry_after_is_read_within_reason(header: str | None, seconds: float) -> None:
    assert retry_after(header) == seconds


def test_retry_after_is_honoured(tmp_path: Path) -> None:
    """Without it, the pauses of these tests are at most 0.05 s."""
    with chat_server(tmp_path, status=429, retry_after="0.7") as url:
        [found] = ask(tmp_path / "warm.sqlite", [request()], endpoint(url, attempts=1))  # imports, connects
        begin = time.monotonic()
        [found] = ask(tmp_path / "a.sqlite", [request()], endpoint(url, attempts=3))
    assert isinstance(found, Unavailable) and found.reason == "HTTP 429 after 3 attempts"
    assert time.monotonic() - begin >= 2 * 0.7


def test_an_outage_pauses_the_endpoint_instead_of_burning_the_queue(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("wethink.clients.circuit_breaker.FIRST_PAUSE", 0.2)
    monkeypatch.setattr(client, "FIRST_BACKOFF", 0.01)
    down, sent = True, 0

    async def send(self: Chat, *_: object) -> Any:
        nonlocal sent, down
        sent += 1
        down = down and sent < IN_A_ROW + 2  # it comes back after a few failed trials
        if down:
            raise Fault("connection lost", retryable=True)
        return Answer("{}", "stop"), 1, 1

    monkeypatch.setattr(Chat, "_send", send)
    found = ask(tmp_path / "a.sqlite", [request(i) for i in range(100)], endpoint("http://127.0.0.1:9", attempts=4))
    assert all(isinstance(answer, Answer) for answer in found), "the queue was burnt"
    assert sent <= 100 + IN_A_ROW + 2


def test_calls_on_their_way_when_it_opens_do_not_lengthen_the_pause() -> None:
    async def burst() -> float:
        breaker = Breaker()
        for _ in range(IN_A_ROW + 50):
            breaker.failed(trial=False)
        begin = time.monotonic()
        assert breaker.is_open
        breaker._open_until = min(breaker._open_until or 0, begin + 2.01)
        async with breaker.passage() as trial:
            assert trial
        return time.monotonic() - begin

    assert asyncio.run(burst()) < 4


def test_an_endpoint_that_stays_down_stops_the_run_with_a_sentence(tmp_path: Path) -> None:
    where = endpoint("http://127.0.0.1:9", attempts=20, give_up_seconds=0.05)
    found = ask(tmp_path / "a.sqlite", [request(number) for number in range(5)], where)
    errors = [error for error in found if isinstance(error, UserError)]
    assert errors and "has not answered" in str(errors[0]) and errors[0].exit_code == TRY_AGAIN_LATER


def test_max_cost_is_never_passed_and_the_run_stops_with_a_sentence(tmp_path: Path) -> None:
    where, path = {"price_prompt": 1000.0, "price_completion": 1000.0}, tmp_path / "a.sqlite"
    with chat_server(tmp_path, latency=0.01) as url:
        found = ask(path, [request(i) for i in range(200)], endpoint(url, **where), max_cost=2.0)
    answered = [answer for answer in found if isinstance(answer, Answer)]
    stopped = [error for error in found if isinstance(error, UserError)]
    assert answered and len(answered) + len(stopped) == 200 and "max_cost is 2" in str(stopped[0])
    with ResponseStore(path) as store:
        assert 0.5 < store.spent() <= 2.0
        assert store.reserve(2.0 - store.spent(), 2.0) is not None, "something is still set aside"


@pytest.mark.parametrize("options", [{"key": "another"}, {"status": 403}, {"status": 500}, {"status": 400}])
def test_a_key_is_in_no_message_no_log_and_no_file(
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The server quotes it in every error, as some do."""
    monkeypatch.setenv("WETHINK_TEST_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    with chat_server(tmp_path, **options) as url:
        [found] = ask(tmp_path / "a.sqlite", [request()], endpoint(url, key_env="WETHINK_TEST_KEY", attempts=2))
    assert isinstance(found, UserError | Unavailable)
    chain, texts = found, list[str]()
    while chain is not None:
        texts += [str(chain), repr(chain), repr(chain.args)]
        chain = chain.__cause__  # type: ignore[assignment]
    written = b"".join(path.read_bytes() for path in tmp_path.glob("a.sqlite*"))
    assert SECRET not in " ".join(texts) + caplog.text + "".join(capfd.readouterr())
    assert SECRET.encode() not in written


def test_a_missing_key_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    [found] = ask(tmp_path / "a.sqlite", [request()], endpoint("http://127.0.0.1:9", key_env="NO_SUCH_KEY"))
    assert isinstance(found, UserError) and "NO_SUCH_KEY" in str(found)


def test_the_first_use_of_another_machine_is_announced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(self: Chat, *_: object) -> Any:
        return Answer("{}", "stop"), 1, 1

    monkeypatch.setattr(Chat, "_send", send)
    said: list[str] = []
    for url, expected in (("http://127.0.0.1:9", 0), ("https://models.example", 1)):
        ask(tmp_path / f"{expected}.sqlite", [request(1), request(2)], endpoint(url), say=said.append)
        assert len(said) == expected
    assert "models.example" in said[0] and "images" in said[0]


def test_a_url_with_a_key_in_it_is_refused() -> None:
    with pytest.raises(ValueError, match="url"):
        Endpoint.model_validate({"url": "https://user:key@models.example/v1"})


def test_the_key_of_a_request_has_all_that_an_answer_depends_on_and_nothing_else() -> None:
    picture = Picture("sha", lambda: (b"", "image/png"), 10)
    same = [request(), request(role="x"), request(endpoint="there")]
    other = [
        *(request(1), request(model="n"), request(revision="r"), request(system="t"), request(picture=picture)),
        *(request(temperature=0.5), request(max_tokens=51), request(sample=1), request(schema_name="Other")),
    ]
    assert len({found.key for found in same}) == 1
    assert len({found.key for found in [*same, *other]}) == 1 + len(other)


def test_results_come_in_order_and_no_more_than_a_window_is_begun() -> None:
    begun = done = most = 0

    async def job(number: int) -> int:
        nonlocal begun
        begun += 1
        await asyncio.sleep(0.02 if number % 7 == 0 else 0)
        return number

    async def run() -> list[int]:
        nonlocal done, most
        found = []
        async for number in ordered_map((lambda n=n: job(n) for n in range(50)), 5):  # type: ignore[misc]
            most = max(most, begun - done)
            done += 1
            found.append(number)
        return found

    assert asyncio.run(run()) == list(range(50))
    assert most <= 5
