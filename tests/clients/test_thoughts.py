"""Thoughts of a model, wherever they stand, are kept and never taken for its answer."""

import json
from pathlib import Path
from types import SimpleNamespace as Object
from typing import Any

import pytest

from tests.clients.asking import ask, endpoint, request
from tests.support.chat_script import THOUGHT
from tests.support.chat_server import chat_server
from wethink.clients.refusals import Fault
from wethink.clients.replies import read
from wethink.clients.response_store import Answer, Call, ResponseStore
from wethink.clients.thoughts import split, unwrapped


def reply(content: Any, finish: str = "stop", **more: Any) -> Any:
    return Object(choices=[Object(message=Object(content=content, **more), finish_reason=finish)])


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ('weighing it\n</think>\n{"answer": "3"}', "weighing it", '{"answer": "3"}'),
        ('<think>a {"answer": "2"} b</think>{"answer": "3"}', 'a {"answer": "2"} b', '{"answer": "3"}'),
        ("<thinking>\nhm\n</thinking>\n\nB", "hm", "B"),
        ("<think></think>\nB", "", "B"),
        ("[THINK]hm[/THINK]B", "hm", "B"),
        ("◁think▷hm◁/think▷B", "hm", "B"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>B", None, "B"),
        ('```thinking\nhm\n```\n{"answer": "3"}', "hm", '{"answer": "3"}'),
        ('```\nlet me see\n```\n```json\n{"answer": "3"}\n```', "let me see", '```json\n{"answer": "3"}\n```'),
        ('```json\n<think>hm</think>\n{"answer": "3"}\n```', "json\nhm", '{"answer": "3"}'),
        ("<think>\n\nit goes on and on", "it goes on and on", ""),
        # no thoughts at all
        (
            '{"description": "a sign that says </think> in red"}',
            "",
            '{"description": "a sign that says </think> in red"}',
        ),
        ('{"answer": "3"}', "", '{"answer": "3"}'),
        ("B", "", "B"),
        ("a < b", "", "a < b"),
        ("", "", ""),
        # quoted tags
        ('a "</think>" is a tag\n</think>{"answer": "3"}', 'a "</think>" is a tag', '{"answer": "3"}'),
        ('<think>x</think>{"answer": "says </think>"}', "x", '{"answer": "says </think>"}'),
        ('x</think>{"tier": "correct"} no</think>{"tier": "incorrect"}', None, '{"tier": "incorrect"}'),
    ],
)
def test_thoughts_and_answer_are_told_apart(text: str, thoughts: str | None, answer: str) -> None:
    found = split(text)
    assert found[1] == answer and (thoughts is None or found[0] == thoughts)


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": "3"}', ' \n{"answer": "3"}\n', '```json\n{"answer": "3"}\n```', '```\n{"answer": "3"}```',
        '~~~JSON\n{"answer": "3"}\n~~~', '<answer>{"answer": "3"}</answer>', '\\boxed{{"answer": "3"}}',
        '<answer>\n```json\n{"answer": "3"}\n```\n</answer>',
    ],
)  # fmt: skip
def test_json_is_found_inside_what_wraps_all_of_a_reply(text: str) -> None:
    assert json.loads(unwrapped(text)) == {"answer": "3"}


