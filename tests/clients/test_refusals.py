"""Refusals of endpoints: an account's stops the run, a request's concerns that request, a moment's is retried."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.asking import ask, endpoint, ledger, request
from tests.support.chat_server import chat_server, stats
from wethink.clients import chat as client
from wethink.clients.chat import Unavailable
from wethink.clients.refusals import Fault, Place, clean, refusal
from wethink.clients.request import Picture
from wethink.clients.response_store import Answer, ResponseStore
from wethink.common.errors import UserError
from wethink.config.launch import Endpoint

KEY = "sk-abcdefgh12345678"
PLACE = Place("far", Endpoint(url="https://models.example/v1", key_env="FAR_KEY"), "big")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_BACKOFF", 0.01)


@pytest.mark.parametrize(
    ("status", "body", "sentence"),
    [
        (401, {"message": "Incorrect API key provided"}, "refuses the key in FAR_KEY (HTTP 401: “Incorrect API key"),
        (
            402,
            {"error": {"message": "Insufficient Balance", "code": "x"}},
            "has no credit (HTTP 402: “Insufficient Bal",
        ),
        (403, "<html><h1>Forbidden</h1></html>", "refuses the key in FAR_KEY (HTTP 403: “Forbidden”)"),
        (429, {"message": "You exceeded your quota", "code": "insufficient_quota"}, "has no credit (HTTP 429: “You ex"),
        (400, {"message": "Your credit balance is too low to access the API"}, "has no credit (HTTP 400"),
        (400, {"message": "API key not valid. Please pass a valid API key."}, "refuses the key in FAR_KEY (HTTP 400"),
        (404, {"detail": "Not Found"}, "knows no model 'big', or its url lacks the /v1 (HTTP 404: “Not Found”)"),
        (407, "", "the proxy on the way to endpoint 'far'"),
        (307, "", "redirects (HTTP 307)"),
    ],
)
def test_what_is_refused_to_the_account_is_a_sentence_with_the_servers_words(
    status: int, body: object, sentence: str
) -> None:
    found = refusal(status, body, {}, PLACE, KEY)
    assert isinstance(found, UserError) and sentence in str(found) and "endpoint 'far'" in str(found)


@pytest.mark.parametrize(
    ("status", "body", "retryable"),
    [
        (413, "Request Entity Too Large", False),
        (400, {"message": "Invalid image: cannot decode"}, False),
        (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, False),
        (403, {"message": "Your chosen model requires moderation and your input was flagged"}, False),
        (429, {"message": "Rate limit reached for requests per minute"}, True),
        (503, {"message": "overloaded"}, True),
        (408, {}, True),
    ],
)
def test_what_is_refused_to_one_request_or_for_a_moment_is_no_error_of_the_account(
    status: int, body: object, retryable: bool
) -> None:
    found = refusal(status, body, {}, PLACE, KEY)
    assert isinstance(found, Fault) and found.retryable is retryable and found.name == f"HTTP {status}"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (f"bad key {KEY}", "bad key [key]"),
        (f"bad key Bearer {KEY}, sorry", "bad key [key] sorry"),
        (f"key {KEY[:9]}… is unknown", "key [key]… is unknown"),
        (f"key {KEY.upper()} is unknown", "key [key] is unknown"),
        ("other hf_ZYXWVUTSRQPONMLKJIHG of somebody", "other [key] of somebody"),
        ("<p>No\x1b[31m way\n</p>", "No [31m way"),
        ("data:image/png;base64," + "A" * 5000, "…"),
        ("x" * 90 + " " + "y " * 400, "x" * 90 + " " + "y " * 74 + "y…"),
        ("ok.", "ok"),
    ],
)
def test_a_servers_words_are_one_short_line_without_keys(said: str, left: str) -> None:
    assert clean(said, KEY) == left
    assert "abcdefgh" not in clean(said, KEY).lower()


def test_no_credit_in_the_middle_stops_the_run_and_another_start_buys_only_the_rest(tmp_path: Path) -> None:
    requests, topped_up = [request(number) for number in range(40)], tmp_path / "topped_up"
    with chat_server(tmp_path, status=402, words="Insufficient credits", after=12, until=topped_up) as url:
        first = ask(tmp_path / "a.sqlite", requests, endpoint(url, concurrency=3))
        kept = [answer for answer in first if isinstance(answer, Answer)]
        stopped = [error for error in first if isinstance(error, UserError)]
        assert len(kept) == 12 and len(stopped) == 28
        assert all("no credit (HTTP 402: “Insufficient credits”); what is paid for is kept" in str(e) for e in stopped)
        assert stats(url)["received"] < 12 + 4, "calls went on after the refusal"
        topped_up.touch()
        second = ask(tmp_path / "a.sqlite", requests, endpoint(url, concurrency=3))
        seen = stats(url)
    assert all(isinstance(answer, Answer) for answer in second)
    assert seen["answered"] == seen["distinct"] == 40 and seen["probes"] == 0
    with ResponseStore(tmp_path / "a.sqlite") as store:
        assert store.duplicate_charges() == 0


@pytest.mark.parametrize("status", [400, 422, 418, 501])
def test_an_endpoint_that_refuses_everything_stops_the_run_after_few_calls(tmp_path: Path, status: int) -> None:
    picture = Picture("sha", lambda: (b"x", "image/png"), 10)
    requests = [request(number, picture=picture) for number in range(50)]
    with chat_server(tmp_path, status=status, words="this server is for birds") as url:
        found = ask(tmp_path / "a.sqlite", requests, endpoint(url))
        assert stats(url)["received"] <= 8 + 2, "a call per slot and the probes"
    assert {str(error) for error in found} == {str(found[0])} and isinstance(found[0], UserError)
    assert f"refuses every call to model 'm' (HTTP {status}: “this server is for birds”)" in str(found[0])
    assert {line["outcome"] for line in ledger(tmp_path / "a.sqlite")} == {f"HTTP {status}"}


@pytest.mark.parametrize("poison", [400, 413, 422])
def test_a_request_that_is_refused_among_answers_fails_alone(tmp_path: Path, poison: int) -> None:
    requests = [request(number) for number in range(60)]
    with chat_server(tmp_path, poisoned=0.3, poison=poison) as url:
        found = ask(tmp_path / "a.sqlite", requests, endpoint(url))
        assert stats(url)["probes"] <= 1
    refused = [one for one in found if isinstance(one, Unavailable)]
    assert 5 < len(refused) < 40 and len(refused) + sum(isinstance(one, Answer) for one in found) == 60
    assert {(one.reason, one.retryable, one.words) for one in refused} == {
        (f"HTTP {poison}", False, "the image cannot be read")
    }


def test_a_single_request_that_is_refused_is_told_from_an_endpoint_that_refuses_all(tmp_path: Path) -> None:
    """The last item of a resumed run: nothing else is asked that could be answered."""
    with chat_server(tmp_path, poisoned=0.3) as url:
        every = ask(tmp_path / "a.sqlite", [request(number) for number in range(20)], endpoint(url))
        refused = next(number for number, one in enumerate(every) if isinstance(one, Unavailable))
        [found] = ask(tmp_path / "b.sqlite", [request(refused)], endpoint(url, price_prompt=1.0))
        assert stats(url)["probes"] <= 2
    assert isinstance(found, Unavailable) and not found.retryable
    lines = {line["role"]: line for line in ledger(tmp_path / "b.sqlite")}
    assert lines["probe"]["outcome"] == "probe answered" and lines["probe"]["cost"] > 0, "it is billed"


def test_an_endpoint_that_refuses_each_of_its_first_calls_stops_though_it_answers_a_harmless_one(
    tmp_path: Path,
) -> None:
    with chat_server(tmp_path, poisoned=1.0) as url:
        found = ask(tmp_path / "a.sqlite", [request(number) for number in range(100)], endpoint(url))
        seen = stats(url)
    assert any("refuses each of its first 20 calls" in str(one) for one in found if isinstance(one, UserError))
    assert seen["received"] <= 20 + 8 + 1


def test_a_gateway_that_answers_200_with_its_providers_error_is_read_by_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openai.resources.chat.completions import AsyncCompletions
    from openai.types.chat import ChatCompletion

    codes = iter([503, 402])

    async def create(self: AsyncCompletions, **_: Any) -> Any:
        return ChatCompletion.construct(error={"code": next(codes), "message": "the provider"})

    monkeypatch.setattr(AsyncCompletions, "create", create)
    [found] = ask(tmp_path / "a.sqlite", [request()], endpoint("http://127.0.0.1:9"))
    assert isinstance(found, UserError) and "no credit (HTTP 402: “the provider”)" in str(found)
    assert [line["outcome"] for line in ledger(tmp_path / "a.sqlite")] == ["HTTP 503"]


def test_the_ledger_keeps_a_servers_words_and_the_outcome_none(tmp_path: Path) -> None:
    with chat_server(tmp_path, poisoned=1.0, poison=413) as url:
        [found] = ask(tmp_path / "a.sqlite", [request()], endpoint(url))
    assert isinstance(found, Unavailable) and found.reason == "HTTP 413"
    with ResponseStore(tmp_path / "a.sqlite") as store:
        assert store._base.execute("SELECT words FROM calls") == [("the image cannot be read",)]


def test_words_nest_as_servers_nest_them() -> None:
    for body in (
        {"error": {"message": "no"}}, {"error": "no"}, {"detail": "no"}, {"message": "no"}, "no", {"errors": ["no"]},
        json.dumps({"error": {"message": "no"}}), {"error": {"error": {"message": "no"}}}, [{"msg": "no"}],
    ):  # fmt: skip
        assert "“no”" in str(refusal(402, body, {}, PLACE, KEY)), body
    for body in (None, "", {}, [], 3):
        assert "(HTTP 402)" in str(refusal(402, body, {}, PLACE, KEY)), body
