"""Thoughts in the text of a reply, told from the answer, and the JSON inside a reply's wrappings.

Models that think write their thoughts before `</think>` (the opening tag is often in the chat template), between other
marks, or into a code fence. Every role reads replies through this module, so that no thought is taken for the answer.
"""

import json
import re

_TAGS = "think|thinking|thought|thoughts|reasoning|seed:think"
_OPEN = re.compile(rf"<(?:{_TAGS})>|\[THINK\]|◁think▷|<\|begin_of_thought\|>", re.IGNORECASE)
_CLOSE = re.compile(
    rf"</(?:{_TAGS})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|channel\|>final<\|message\|>", re.IGNORECASE
)
MARKS = re.compile(r"<\|(?:begin|end)_of_(?:box|solution)\|>|<\|(?:return|end|im_end)\|>\s*$")
_FENCE = re.compile(r"(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*\n(.*?)\n?[ \t]*\1[ \t]*(?:\n|$)", re.DOTALL)


def split(text: str) -> tuple[str, str]:
    r"""Split a text into the thoughts that stand before the answer, and the answer.

    >>> split("it is three\n</think>\n3")
    ('it is three', '3')
    """
    whole, text = text, MARKS.sub("", text).strip()
    if _is_json(text):
        return "", whole
    closes = list(_CLOSE.finditer(text))
    if closes:
        # The first that leaves a whole JSON object, else the last: thoughts may quote a closing tag, an answer too.
        end = next((tag for tag in closes if _is_json(unwrapped(_unfenced(text[tag.end() :])))), closes[-1])
        thoughts, answer = text[: end.start()], _unfenced(text[end.end() :])
        return _OPEN.sub("", thoughts, count=1).strip("` \n"), answer.strip()
    if opening := _OPEN.match(text):  # cut off while thinking
        return text[opening.end() :].strip(), ""
    if fence := _FENCE.match(text):
        rest = text[fence.end() :].strip()
        is_thought = bool(re.fullmatch(_TAGS, fence.group(2), re.IGNORECASE))
        if is_thought or (not _is_json(fence.group(3)) and _is_json(unwrapped(rest))):
            return fence.group(3).strip(), rest
    return "", whole


def _unfenced(text: str) -> str:
    """Drop the half of a code fence whose other half stands in the thoughts."""
    text = text.strip()
    if text.count("```") != 1:
        return text
    return re.sub(r"^```\w*\s*|\s*```$", "", text)


def unwrapped(text: str) -> str:
    """Return the JSON of a reply without a code fence, an answer tag or a box around all of it."""
    text = text.strip()
    for _ in range(3):
        fence = _FENCE.fullmatch(text)
        tag = re.fullmatch(r"<answer>(.*)</answer>", text, re.DOTALL)
        box = re.fullmatch(r"\\boxed\{(.*)\}", text, re.DOTALL)
        inside = fence.group(3) if fence else tag.group(1) if tag else box.group(1) if box else None
        if inside is None:
            break
        text = inside.strip()
    return text


def _is_json(text: str) -> bool:
    text = text.strip()
    if not (text.startswith(("{", "[")) and text.endswith(("}", "]"))):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
