r"""Grammars of the response formats: think and answer tags, an opened thought, a LaTeX box, a JSON object, a last line.

Each `parse_*` splits a response into thought and answer, or names the first rule that it breaks. None of them lets a
response give two answers: EasyR1's pattern (paper.md §3.3) allows `<answer>` blocks inside the thinking, and a reader
of the last `\boxed{}` alone would let a policy hedge in the ones before it.
"""

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from wethink.config.response_format import JsonKeys
from wethink.rewards.rules.normalize import shows, unseen

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
BOX = r"\boxed{"

# Also misspelt tags (`< Think >`, `</answer >`), so that they do not pass as plain text.
_TAGLIKE = re.compile(r"<[\s/]*(?:think|answer)[\s/]*>", re.IGNORECASE)
_THINKLIKE = re.compile(r"<[\s/]*think[\s/]*>", re.IGNORECASE)
# The look-behind keeps a long run of backslashes from being tried from each of its places.
_BOXLIKE = re.compile(r"(?<!\\)\\+(?:boxed|fbox|framebox|bbox|f?colorbox)(?![A-Za-z])\s?\{?", re.IGNORECASE)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_CLOSING = re.compile(r"(?:\$\$?|\\\)|\\\]|\*\*)?[.。]?(?:\$\$?|\\\)|\\\]|\*\*)?")
_OPENING = re.compile(r"(?:\$\$?|\\\(|\\\[|\*\*)$")


@dataclass(frozen=True)
class Parsed:
    """A parsed response; `think` and `answer` are empty if there is a fault."""

    think: str
    answer: str
    fault: str | None


def broken(fault: str) -> Parsed:
    return Parsed("", "", fault)


def parse_tags(response: str) -> Parsed:
    """Parse exactly one think block, then exactly one answer block, and nothing else."""
    text = response.strip()
    found = list(_TAGLIKE.finditer(text))
    fault = _tag_fault([tag.group() for tag in found]) or disguised(text, _TAGLIKE)
    if fault is not None:
        return broken(fault)
    if text[: found[0].start()]:
        return broken("text before <think>")
    if text[found[1].end() : found[2].start()].strip():
        return broken("text between </think> and <answer>")
    if text[found[3].end() :]:
        return broken("text after </answer>")
    return Parsed(
        text[found[0].end() : found[1].start()].strip(), text[found[2].end() : found[3].start()].strip(), None
    )


def _tag_fault(tags: list[str]) -> str | None:
    if tags == list(TAGS):
        return None
    if not tags:
        return "no tags"
    for tag in tags:
        if tag not in TAGS:
            return f"misspelt tag {tag[:20]}"
    for tag in TAGS:
        if tag not in tags:
            return f"no {tag}"
    for tag in TAGS:
        if tags.count(tag) > 1:
            return f"{tag} repeated"
    return "tags nested or out of order"


def parse_think(response: str) -> Parsed:
    """Parse a completion that begins inside the thought: text, `</think>`, then the answer."""
    tags = [tag.group() for tag in _THINKLIKE.finditer(response)]
    misspelt = next((tag for tag in tags if tag not in TAGS), None)
    if misspelt:
        return broken(f"misspelt tag {misspelt[:20]}")
    if "<think>" in tags:
        return broken("<think> repeated")  # the chat template has written the first
    if len(tags) != 1:
        return broken("</think> repeated" if tags else "no </think>")
    if fault := disguised(response, _THINKLIKE):
        return broken(fault)
    think, _, answer = response.partition("</think>")
    return Parsed(think.strip(), answer.strip(), None)


def parse_boxed(response: str) -> Parsed:
    r"""Parse free reasoning and an answer in the last `\boxed{}`.

    The same box may come earlier. Only marks that close a formula, a bold text or a sentence may follow the last one.
    """
    text = response.strip()
    contents = list[str]()
    begin = end = 0
    for box in _BOXLIKE.finditer(text):
        if box.group() != BOX:
            return broken(f"misspelt box {' '.join(box.group().split())[:20]}")
        if contents and box.start() < end:
            return broken(r"\boxed{} inside \boxed{}")
        begin, end = box.start(), closing_brace(text, box.end())
        if not end:
            return broken(r"unbalanced braces in \boxed{}")
        contents.append(text[box.end() : end - 1].strip())
    if not contents:
        return broken(r"no \boxed{}")
    if fault := disguised(text, _BOXLIKE):
        return broken(fault)
    if len(set(contents)) > 1:
        return broken(r"several \boxed{} that differ")
    after = "".join(text[end:].split())
    if not _CLOSING.fullmatch(after):
        return broken(r"text after \boxed{}")
    before = text[:begin].rstrip()
    if after.strip(".。"):  # the marks that open what the marks behind the box close
        before = _OPENING.sub("", before)
    return Parsed(before.strip(), contents[-1], None)


def closing_brace(text: str, start: int) -> int:
    r"""Return the place behind the brace that closes the one before `start`; 0 if none does.

    Braces behind a backslash are signs, not groups.

    >>> closing_brace(r"{a\}{b}} c", 1)
    8
    """
    depth = 1
    for mark in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(mark.group(), 0)
        if depth == 0:
            return mark.end()
    return 0


class _Repeated(Exception):
    """A JSON object has one key twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Repeated
    return found


def parse_json_object(response: str, keys: JsonKeys) -> Parsed:
    """Parse one JSON object with exactly the two keys, in order, whose values are texts."""
    text = response.strip()
    if not (text.startswith("{") and text.endswith("}")):
        return broken("text around the JSON object" if "{" in text else "no JSON object")
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except _Repeated:
        return broken("a key of the JSON object repeated")
    except (ValueError, RecursionError):  # also numbers of too many digits
        return broken("not one JSON object")
    wanted = [keys.thought, keys.answer]
    for key in wanted:
        if key not in found:
            return broken(f"no key {key!r}")
    if len(found) > len(wanted):
        return broken("a key that the schema does not have")
    if list(found) != wanted:
        return broken("keys out of order")
    for key in wanted:
        if not isinstance(found[key], str):
            return broken(f"the value of {key!r} is no text")
        if any(unicodedata.category(char) == "Cs" for char in unseen(found[key])):
            return broken("half a character (a lone surrogate)")
    return Parsed(found[keys.thought].strip(), found[keys.answer].strip(), None)


def parse_free(response: str) -> Parsed:
    """Parse reasoning in lines, the last of which is the answer."""
    lines = response.strip().splitlines(keepends=True)
    return Parsed("".join(lines[:-1]).strip(), lines[-1].strip(), None) if lines else broken("no text")


def disguised(text: str, marker: re.Pattern[str]) -> str | None:
    """Return a fault if invisible or full-width characters hide a marker from its pattern."""
    hidden = unseen(text)
    if text.isascii() and not hidden:
        return None
    plain = unicodedata.normalize("NFKC", "".join(char for char in text if char not in hidden))
    if marker.findall(plain) == marker.findall(text):
        return None
    return "a tag or box hidden by invisible or full-width characters"


def visible(parsed: Parsed, allow_empty_thought: bool) -> Parsed:
    """Return a parsed response, or the fault that its thought or its answer shows nothing."""
    if parsed.fault is None and not (allow_empty_thought or shows(parsed.think)):
        return broken("empty thinking")
    if parsed.fault is None and not shows(parsed.answer):
        return broken("empty answer")
    return parsed
