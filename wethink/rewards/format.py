"""Format reward: strict grammar of `<think>…</think><answer>…</answer>` responses.

A response is exactly one think block, then exactly one answer block, and nothing else; any other has a named fault.
EasyR1's pattern (paper.md §3.3) allows `<answer>` blocks inside the thinking, which lets a policy give two answers.
"""

import re
from dataclasses import dataclass

from wethink.rewards.rules.normalize import shows

TAGS = ("<think>", "</think>", "<answer>", "</answer>")

# Also misspelt tags (`< Think >`, `</answer >`), so that they do not pass as plain text.
_TAGLIKE = re.compile(r"<[\s/]*(?:think|answer)[\s/]*>", re.IGNORECASE)


@dataclass(frozen=True)
class Parsed:
    """A parsed response; `think` and `answer` are empty if there is a fault."""

    think: str
    answer: str
    fault: str | None


def parse(response: str) -> Parsed:
    """Parse a response, or name the first grammar rule that it breaks.

    >>> parse("<think>two dots</think> <answer>2</answer>")
    Parsed(think='two dots', answer='2', fault=None)
    >>> parse("2").fault
    'no tags'
    """
    text = response.strip()
    found = list(_TAGLIKE.finditer(text))
    fault = _tag_fault([tag.group() for tag in found])
    if fault is not None:
        return Parsed("", "", fault)
    think = text[found[0].end() : found[1].start()].strip()
    answer = text[found[2].end() : found[3].start()].strip()
    if text[: found[0].start()]:
        fault = "text before <think>"
    elif text[found[1].end() : found[2].start()].strip():
        fault = "text between </think> and <answer>"
    elif text[found[3].end() :]:
        fault = "text after </answer>"
    elif not shows(think):
        fault = "empty thinking"
    elif not shows(answer):
        fault = "empty answer"
    return Parsed("", "", fault) if fault else Parsed(think, answer, None)


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


def lenient(response: str) -> str:
    """Extract the answer of a base model that was not trained on the tags.

    Returns:
        The answer block if there is exactly one, else the text after the last `</think>`, else the whole text.
    """
    blocks = re.findall(r"<answer>(.*?)</answer>", response, re.DOTALL)
    if len(blocks) == 1:
        return str(blocks[0]).strip()
    return response.rpartition("</think>")[2].strip()


def render(think: str, answer: str) -> str:
    """Format a response so that `parse` returns its parts."""
    return f"<think>{think}</think><answer>{answer}</answer>"