@pytest.mark.parametrize("text", ['Here: {"answer": "3"}', '```json\n{"answer": "3"}\n```\nand more', "3", ""])
def test_what_stands_beside_the_json_stays(text: str) -> None:
    assert unwrapped(text) == text.strip()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "B"}, Answer("B", "stop")),
        ({"content": [{"type": "text", "text": "B"}]}, Answer("B", "stop")),
        ({"content": ["B"]}, Answer("B", "stop")),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "A?"}]},
                    {"type": "text", "text": "B"},
                ]
            },
            Answer("B", "stop", "A?"),
        ),
        (
            {"content": [{"type": "thinking", "thinking": "A?"}, {"type": "text", "text": "B"}]},
            Answer("B", "stop", "A?"),
        ),
        ({"content": [{"type": "reasoning", "summary": [{"text": "A?"}]}, {"text": "B"}]}, Answer("B", "stop", "A?")),
        ({"content": [{"type": "output_text", "text": "B"}, {"type": "image"}]}, Answer("B", "stop")),
        ({"content": {"type": "text", "text": "B"}}, Answer("B", "stop")),
        ({"content": [{"type": "refusal", "refusal": "no"}]}, Answer("no", "refusal")),
        ({"content": "B", "reasoning_content": "A?"}, Answer("B", "stop", "A?")),
        ({"content": "B", "reasoning": "A?", "reasoning_content": "A?"}, Answer("B", "stop", "A?")),
        ({"content": "B", "reasoning_details": [{"type": "reasoning.text", "text": "A?"}]}, Answer("B", "stop", "A?")),
        ({"content": None, "reasoning_content": "B"}, Answer("", "empty", "B")),
        ({"content": "<think>B</think>"}, Answer("<think>B</think>", "empty")),
        ({"content": ""}, Answer("", "empty")),
        ({"content": None}, Answer("", "empty")),
        ({"content": "<|begin_of_box|>B<|end_of_box|>"}, Answer("B", "stop")),
    ],
)
def test_a_reply_is_read_wherever_its_server_puts_the_parts(message: dict[str, Any], expected: Answer) -> None:
    assert read(reply(**message), request())[0] == expected


def test_a_reply_that_is_cut_off_while_thinking_is_cut_off_and_no_outage() -> None:
    found, _, tokens = read(reply(None, "length", reasoning="x" * 300), request())
    assert (found.text, found.finish, found.thinking) == ("", "length", "x" * 300) and tokens == 86
    found, *_ = read(reply("<think>so long", "length"), request())
    assert (found.said, found.finish) == ("", "length")


def test_a_reply_is_overlong_by_its_answer_and_not_by_its_thoughts() -> None:
    found, *_ = read(reply("<think>" + "x" * 70_000 + "</think>B"), request())
    assert (found.text, found.finish) == ("B", "stop") and len(found.thoughts) == 65_536
    found, *_ = read(reply("x" * 70_000), request())
    assert found.finish == "overlong" and len(found.text) == 65_536


@pytest.mark.parametrize("body", [Object(), Object(choices=None), Object(choices=[]), Object(choices=[Object()])])
def test_a_body_without_a_message_is_the_moments_fault(body: Any) -> None:
    with pytest.raises(Fault) as fault:
        read(body, request())
    assert fault.value.retryable


@pytest.mark.parametrize("shape", ["parts", "apart", "noopen", "think", "fence"])
def test_thoughts_arrive_over_http_and_are_stored_beside_the_answer(tmp_path: Path, shape: str) -> None:
    with chat_server(tmp_path) as url:
        [plain] = ask(tmp_path / "plain.sqlite", [request()], endpoint(url))
    with chat_server(tmp_path, shape=shape) as url:
        [found] = ask(tmp_path / "a.sqlite", [request()], endpoint(url))
    [stored] = ask(tmp_path / "a.sqlite", [request()], endpoint("http://127.0.0.1:9"))
    assert found == stored and unwrapped(found.said) == plain.text and found.thinking == THOUGHT


def test_a_store_of_an_earlier_version_keeps_its_answers(tmp_path: Path) -> None:
    with ResponseStore(tmp_path / "a.sqlite") as store:
        store.put(Answer("hm</think>B", "stop"), Call("k", "r", "e", "m", "answered", 1.0, 1, 1, 1.0))
        for table, column in (("answers", "thoughts"), ("calls", "form"), ("calls", "words")):
            store._base.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
    with ResponseStore(tmp_path / "a.sqlite") as store:
        found = store.get("k")
        assert found is not None and (found.said, found.thinking) == ("B", "hm") and store.spent() == 1.0
        store.put(Answer("C", "stop", "t"), Call("l", "r", "e", "m", "answered", 1.0, form="f"))
        assert store.get("l") == Answer("C", "stop", "t")
