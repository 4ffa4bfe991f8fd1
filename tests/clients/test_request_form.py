"""Servers that do not take a request as it is asked: the form that they take is found once, said once, and kept."""

from pathlib import Path
from typing import Any

import pytest

from tests.clients.asking import ask, endpoint, ledger, request
from tests.support.chat_script import PARAMETERS
from tests.support.chat_server import chat_server, stats
from wethink.clients.request import Picture
from wethink.clients.request_form import AS_ASKED, Form, harmless, is_out_of_range, named, written
from wethink.clients.response_store import Answer, ResponseStore
from wethink.common.errors import UserError

PICTURE = Picture("sha", lambda: (b"bytes", "image/png"), 10)


def asked(count: int) -> list[Any]:
    return [request(number, temperature=0.7, picture=PICTURE) for number in range(count)]


@pytest.mark.parametrize("terse", [0, 1])
@pytest.mark.parametrize("refused", [*PARAMETERS, "max_tokens,temperature", ",".join(PARAMETERS)])
def test_a_server_that_lacks_a_parameter_is_asked_without_it_and_nothing_is_bought_twice(
    tmp_path: Path, refused: str, terse: int
) -> None:
    said: list[str] = []
    with chat_server(tmp_path, refuses=refused, terse=terse) as url:
        found = ask(tmp_path / "a.sqlite", asked(30), endpoint(url), say=said.append)
        assert all(isinstance(answer, Answer) for answer in found), found[0]
        again = ask(tmp_path / "a.sqlite", asked(30), endpoint("http://127.0.0.1:9"))
        seen = stats(url)
    assert again == found, "the key of a stored response depends on the form"
    assert seen["distinct"] == 30 == seen["answered"]
    assert seen["received"] <= 30 + 8 + 16, "each call was refused first"
    assert len(said) == 1 and "'m'" in said[0], "said once"
    forms = {line["form"] for line in ledger(tmp_path / "a.sqlite") if line["outcome"] == "answered"}
    [form] = forms
    assert form and form in said[0]
    with ResponseStore(tmp_path / "a.sqlite") as store:
        assert store.duplicate_charges() == 0


def test_the_reply_format_falls_back_step_by_step() -> None:
    body = request(picture=PICTURE).body()
    objects = written(body, Form(reply="json_object"))
    assert objects["extra_body"] == {"response_format": {"type": "json_object"}}
    text = written(body, Form(reply="text"))
    assert "extra_body" not in text
    for made in (objects, text):
        user = made["messages"][-1]["content"][-1]["text"]
        assert user.startswith("u 0\n\n") and '"questions"' in user, "the schema must stand in the words"


def test_a_system_turn_is_merged_into_the_users() -> None:
    made = written(request(system="be brief", picture=PICTURE).body(), Form(system="merged"))
    [user] = made["messages"]
    assert user["role"] == "user" and [part["type"] for part in user["content"]] == ["image_url", "text"]
    assert user["content"][1]["text"] == "be brief\n\nu 0"
    plain = {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "hi"}]}
    assert written(plain, Form(system="merged"))["messages"] == [{"role": "user", "content": "hi"}]


def test_a_form_as_asked_changes_nothing() -> None:
    body = request(temperature=0.3, picture=PICTURE).body()
    assert written(body, AS_ASKED) == body
    least = written(body, Form("text", "max_completion_tokens", "merged", "left out", "left out"))
    assert set(least) == {"model", "messages", "max_completion_tokens"}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", ["limit"]),
        ("Unrecognized request argument supplied: response_format", ["reply"]),
        ("This model does not support temperature other than 1", ["temperature"]),
        ("Conversation roles must alternate user/assistant/user/assistant/...", ["system"]),
        ("System role not supported", ["system"]),
        ("body.seed: Extra inputs are not permitted", ["seed"]),
        ("Structured output (json_schema) is not implemented by this backend", ["reply"]),
        ("Developer instruction is not enabled for models/gemma", ["system"]),
        ("the ecosystem of birds", []),
    ],
)
def test_the_parameter_that_a_server_names_is_found(words: str, parts: list[str]) -> None:
    assert named(words, request(temperature=0.7).body()) == parts


@pytest.mark.parametrize(
    "words",
    [
        "max_tokens is too large: 32768. This model supports at most 8192 completion tokens",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 (max_tokens 1000)",
        "temperature: Input should be less than or equal to 2",
    ],
)
def test_a_value_out_of_range_is_no_reason_for_another_form(words: str, tmp_path: Path) -> None:
    assert is_out_of_range(words)
    said: list[str] = []
    with chat_server(tmp_path, status=400, words=words) as url:
        [found] = ask(tmp_path / "a.sqlite", [request()], endpoint(url), say=said.append)
        assert stats(url)["received"] == 2, "the call and the probe"
    assert isinstance(found, UserError) and words[:30] in str(found) and not said


def test_a_probe_has_the_make_of_a_request_and_none_of_its_contents() -> None:
    body = request(user="a secret", system="another", picture=PICTURE, temperature=0.7).body()
    probe = harmless(body)
    assert "secret" not in str(probe) and "another" not in str(probe)
    assert {key: value for key, value in probe.items() if key != "messages"} == {
        key: value for key, value in body.items() if key != "messages"
    }
    kinds = [[part["type"] for part in turn["content"]] for turn in probe["messages"][1:]]
    assert kinds == [["image_url", "text"]]


def test_an_answered_call_of_a_model_that_later_meets_an_unknown_parameter_goes_on(tmp_path: Path) -> None:
    """A greedy call is answered; the first sampled one is refused for its seed."""
    with chat_server(tmp_path, refuses="seed") as url:
        found = ask(tmp_path / "a.sqlite", [request(1), request(2, temperature=0.7)], endpoint(url, concurrency=1))
    assert all(isinstance(answer, Answer) for answer in found)
    forms = [line["form"] for line in ledger(tmp_path / "a.sqlite") if line["outcome"] == "answered"]
    assert sorted(forms) == ["", "seed: left out"]
