"""Extraction of option letters and yes/no answers: VLMEvalKit's protocol and ours.

`KIT` extracts as VLMEvalKit does without a judge, quirks included, so that a number can be compared with the
leaderboard's. `OURS` departs where that is not sound. Each departure is one switch of `Protocol`; docs/benchmarks.md
has the reasons. Neither ever draws a random option.
"""

import ast
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields

from wethink.config.response_format import ResponseFormat
from wethink.rewards.format import DEFAULT, parse

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

    answer_block: bool  # a response in the run's format is read by it; of one with one <answer> block, only that
    free_form: bool  # a letter in any dress is read: (b), JSON, a box, "Answer: b", 答案：B, full-width signs
    failed_unknown: bool  # a failed call is unknown, not wrong
    exact_text: bool  # an answer that is one option's text, or a letter with its own text, is that option
    article: bool  # "A" before a lower-case word is an article, "I" a pronoun, no option
    whole_words: bool  # an option's text must stand in the answer as whole words
    plain_words: bool  # yes and no are sought among all words, not after VQA's removal of punctuation; 是 and 不是 too
    keep_none: bool  # options that read None or N/A are options
    open_by_rule: bool  # MMMU's open questions are read as its own evaluator does, not as "A or other answers"
    gold_spelling: bool  # a yes/no gold in another spelling (yes, TRUE, 是) is a gold
    few_golds: bool  # VQA score: with fewer than four golds one agreeing gold is enough
    gold_needed: bool  # a gold that is empty (OCRBench) or names no option makes its item unknown for any response


OURS = Protocol(**{field.name: True for field in fields(Protocol)})
KIT = Protocol(**{field.name: False for field in fields(Protocol)})
PROTOCOLS = {"ours": OURS, "vlmevalkit": KIT}


@dataclass(frozen=True)
class Found:
    """Extracted answer: a letter, Yes/No, `Z` (refusal) or None; `how` is the method."""

    value: str | None
    how: str


_MARKERS = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:eos|end_of_turn)>")  # of chat templates
_TAGS = re.compile(r"</?answer>")


def answer_text(response: str, protocol: Protocol, form: ResponseFormat = DEFAULT) -> str:
    """Return the part of a response that holds the answer.

    `form` is the response format that the model was asked for; a response that breaks it is read as any other.

    >>> answer_text("<think>B ?</think><answer>C</answer>", OURS)
    'C'
    """
    if protocol.free_form:
        response = _MARKERS.sub(" ", response).strip()
    if protocol.answer_block:
        if form.kind != "tags" and (parsed := parse(response, form)).fault is None:
            return parsed.answer
        closed = response[: response.rfind("</answer>") + len("</answer>")] if "</answer>" in response else ""
        blocks = re.findall(r"<answer>(.*?)</answer>", closed, re.DOTALL)
        if len(blocks) == 1:
            return str(blocks[0]).strip()
        rest = response.rpartition("</think>")[2]
        return (_TAGS.sub(" ", rest) if protocol.free_form else rest).strip()
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
    if protocol.free_form and (found := _free(answer, options)):
        return found
    if any(refusal in answer for refusal in REFUSALS):
        return Found(NO_OPTION, "refusal")
    letter = _by_letter(answer, options, protocol)
    return Found(letter, "letter") if letter else _by_text(answer, options, protocol)


def _folded(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .。")


def _exact(answer: str, options: Mapping[str, str]) -> str | None:
    said = _folded(answer)
    named = [
        letter
        for letter, text in options.items()
        if _folded(text)
        and said in (_folded(text), *(f"{letter.lower()}{mark} {_folded(text)}" for mark in ("", ".", ")", ":")))
    ]
    return named[0] if len(named) == 1 else None


_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
_DRESS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|textrm|bf|rm)\s*\{([^{}]*)\}")
_FENCE = re.compile(r"^```\w*\s*\n?(.*?)\n?```$", re.DOTALL)
_KEYS = ("answer", "final_answer", "final answer", "option", "choice", "result", "答案")
_IS = r"(?:\s*(?:is|should be|would be|[:=]|是|为))+"
_STATED = re.compile(  # "the final answer is …", 答案：…, at the start of a line or within one
    rf"(?:\b(?:answer|correct (?:option|choice))\b[\s*_]*{_IS}|答案[\s*_]*{_IS}|(?<!不)(?:应|故|我)?"
    rf"选(?:择|项)?(?:{_IS})?)"
    r"[\s*_]*([^\n]*)",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^(?:(?:the\s+)?(?:(?:correct|right|best|final)\s+)*(?:answer|option|choice)|选项)\s*(?:is|[:=])?\s*", re.I
)
_NAMED = re.compile(
    r"^[\s(\[{\"'“‘「《$*_`]*([A-Za-z])(?![A-Za-z0-9]|['’][a-z])([\s)\]}\"'”’」》$*_`.,:;!。、:-]*)(.*)$", re.DOTALL
)


