"""Replies of chat completions: answer, thoughts and finish, wherever a server or a model puts them.

Models that think put their thoughts into `reasoning_content` or `reasoning`, into parts of the content, or into the
text itself (thoughts.py). They are kept and never taken for the answer.
"""

from collections.abc import Mapping
from typing import Any

from wethink.clients.refusals import Fault
from wethink.clients.request import Request, text_tokens
from wethink.clients.response_store import Answer
from wethink.clients.thoughts import MARKS, split
from wethink.common.jsonl import encodable

MAX_REPLY_CHARS = 65_536  # a longer answer is cut and stored as 'overlong'

_THOUGHT_PARTS = ("thinking", "reasoning", "thought", "reasoning.text", "reasoning.summary", "reasoning_text")


def read(reply: Any, request: Request) -> tuple[Answer, int, int]:
    """Return a completion's answer, prompt tokens and completion tokens.

    Servers may leave any field out; missing token counts are estimated.

    Raises:
        Fault: there are no choices.
    """
    choice = next(iter(getattr(reply, "choices", None) or ()), None)
    message = getattr(choice, "message", None)
    if choice is None or message is None:
        raise Fault("no chat completion", retryable=True)
    text, thoughts, refusal = content_of(message)
    text, reason = MARKS.sub("", text), getattr(choice, "finish_reason", None)
    if reason == "error" and not text:  # of a gateway whose provider failed half-way
        raise Fault("the server broke off", retryable=True)
    usage = getattr(reply, "usage", None)  # without it the cost is an estimate
    prompt = getattr(usage, "prompt_tokens", None) or request.prompt_tokens()
    completion = getattr(usage, "completion_tokens", None) or text_tokens(len(text) + len(thoughts))
    finish = "length" if reason == "length" else "stop"
    if len(text) > MAX_REPLY_CHARS and (apart := split(text))[0]:  # long for its thoughts only
        text, thoughts = apart[1], "\n".join(filter(None, (thoughts, apart[0])))
    if refusal or reason == "content_filter":
        text, finish = str(refusal or text), "refusal"
    elif len(text) > MAX_REPLY_CHARS:
        text, finish = text[:MAX_REPLY_CHARS], "overlong"
    elif finish == "stop" and not split(text)[1]:
        finish = "empty"
    return Answer(encodable(text), finish, encodable(thoughts[:MAX_REPLY_CHARS])), int(prompt), int(completion)


def content_of(message: Any) -> tuple[str, str, str | None]:
    """Return a message's text, thoughts and refusal; content may be text, parts, or missing."""
    text, thoughts, refusal = _parts(getattr(message, "content", None))
    for name in ("reasoning_content", "reasoning", "thinking", "reasoning_details"):
        said = getattr(message, name, None)
        if said and not thoughts:  # some servers send the same thoughts under two names
            thoughts = _plain(said)
    return text, thoughts, getattr(message, "refusal", None) or refusal


def _parts(content: Any) -> tuple[str, str, str | None]:
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        return str(content) if content is not None else "", "", None
    texts, thoughts, refusal = [], [], None
    for part in content:
        kind = str(_field(part, "type") or "text")
        if kind in _THOUGHT_PARTS or _field(part, "thought") is True:
            thoughts.append(_plain(part))
        elif kind == "refusal":
            refusal = _plain(_field(part, "refusal"))
        elif kind in ("text", "output_text"):
            texts.append(_plain(part))
    return "".join(texts), "\n".join(filter(None, thoughts)), refusal


def _plain(said: Any) -> str:
    """Return the text of a part, of a list of parts, or of a text."""
    if isinstance(said, str):
        return said
    if isinstance(said, list):
        return "".join(map(_plain, said))
    names = ("text", "thinking", "reasoning", "content", "summary")
    return next((_plain(found) for name in names if (found := _field(said, name))), "")


def _field(part: Any, name: str) -> Any:
    return part.get(name) if isinstance(part, Mapping) else getattr(part, name, None)
