"""Forms of a chat-completion request that servers take: reply format, limit's name, system turn, temperature, seed.

A server that does not know one of them refuses every call with a 4xx. The form in which an endpoint's model answers is
found once and then used for all calls (`chat.py`). The key of a stored response is that of the request as asked,
whatever the form.
"""

import base64
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from wethink.common.jsonl import dumps

PROBE = "Reply with the word OK."


@dataclass(frozen=True)
class Form:
    """How requests are written; the default is as asked."""

    reply: Literal["json_schema", "json_object", "text"] = "json_schema"
    limit: Literal["max_tokens", "max_completion_tokens", "none"] = "max_tokens"
    system: Literal["turn", "merged"] = "turn"  # merged: the system text leads the user's turn
    temperature: Literal["sent", "left out"] = "sent"
    seed: Literal["sent", "left out"] = "sent"

    def __str__(self) -> str:
        """Name the differences from the request as asked, for the ledger and for people; '' if there are none."""
        changed = [f.name for f in fields(self) if getattr(self, f.name) != f.default]
        return ", ".join(f"{_TITLES.get(name, name)}: {getattr(self, name)}" for name in changed)


AS_ASKED = Form()
LEAST = Form("text", "none", "merged", "left out", "left out")  # only for a probe: a call needs its limit
_TITLES = {"reply": "response_format", "limit": "limit", "system": "system turn"}
_OTHERS: dict[str, tuple[str, ...]] = {  # in the order in which they are tried
    "reply": ("json_object", "text"),
    "limit": ("max_completion_tokens",),
    "system": ("merged",),
    "temperature": ("left out",),
    "seed": ("left out",),
}
_NAMES = {
    "reply": r"response[ _]?format|json[ _]?schema|json[ _]?object|json[ _]mode|structured[ _-]?output|guided|grammar",
    "limit": r"max[ _](?:completion[ _])?tokens|max_(?:output|new)_tokens",
    "system": r"\bsystem\b|\bdeveloper (?:role|message|instruction)|roles? must alternate",
    "temperature": r"\btemperature\b",
    "seed": r"\bseed\b",
}
# The parameter is known, its value is out of range: another form would hide that.
_RANGE = re.compile(
    r"too (?:large|high|long|big)|exceed|context length|context window|at most"
    r"|(?:less|greater|lower|smaller|larger) than|between|maximum|minimum|out of range",
    re.IGNORECASE,
)
_UNKNOWN = re.compile(
    r"unsupported|not (?:be )?(?:supported|permitted|allowed|available|recogni[sz]ed|implemented|accepted)"
    r"|unrecogni[sz]ed|unknown|unexpected|extra|unavailable|invalid param|deprecated|instead"
    r"|does(?: not|n't) (?:support|accept|take)|only (?:the default|user)|must alternate",
    re.IGNORECASE,
)


def names_unknown_parameter(marks: str) -> bool:
    """Return whether an error's text speaks of a parameter that the server does not take."""
    return _UNKNOWN.search(marks) is not None and any(re.search(name, marks, re.IGNORECASE) for name in _NAMES.values())


def named(marks: str, body: Mapping[str, Any]) -> list[str]:
    """Return the parts of the form that an error's text names and that `body` uses.

    >>> named("Unsupported parameter: 'max_tokens'", {"max_tokens": 9, "messages": []})
    ['limit']
    """
    return [part for part, name in _NAMES.items() if _used(part, body) and re.search(name, marks, re.IGNORECASE)]


def is_out_of_range(marks: str) -> bool:
    """Return whether an error's text objects to a value instead of the parameter itself."""
    return _RANGE.search(marks) is not None and _UNKNOWN.search(marks) is None


def alternatives(form: Form, parts: list[str]) -> Iterator[Form]:
    """Yield the forms that differ from `form` in one of these parts, not going back."""
    for part in parts:
        choices = _OTHERS[part]
        present = getattr(form, part)
        for choice in choices[choices.index(present) + 1 if present in choices else 0 :]:
            yield replace(form, **{part: choice})  # type: ignore[arg-type]


