"""Scores of short answers against lists of golds: VQA score, relaxed accuracy, ANLS, exact match, MMMU's open ones.

The definitions are those of the benchmarks' papers as VLMEvalKit computes them: VQA accuracy (arXiv 1505.00468 §5,
after its normalisation of punctuation, numbers and articles), relaxed accuracy (ChartQA, arXiv 2203.10244 §5: 5 % for
numbers), ANLS (arXiv 1905.13648, threshold 0.5). Open questions of MMMU (arXiv 2311.16502) are read as its own
evaluator does.
"""

import re
from collections.abc import Callable, Sequence

from wethink.data.tables.listed_texts import listed
from wethink.evaluation.benchmarks.answer_extraction import vqa_text

RELATIVE = 0.05  # relaxed accuracy of numbers
ANLS_THRESHOLD = 0.5
AGREEING = 3  # annotators who must agree with an answer for the full VQA score
ARTICLES = ("a", "an", "the")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0", **{word: str(number) for number, word in enumerate(NUMBERS)}}
# Contractions whose apostrophes VQA's evaluation puts back where one of them is missing.
_CONTRACTED = """
ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd he'd've he's
how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've needn't not've o'clock
oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
someone'd've someone'll someone's something'd something'd've something'll that's there'd there'd've there're there's
they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're what's what've when's
where'd where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've
y'all y'all'll y'all'd've you'd you'd've you'll you're you've
"""
_CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTED.split()
    for place, mark in enumerate(word)
    if mark == "'"
} | {"somebody'd": "somebodyd"}  # as VQA's evaluation has it


def gold_list(cell: str) -> list[str]:
    """Read a gold cell: a Python or JSON list of alternatives, or one answer.

    >>> gold_list("['24/7', '3.429']"), gold_list("3")
    (['24/7', '3.429'], ['3'])
    """
    found = listed(cell)
    # A list of numbers, such as an interval, is one answer.
    return found if found and all(isinstance(part, str) for part in found) else [cell]


def vqa_plain(text: str) -> str:
    """Normalise an answer as VQA's evaluation does.

    >>> vqa_plain("The two dogs, dont!")
    "2 dogs don't"
    """
    words = vqa_text(text.replace("\n", " ").replace("\t", " ").strip()).lower().split()
    kept = [word for word in (_DIGITS.get(word, word) for word in words) if word not in ARTICLES]
    return " ".join(_CONTRACTIONS.get(word, word) for word in kept)


def vqa_score(answer: str, golds: Sequence[str], few: bool) -> float:
    """Return the mean over annotators of min(1, agreeing others / 3).

    Args:
        few: with fewer than four golds, for which that cannot reach 1, one agreeing gold is right.
    """
    said, wanted = vqa_plain(answer), [vqa_plain(gold) for gold in golds]
    if few and len(wanted) <= AGREEING:
        return float(said in wanted)
    matches = [gold == said for gold in wanted]
    return sum(min(1.0, (sum(matches) - match) / AGREEING) for match in matches) / len(matches)


def relaxed(answer: str, golds: Sequence[str]) -> float:
    """Return 1 if a gold is within 5 % of the answer, or is the same text without case."""
    return float(any(_is_near(answer.strip(), gold) for gold in golds))


def _is_near(answer: str, gold: str) -> bool:
    said, wanted = _number(answer), _number(gold)
    if said is not None and wanted:
        return abs(said - wanted) / abs(wanted) <= RELATIVE
    return answer.lower() == gold.lower()


def _number(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None


def anls(answer: str, golds: Sequence[str]) -> float:
    """Return the best normalised Levenshtein similarity, 0 below the threshold."""
    best = 1 - min(_distance(gold, answer) for gold in golds)
    return best if best >= ANLS_THRESHOLD else 0.0


def _distance(gold: str, answer: str) -> float:
    """Return the edit distance over the longer length; white space is folded in the distance only."""
    a, b = (" ".join(text.lower().split()) for text in (gold, answer))
    longest = max(len(gold.upper()), len(answer.upper()))
    previous = list(range(len(a) + 1))
    for row, mark in enumerate(b, start=1):
        current = [row]
        for column, other in enumerate(a, start=1):
            change = previous[column - 1] + (mark != other)
            current.append(min(change, previous[column] + 1, current[-1] + 1))
        previous = current
    return previous[-1] / longest if longest else 0.0


def exact(answer: str, golds: Sequence[str]) -> float:
    """Return 1 if the answer is a gold, without case."""
    return float(answer.strip().lower() in [gold.strip().lower() for gold in golds])


SCORES: dict[str, Callable[[str, Sequence[str]], float]] = {"relaxed": relaxed, "anls": anls, "exact": exact}


KEY_PHRASES = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_TRIVIAL = frozenset((":", ",", ".", "!", "?", ";", "'"))
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)


def mmmu_open(answer: str, golds: Sequence[str]) -> bool:
    """Check an open answer of MMMU as its own evaluator does.

    Of every line, the shortest text behind a key phrase is read, with all its numbers; without any phrase, the whole
    answer. It is right if a gold's text is part of what was read, or a number equals a gold's at two decimals.

    >>> mmmu_open("So the rate is 60 Mbps.", ["60"]), mmmu_open("0.956", ["0.963"]), mmmu_open("61", ["60"])
    (True, True, False)
    """
    wanted = [value for gold in golds for value in _comparable(gold)]
    read = _key_parts(answer.strip().strip(".").lower())
    read += [number for part in read for pattern in _NUMBERS for number in pattern.findall(part)]
    said = [value for part in read for value in _comparable(part)]
    texts, numbers = [v for v in wanted if isinstance(v, str)], [v for v in wanted if not isinstance(v, str)]
    return any(any(t in value for t in texts) if isinstance(value, str) else value in numbers for value in said)


def _key_parts(answer: str) -> list[str]:
    parts: list[str] = []
    lines = answer.split("\n")
    for place, line in enumerate(lines):
        phrases = (*KEY_PHRASES, "=") if place == len(lines) - 1 else KEY_PHRASES
        behind = [line.rpartition(phrase)[2].strip() for phrase in phrases if phrase in line]
        behind = [text for text in behind if text]
        if behind and (shortest := min(behind, key=len)) not in _TRIVIAL:
            parts.append(shortest)
    return parts or [answer]


def _comparable(text: str) -> list[str | float]:
    """Return a number rounded to two decimals, or a text without case.

    A single letter must stand beside a blank, so that it is not found within any word.
    """
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        pass
    text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]
