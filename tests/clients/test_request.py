"""Estimates of a request's and a response's tokens use one rate of characters."""

from types import SimpleNamespace

from wethink.clients import replies
from wethink.clients.request import OVERHEAD_TOKENS, Request, text_tokens


def test_a_response_without_usage_is_estimated_as_a_prompt_of_its_length_is() -> None:
    text = "a red circle stands left of a green square"
    request = Request("look", "here", "m", None, text, "", None, "Answered", {}, 0.0, 50)
    message = SimpleNamespace(content=text, refusal=None)
    reply = SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason="stop")], usage=None)
    _, prompt, completion = replies.read(reply, request)
    assert completion == text_tokens(len(text)) == prompt - OVERHEAD_TOKENS == 12


def test_a_lone_surrogate_of_a_response_can_be_stored() -> None:
    message = SimpleNamespace(content="half \ud83d", refusal=None)
    reply = SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason="stop")])
    request = Request("look", "here", "m", None, "", "", None, "Answered", {}, 0.0, 50)
    assert replies.read(reply, request)[0].text.encode() == b"half ?"