def restored(form: Form, body: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield each part that `body` uses and `form` leaves out, with its values to try: as asked first."""
    for part in _NAMES:
        if _used(part, body):
            choices = [getattr(AS_ASKED, part), *_OTHERS[part]]
            yield part, [choice for choice in choices if choice != getattr(form, part)]


def without_unused(form: Form, body: Mapping[str, Any]) -> Form:
    """Return the form with the parts that `body` does not use as asked."""
    return replace(form, **{part: getattr(AS_ASKED, part) for part in _NAMES if not _used(part, body)})


def _used(part: str, body: Mapping[str, Any]) -> bool:
    match part:
        case "reply":
            return "response_format" in body.get("extra_body", {})
        case "limit":
            return "max_tokens" in body
        case "system":
            return any(message["role"] == "system" for message in body["messages"])
        case _:
            return part in body


def written(body: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """Write a request's body in a form.

    Where the server gets no schema, the user's turn ends with it.
    """
    if form == AS_ASKED:
        return dict(body)
    made, messages = dict(body), list(body["messages"])
    if form.system == "merged" and messages[0]["role"] == "system":
        text, messages = messages[0]["content"], messages[1:]
        if text:
            messages[0] = messages[0] | {"content": _joined(messages[0]["content"], text, first=True)}
    extra = dict(made.pop("extra_body", {}))
    asked = extra.pop("response_format", None)
    if asked is not None and form.reply == "json_schema":
        extra["response_format"] = asked
    elif asked is not None:
        schema = dumps(asked["json_schema"]["schema"])
        text = f"Reply with one JSON object and nothing else. It meets this JSON schema: {schema}"
        messages[-1] = messages[-1] | {"content": _joined(messages[-1]["content"], text, first=False)}
        if form.reply == "json_object":
            extra["response_format"] = {"type": "json_object"}
    limit = made.pop("max_tokens", None)
    if limit is not None and form.limit != "none":
        made[form.limit] = limit
    for name in ("temperature", "seed"):
        if getattr(form, name) == "left out":
            made.pop(name, None)
    return made | {"messages": messages} | ({"extra_body": extra} if extra else {})


def _joined(content: Any, text: str, first: bool) -> Any:
    """Join a text to a turn's first or last text part."""
    if isinstance(content, str):
        return f"{text}\n\n{content}" if first else f"{content}\n\n{text}"
    parts = list(content)
    places = [place for place, part in enumerate(parts) if part["type"] == "text"]
    if not places:
        return [{"type": "text", "text": text}, *parts] if first else [*parts, {"type": "text", "text": text}]
    place = places[0] if first else places[-1]
    said = parts[place]["text"]
    parts[place] = {"type": "text", "text": f"{text}\n\n{said}" if first else f"{said}\n\n{text}"}
    return parts


def harmless(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a body of the same make with nothing in it that a server could object to.

    Every text is `PROBE`, every image a small grey one; model, reply format and sampling stay.
    """
    messages = []
    for message in body["messages"]:
        content = message["content"]
        if message["role"] == "system":
            content = "You are a helpful assistant."
        elif isinstance(content, str):
            content = PROBE
        else:
            content = [_harmless_image() if part["type"] == "image_url" else {"type": "text", "text": PROBE}
                       for part in content[:8]]  # fmt: skip
        messages.append(message | {"content": content})
    return dict(body) | {"messages": messages}


def _harmless_image() -> dict[str, Any]:
    side = 56  # two merged patches of Qwen2.5-VL, which refuses smaller images
    rows = zlib.compress((b"\0" + b"\x80" * side) * side)
    chunks = ((b"IHDR", side.to_bytes(4) * 2 + b"\x08\0\0\0\0"), (b"IDAT", rows), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4) for kind, data in chunks
    )
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(png).decode()}"}}