def _tidy(text: str) -> str:
    """Replace full-width signs, and runs of blanks by one: the patterns below would take quadratic time on them."""
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", unicodedata.normalize("NFKC", text))).strip()


def stated(answer: str) -> str | None:
    """Return what an answer states as its result: a JSON value, a box, or the text behind "answer:"; None if nothing.

    Different results are none.

    >>> stated('{"answer": "B"}'), stated(r"A is red. \\boxed{B}"), stated("It rains, so the answer is: B"), stated("B")
    ('B', 'B', 'B', None)
    """
    text = _tidy(answer)
    if fenced := _FENCE.match(text):
        text = fenced.group(1).strip()
    if (value := _json_answer(text)) is not None:
        return value
    for pattern in (_BOX, _STATED):
        found = [_DRESS.sub(r"\1", str(part)).strip() for part in pattern.findall(text)]
        found = [part for part in found if part]
        if found:
            return found[-1] if len({_folded(part) for part in found}) == 1 else None
    return None


def _json_answer(text: str) -> str | None:
    """Return the answer of a JSON object (or Python dictionary) that ends the text."""
    begin = text.rfind("{")
    if not text.rstrip("`\n ").endswith("}") or begin < 0:
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(text[begin:].rstrip("`\n "))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        if isinstance(found, dict):
            values = [value for key, value in found.items() if str(key).strip().lower() in _KEYS]
            if len(values) == 1 and isinstance(values[0], list) and len(values[0]) == 1:
                values = values[0]
            if len(values) == 1 and isinstance(values[0], str | int | float):
                return str(values[0]).strip()
    return None


def _free(answer: str, options: Mapping[str, str]) -> Found | None:
    """Find the option that an answer names in another dress; None if it is not unambiguous.

    A marked letter with another option's text is a contradiction and names none.
    """
    text = _tidy(answer)
    if (said := stated(answer)) is not None:
        return _named(said.strip(), options)
    if found := _named(text, options):
        return found
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ends = [found for line in lines[:: max(1, len(lines) - 1)] if len(lines) > 1 and (found := _named(line, options))]
    return ends[0] if len({found.value for found in ends}) == 1 else None


_REASON = re.compile(r"^(?:because|since|as|for|is (?:the )?(?:correct|right|best|answer)|因为)\b", re.I)
_NOT_OTHERS = re.compile(r"\b(?:not|rather than|instead of)\s+[(\[]?[A-Z]\b[)\]]?")
_BEHIND = re.compile(r"^(.*\S)\s*[(\[]([A-Z])[)\]][\s.]*$", re.DOTALL)


def _named(part: str, options: Mapping[str, str]) -> Found | None:
    """Read a letter alone, with its own text before or behind it, or with a reason; or an option's text alone."""
    part = _LABEL.sub("", part, count=1)
    texts = {letter: _folded(unicodedata.normalize("NFKC", text)) for letter, text in options.items()}
    same = [letter for letter, text in texts.items() if text and text == _folded(part.strip("\"'*_`“”‘’"))]
    if len(same) == 1:
        return Found(same[0], "exact text")
    if (behind := _BEHIND.match(part)) and behind.group(2) in options and _folded(behind.group(1)) in texts.values():
        letter, rest, marked = behind.group(2), _folded(behind.group(1)), True
    else:
        mark = _NAMED.match(part)
        if mark is None or mark.group(1).upper() not in options:
            return None
        letter, marked = mark.group(1).upper(), bool(mark.group(2).strip())
        rest = _folded(mark.group(3).strip("\"'*_`“”‘’()"))
        others = [o for o in options if o != letter and re.search(rf"\b{o}\b", _NOT_OTHERS.sub("", mark.group(3)))]
        if mark.group(1).isupper() and not others and (_REASON.match(rest) or _NOT_OTHERS.match(mark.group(3))):
            return Found(letter, "letter with a reason")
    if rest in ("", "选项", "项", texts[letter]):
        return Found(letter, "letter in another dress")
    if marked and rest in texts.values():
        return Found(None, f"letter {letter} with another option's text")
    return None


def _by_letter(answer: str, options: Mapping[str, str], protocol: Protocol) -> str | None:
    """Find the only option letter among the words, if it first occurs near the end."""
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", answer).split()
    named = [letter for letter in options if letter in words]
    if protocol.article:
        named = [letter for letter in named if letter not in _WORDS or not _is_word(answer, letter)]
    if not named:
        return NO_OPTION if NO_OPTION in words else None
    if len(named) > 1 or (protocol.free_form and re.search(_DENIED.format(named[0]), answer)):
        return None
    return named[0] if words.index(named[0]) > len(words) - TAIL - 1 else None


