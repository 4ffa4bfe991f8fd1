"""Extraction of option letters and yes/no answers: VLMEvalKit's protocol and ours.

`KIT` extracts as VLMEvalKit does without a judge, quirks included, so that a number can be compared with the
leaderboard's. `OURS` departs where that is not sound. Each departure is one switch of `Protocol`; docs/benchmarks.md
has the reasons. Neither ever draws a random option.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

REFUSALS = (  # VLMEvalKit's list
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
FAILURE = "Failed to obtain answer via API"  # VLMEvalKit writes it into the prediction
NO_OPTION = "Z"
AFTER_OPTION = frozenset(
    ("is", "was", "are", "as", "and", "or", "but", "not", "because", "since", "for", "if", "would", "seems", "shows")
)
TAIL = 4  # tokens at the end in which an option letter must first occur


@dataclass(frozen=True)
class Protocol:
    """Switches of the departures from VLMEvalKit."""

    answer_block: bool  # of a response with exactly one <answer> block, only the block is read
    failed_unknown: bool  # a failed call is unknown, not wrong
    exact_text: bool  # an answer that is one option's text, or a letter with its own text, is that option
    article: bool  # "A" before a lower-case word is an article, no option
    whole_words: bool  # an option's text must stand in the answer as whole words
    plain_words: bool  # yes and no are sought among all words, not after VQA's incomplete removal of punctuation
    keep_none: bool  # options that read None or N/A are options
    open_by_rule: bool  # MMMU's open questions are checked by our rules, not as "A or other answers"
    gold_needed: bool  # a gold that is empty (OCRBench) or names no option makes its item unknown for any response


OURS = Protocol(**{field.name: True for field in fields(Protocol)})
KIT = Protocol(**{field.name: False for field in fields(Protocol)})
PROTOCOLS = {"ours": OURS, "vlmevalkit": KIT}


@dataclass(frozen=True)
class Found:
    """Extracted answer: a letter, Yes/No, `Z` (refusal) or None; `how` is the method."""

    value: str | None
    how: str


def answer_text(response: str, protocol: Protocol) -> str:
    """Return the part of a response that holds the answer.

    >>> answer_text("<think>B ?</think><answer>C</answer>", OURS)
    'C'
    """
    if protocol.answer_block:
        blocks = re.findall(r"<answer>(.*?)</answer>", response, re.DOTALL)
        if len(blocks) == 1:
            return str(blocks[0]).strip()
        return response.rpartition("</think>")[2].strip()
    return response


def option(answer: str, options: Mapping[str, str], protocol: Protocol) -> Found:
    """Extract the one option that an answer names.

    >>> option("The answer is B.", {"A": "cat", "B": "dog"}, KIT).value
    'B'
    >>> option("a dog", {"A": "cat", "B": "dog"}, OURS)
    Found(value='B', how='text')
    """
    if not protocol.failed_unknown and FAILURE in answer:
        return _by_text(answer, options, protocol)  # as the kit: no letter is sought
    if protocol.exact_text and (letter := _exact(answer, options)):
        return Found(letter, "exact text")
    if any(refusal in answer for refusal in REFUSALS):
        return Found(NO_OPTION, "refusal")
    letter = _by_letter(answer, options, protocol)
    return Found(letter, "letter") if letter else _by_text(answer, options, protocol)


def _exact(answer: str, options: Mapping[str, str]) -> str | None:
    def plain(text: str) -> str:
        return " ".join(text.casefold().split()).strip(" .")

    said = plain(answer)
    named = [
        letter
        for letter, text in options.items()
        if plain(text)
        and said in (plain(text), *(f"{letter.lower()}{mark} {plain(text)}" for mark in ("", ".", ")", ":")))
    ]
    return named[0] if len(named) == 1 else None


def _by_letter(answer: str, options: Mapping[str, str], protocol: Protocol) -> str | None:
    """Find the only option letter among the words, if it first occurs near the end."""
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", answer).split()
    named = [letter for letter in options if letter in words]
    if not named:
        return NO_OPTION if NO_OPTION in words else None
    if len(named) > 1:
        return None
    place = words.index(named[0])
    if protocol.article and named == ["A"] and _noun_follows(words[place + 1 : place + 2]):
        return None
    return named[0] if place > len(words) - TAIL - 1 else None


def _noun_follows(following: list[str]) -> bool:
    """Tell whether "A" before this word is an article.

    It is if the word is in lower case and not in `AFTER_OPTION`.
    """
    return bool(following) and following[0][0].islower() and following[0] not in AFTER_OPTION


def _by_text(answer: str, options: Mapping[str, str], protocol: Protocol) -> Found:
    """Find the only option whose text the answer contains.

    An answer more than twice as long as all options together is not searched.
    """
    said = answer.lower()
    if len(said) > 2 * sum(map(len, options.values())):
        return Found(None, "too long to match by text")
    if protocol.whole_words:
        named = [
            k for k, v in options.items() if v.strip() and re.search(rf"(?<!\w){re.escape(v.lower())}(?!\w)", said)
        ]
    else:
        named = [k for k, v in options.items() if v.lower() in said]
    if len(named) == 1:
        return Found(named[0], "text")
    return Found(None, f"the answer holds the text of {len(named) or 'none'} of the {len(options)} options")


PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
PERIODS = 32  # VQA's evaluation passes a flag as re.sub's count: later full stops stay
_BETWEEN_DIGITS = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"(?<!\d)\.(?!\d)")


def vqa_words(text: str) -> list[str]:
    """Split text into words by VQA's punctuation rules, as VLMEvalKit does.

    A mark is deleted where it touches a blank anywhere in the text, or where any comma stands between digits; else it
    becomes a blank. A colon stays, and so does every full stop after the 32nd.
    """
    comma = _BETWEEN_DIGITS.search(text) is not None
    left = text
    for mark in PUNCTUATION:
        touches = comma or f"{mark} " in text or f" {mark}" in text
        left = left.replace(mark, "" if touches else " ")
    return _FULL_STOP.sub("", left, count=PERIODS).split()


def yes_no(answer: str, protocol: Protocol) -> Found:
    """Extract Yes or No if exactly one of the words occurs.

    >>> yes_no("yes: it is red", KIT).value, yes_no("yes: it is red", OURS).value
    (None, 'Yes')
    """
    said = answer.lower()
    words = re.findall(r"\w+", said) if protocol.plain_words else vqa_words(said)
    yes, no = "yes" in words, "no" in words
    if yes != no:
        return Found("Yes" if yes else "No", "word")
    return Found(None, "both words" if yes else "neither word")
