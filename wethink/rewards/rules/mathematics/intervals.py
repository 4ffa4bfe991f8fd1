r"""Intervals: their ends, open or closed, unions, and the inequalities that say the same.

`[0, 1)`, `x \in [0, 1)`, `0 \le x < 1`, `[0, 1/2] \cup [2, \infty)`, "all real numbers".
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from wethink.rewards.rules.containers import Items, outer, split_outside
from wethink.rewards.rules.mathematics import evaluation, parsing
from wethink.rewards.rules.normalize import plain

_UNION = re.compile(r" ?∪ ?|(?<=[\])]) ?U ?(?=[\[(])")
_BELONGS = re.compile(r"(?P<name>[A-Za-zα-ω]) ?∈ ?(?P<rest>.*)")
_BUILDER = re.compile(r"\{ ?(?P<name>[A-Za-z])(?: ?∈ ?R)? ?[|:] ?(?P<rest>.*)\}")
_EVERYTHING = {"R", "all real numbers", "all reals", "every real number", "all real x", "real numbers"}
_SIGN = re.compile(r"([<>≤≥])")
_NAME = re.compile(r"[A-Za-zα-ω](?:_\w)?")
_ASKED = re.compile(
    r"interval|inequalit|\bdomain\b|\brange\b|solution set|values? of|for which|increasing|decreasing", re.IGNORECASE
)

End = tuple[Any, bool, str]  # value or ±inf, whether the end belongs to the interval, and its text


@dataclass(frozen=True)
class Intervals:
    """Pieces of the real line in order; `name` is the variable of an inequality; `written`: in brackets."""

    pieces: tuple[tuple[End, End], ...]
    name: str = ""
    written: bool = True


def asked_for(problem: str) -> bool:
    """Return whether a problem asks for an interval, so that `(3, 4)` is no point."""
    return _ASKED.search(problem) is not None


@lru_cache(maxsize=8192)
def read(text: str) -> Intervals | None:
    r"""Read an interval, a union of them, or an inequality of one variable; None if the text is none.

    >>> read("[0, 1)") == read("[ 0,1 )"), read("[0, 1)") == read("[0, 1]"), read("(7, -2)")
    (True, False, None)
    >>> read("-2 ≤ x < 7").pieces == read("[-2, 7)").pieces
    True
    """
    text = text.strip().rstrip(".").strip()
    if not text or len(text) > 200:
        return None
    if text in _EVERYTHING:
        text = "(-∞, ∞)"
    if match := _BUILDER.fullmatch(text):
        found = _inequalities(match["rest"].strip())
        return found if found and found.name == match["name"] else None
    name = ""
    if match := _BELONGS.fullmatch(text):
        name, text = match["name"], match["rest"]
        text = "(-∞, ∞)" if text in ("R", r"\R") else text
    elif _SIGN.search(text):
        return _inequalities(text)
    parts = split_union(text)
    pieces = [_bracketed(part) for part in parts]
    known = [piece for piece in pieces if piece is not None]
    if not known or len(known) < len(pieces):
        return None
    return Intervals(_sorted(known), name)


def split_union(text: str) -> list[str]:
    return [part.strip() for part in _UNION.split(text)]


def is_pair(text: str) -> bool:
    """Return whether a text is one pair in round or square brackets: it may be a point or a list as well."""
    style, _ = outer(text)
    return style in ("(", "[") and "∞" not in text and not _UNION.search(text)


def is_point(text: str, problem: str) -> bool:
    """Return whether a pair in brackets is a point or a list rather than an interval."""
    return is_pair(text) and not (asked_for(problem) or text[0] + text[-1] in ("[)", "(]"))


def _bracketed(text: str) -> tuple[End, End] | None:
    if len(text) < 5 or text[0] not in "([" or text[-1] not in ")]":
        return None
    parts = split_outside(text[1:-1], re.compile("[,;]"))
    if parts is None or len(parts) != 2:
        return None
    return _piece(parts[0], text[0] == "[", parts[1], text[-1] == "]")


def _piece(low: str, low_closed: bool, high: str, high_closed: bool) -> tuple[End, End] | None:
    left, right = _end(low), _end(high)
    if left is None or right is None or left > right or (left == right and not (low_closed and high_closed)):
        return None
    infinite = evaluation.context().isinf
    if (infinite(left) and (low_closed or left > 0)) or (infinite(right) and (high_closed or right < 0)):
        return None
    return (left, low_closed, _text(low)), (right, high_closed, _text(high))


def _text(end: str) -> str:
    return plain(end).replace(" ", "")


def _end(text: str) -> Any:
    text = _text(text)
    if re.fullmatch(r"[+-]?(?:∞|infinity|inf|oo)", text):
        return evaluation.context().inf * (-1 if text[0] == "-" else 1)
    tree = parsing.parse(text)
    if tree is None or parsing.names(tree) or parsing.has(tree, "pm", "mp"):
        return None
    found = evaluation.value(tree)
    return None if found is None or not evaluation.is_real(found) else found


def _inequalities(text: str) -> Intervals | None:
    pieces: list[tuple[End, End]] = []
    names = set()
    for part in re.split(r"(?:, ?)?\bor\b|∨", text):
        both = [_inequality(half.strip()) for half in re.split(r"(?:, ?)?\band\b|∧", part)]
        found = [half for half in both if half is not None]
        if len(found) < len(both):
            return None
        names |= {name for name, _ in found}
        low = max((piece[0] for _, piece in found), key=lambda end: (end[0], not end[1]))
        high = min((piece[1] for _, piece in found), key=lambda end: (end[0], end[1]))
        if low[0] > high[0] or (low[0] == high[0] and not (low[1] and high[1])):
            return None
        pieces.append((low, high))
    return Intervals(_sorted(pieces), names.pop(), False) if len(names) == 1 else None


def _inequality(text: str) -> tuple[str, tuple[End, End]] | None:
    parts = [part.strip() for part in _SIGN.split(text)]
    if len(parts) == 3:
        left, sign, right = parts
        if _NAME.fullmatch(right) and not _NAME.fullmatch(left):
            left, sign, right = right, {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}[sign], left
        if not _NAME.fullmatch(left):
            return None
        closed = sign in "≤≥"
        piece = _piece("-∞", False, right, closed) if sign in "<≤" else _piece(right, closed, "∞", False)
        return (left, piece) if piece else None
    if len(parts) == 5 and _NAME.fullmatch(parts[2]):
        low, first, name, second, high = parts
        if first in "<≤" and second in "<≤":
            piece = _piece(low, first == "≤", high, second == "≤")
        elif first in ">≥" and second in ">≥":
            piece = _piece(high, second == "≥", low, first == "≥")
        else:
            return None
        return (name, piece) if piece else None
    return None


def _sorted(pieces: list[tuple[End, End]]) -> tuple[tuple[End, End], ...]:
    return tuple(sorted(pieces, key=lambda piece: (piece[0][0], piece[1][0])))


def same(mine: Intervals, theirs: Intervals, equal: Callable[[str, str], bool]) -> bool:
    """Return whether two readings have the same pieces; two names must be one.

    Args:
        equal: compares the texts of two finite ends, the gold's second, by the rules of single values.
    """
    if len(mine.pieces) != len(theirs.pieces) or (mine.name and theirs.name and mine.name != theirs.name):
        return False
    finite = evaluation.context().isfinite
    for piece, pair in zip(mine.pieces, theirs.pieces, strict=True):
        for (one, closed, text), (other, wanted, gold) in zip(piece, pair, strict=True):
            if closed != wanted or finite(one) != finite(other):
                return False
            if not (one == other or (finite(one) and (evaluation.near(one, other) or equal(text, gold)))):
                return False
    return True


def brackets_agree(found: Items, wanted: Items) -> bool:
    """Return whether two kinds of brackets may stand for one kind of collection."""
    # A set is no tuple, and two numbers in square brackets may be an interval, which is no point.
    styles = {"{" if one.style == "or" else one.style for one in (found, wanted)}
    if len(styles) == 1:
        return True
    numeric = len(wanted.parts) == 2 and all(read(f"[{part}, {part}]") for part in wanted.parts)
    if styles == {"⟨", "("}:
        return True  # a vector
    return (styles == {"(", "["} and not numeric) or (styles == {"{", "["} and not numeric)