_WORDS = {"A": AFTER_OPTION, "I": frozenset(("is", "was", "as", "and", "or", "because", "since"))}
_DENIED = (
    r"\b(?:not|isn['’]t|except)\s+(?:option\s+)?[(\[*]*{0}\b|"
    r"\b{0}\b[)\]*]*\s+(?:is|was)(?:n['’]t|\s+(?:not|wrong|incorrect|false))\b"
)


def _is_word(answer: str, letter: str) -> bool:
    """Tell whether every lone "A" is an article, or every lone "I" the pronoun.

    It is where a blank and a word in lower case that cannot follow an option's letter come next: "(A) a" names A.
    """
    lone = re.findall(rf"(?<![^\W_])([(\[*]?){letter}(?![^\W_])([ \t]+([a-z][^\s.,:;!?]*))?", answer)
    return bool(lone) and all(not dress and word and word not in _WORDS[letter] for dress, _, word in lone)


def _by_text(answer: str, options: Mapping[str, str], protocol: Protocol) -> Found:
    """Find the only option whose text the answer contains.

    An answer more than twice as long as all options together is not searched.
    """
    said = answer.lower()
    if len(said) > 2 * sum(map(len, options.values())):
        return Found(None, "too long to match by text")
    if protocol.whole_words:
        named = [k for k, v in options.items() if v.strip() and _has_words(said, v.lower())]
    else:
        named = [k for k, v in options.items() if v.lower() in said]
    if len(named) == 1:
        return Found(named[0], "text")
    return Found(None, f"the answer holds the text of {len(named) or 'none'} of the {len(options)} options")


# Scripts that put no blank between words: ideographs, kana, hangul with its particles, Thai, Lao, Burmese, Khmer.
_UNSPACED = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_SPACED = rf"[^\W{_UNSPACED}]"


def _has_words(said: str, text: str) -> bool:
    """Tell whether a text stands in an answer as whole words; where a script has no blanks, anywhere.

    >>> _has_words("答案是狗。", "狗"), _has_words("concatenate", "cat")
    (True, False)
    """
    begin = rf"(?<!{_SPACED})" if re.match(_SPACED, text) else ""
    end = rf"(?!{_SPACED})" if re.search(rf"{_SPACED}$", text) else ""
    return re.search(f"{begin}{re.escape(text)}{end}", said) is not None


PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
PERIODS = 32  # VQA's evaluation passes a flag as re.sub's count: later full stops stay
_BETWEEN_DIGITS = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"(?<!\d)\.(?!\d)")


def vqa_text(text: str) -> str:
    """Remove punctuation by VQA's rules, as VLMEvalKit does.

    A mark is deleted where it touches a blank anywhere in the text, or where any comma stands between digits; else it
    becomes a blank. A colon stays, and so does every full stop after the 32nd.
    """
    comma = _BETWEEN_DIGITS.search(text) is not None
    left = text
    for mark in PUNCTUATION:
        touches = comma or f"{mark} " in text or f" {mark}" in text
        left = left.replace(mark, "" if touches else " ")
    return _FULL_STOP.sub("", left, count=PERIODS)


_ECHO = re.compile(
    r"\byes\b[\s\"'”’]*(?:or|/|\||and)[\s\"'“‘]*no\b|是\s*(?:/|或|还是)\s*(?:否|不是)", re.I
)  # the question's words
_CLAUSE = re.compile(r"[\s,.!?;:。、*_\"'“”()]+")
_YES = frozenset(("是", "是的", "对", "对的", "正确", "有", "有的", "存在", "会", "能", "可以"))
_NO = frozenset(
    ("否", "不", "不是", "不是的", "不对", "错", "错误", "没有", "没", "无", "不存在", "不会", "不能", "不可以")
)


def yes_no(answer: str, protocol: Protocol) -> Found:
    """Extract Yes or No if exactly one of the words occurs.

    >>> yes_no("yes: it is red", KIT).value, yes_no("yes: it is red", OURS).value
    (None, 'Yes')
    >>> yes_no("是的，它是红色的。", OURS).value
    'Yes'
    """
    if protocol.free_form and (said := stated(answer)) and (found := _one_word(said, protocol)).value:
        return found
    return _one_word(answer, protocol)


def _one_word(answer: str, protocol: Protocol) -> Found:
    if not protocol.plain_words:
        words = vqa_text(answer.lower()).split()
        yes, no = "yes" in words, "no" in words
    else:
        said = _ECHO.sub(" ", _tidy(answer).lower())
        words = re.findall(r"[^\W_]+", said)
        clauses = set(_CLAUSE.split(re.sub(r"(?:答案|回答)\s*(?:是|为|:)?\s*(?=[^\s])", " ", said)))
        yes, no = "yes" in words or bool(clauses & _YES), "no" in words or bool(clauses & _NO)
    if yes != no:
        return Found("Yes" if yes else "No", "word")
    return Found(None, "both words" if yes else "neither word")
