r"""Readers of lists, tuples, sets, matrices and ratios: their brackets and their items, as text.

Items are split at separators outside brackets only, and compared by the rules for single values (`verify`).
A comma in brackets separates items (`(100,200)` is a pair), a comma outside of them may separate thousands.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from wethink.rewards.rules import quantities
from wethink.rewards.rules.dates import read_date
from wethink.rewards.rules.normalize import balanced, fold, plain

_BULLET = re.compile(r"^(?:[-*•·]|(?P<number>[0-9]{1,2})[.)])\s+")
_SEPARATOR = re.compile(r"[,;]\s*and\b(?!/)|[,;]|(?<![\w&])&(?![\w&])|\band\b(?!/)|、", re.IGNORECASE)
_OR = re.compile(r"[,;]\s*(?:and|or)\b|[,;]|\b(?:and|or)\b|或|、", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"\bor\b|或", re.IGNORECASE)
_VALUE, _LONG_WORD = re.compile(r"[0-9]"), re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_PAIRS = {"(": ")", "[": "]", "{": "}", "⟨": "⟩"}
_THOUSANDS = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?!,?[0-9])")
_MATRIX = re.compile(
    r"(?P<open>[(\[|]?) ?\\begin\{(?P<name>[pbBvV]?matrix|smallmatrix)\}"
    r"(?P<body>.*?)\\end\{(?P=name)\} ?(?P<close>[)\]|]?)"
)
_RATIO = re.compile(r"[0-9]+(?:\.[0-9]+)?(?: ?[:∶] ?[0-9]+(?:\.[0-9]+)?){1,5}")
_RATIO_IN_WORDS = re.compile(r"[0-9]+(?:\.[0-9]+)?(?: to [0-9]+(?:\.[0-9]+)?){1,5}")
_ASKS_RATIO = re.compile(r"\bratios?\b|\bproportions?\b|\bodds\b|\bscale\b|比", re.IGNORECASE)


@dataclass(frozen=True)
class Items:
    """The items of a collection; `style` is its opening bracket, "or" between solutions, empty for a bare list."""

    style: str
    parts: tuple[str, ...]

    @property
    def kind(self) -> str:
        return {"(": "tuple", "{": "set", "or": "set", "⟨": "tuple"}.get(self.style, "list")


def split_outside(text: str, separator: "re.Pattern[str]") -> list[str] | None:
    """Split a text at separators outside brackets; None if its brackets do not fit.

    >>> split_outside("(1,2),(3,4)", re.compile(","))
    ['(1,2)', '(3,4)']
    """
    parts, depth, start, place = [], 0, 0, 0
    while place < len(text):
        char = text[place]
        if char in "([{⟨":
            depth += 1
        elif char in ")]}⟩":
            depth -= 1
            if depth < 0:
                return None
        elif depth == 0 and (match := separator.match(text, place)) and match.end() > place:
            parts.append(text[start:place].strip())
            start = place = match.end()
            continue
        place += 1
    return [*parts, text[start:].strip()] if depth == 0 else None


def outer(text: str) -> tuple[str, str]:
    """Return the bracket around a whole text and what is in it; ("", text) without one.

    >>> outer("(1, 2)"), outer("(1, 2), (3, 4)")
    (('(', '1, 2'), ('', '(1, 2), (3, 4)'))
    """
    text = text.strip()
    if len(text) > 1 and _PAIRS.get(text[0]) == text[-1] and balanced(text[1:-1]) and _closes_last(text):
        return text[0], text[1:-1].strip()
    return "", text


def _closes_last(text: str) -> bool:
    depth = 0
    for place, char in enumerate(text):
        depth += (char in "([{⟨") - (char in ")]}⟩")
        if depth == 0:
            return place == len(text) - 1
    return False


@lru_cache(maxsize=8192)
def read_items(text: str, alternatives: bool = False) -> Items:
    r"""Split a list, on one line or several, into its items; a text without separators has one.

    >>> read_items("1. red\n2. the blue").parts, read_items("(1, 2), (3, 4)").parts, read_items("{2, -2}").style
    (('red', 'the blue'), ('(1, 2)', '(3, 4)'), '{')
    >>> read_items("f(x, y)").parts, read_items("1,234").parts, read_items("[1,234]").parts
    (('f(x, y)',), ('1,234',), ('1', '234'))
    """
    lines = [line for line in fold(text).split("\n") if line]
    bulleted = False
    if len(lines) > 1 and "\\begin" not in text:
        bullets = [_BULLET.match(line) for line in lines]
        numbers = [int(mark["number"]) for mark in bullets if mark and mark["number"]]
        if all(bullets) and numbers in ([], list(range(1, len(lines) + 1))):
            lines = [line[mark.end() :] for line, mark in zip(lines, bullets, strict=True) if mark]
            bulleted = True
        parts = [plain(line.rstrip(",;")) for line in lines]
        if bulleted or all(read_items(part).style for part in parts):
            return Items("", tuple(part for part in parts if part))
        text = "; ".join(line.rstrip(",;") for line in lines)
    text = plain(text).rstrip(".").strip()
    style, inside = outer(text)
    if not style and quantities.read(text) is not None:
        return Items("", (text,))
    if style in ("[", "(") and inside[:1] in ("(", "[") and len(nested := _split(inside, alternatives)) > 1:
        return Items("", tuple(nested)) if all(outer(part)[0] for part in nested) else Items(style, tuple(nested))
    if not style and not alternatives and _ALTERNATIVE.search(inside):
        either = _split(inside, True)
        if len(either) > 1 and all(_VALUE.search(part) and not _LONG_WORD.search(part) for part in either):
            return Items("or", tuple(either))  # `21, 16 or 11`: solutions, in any order
    parts = _split(inside, alternatives)
    if len(parts) < 2 and style != "{":
        return Items("", (text,))
    return Items(style, tuple(parts))


def measures(text: str) -> tuple[str, ...]:
    """Return the items of a text that may be one measure or a list of some; () if it is neither.

    >>> measures("33 m and 26 cm"), measures("5 ft 3 in"), measures("7")
    (('33 m', '26 cm'), (), ())
    """
    if not re.search(r", | and ", text):
        return ()
    parts = tuple(_split(text, False))
    sizes = [quantities.read(part) for part in parts]
    return parts if len(parts) > 1 and all(size is not None and size.unit for size in sizes) else ()


def _split(text: str, alternatives: bool) -> list[str]:
    guarded = text
    if re.search(r", |;| and | or ", text):  # `1,234, 5,678`
        guarded = _THOUSANDS.sub(lambda match: match.group().replace(",", ""), text)
    dates = [part.strip() for part in text.split(";")]
    if len(dates) > 1 and all(read_date(part) for part in dates):  # with commas of their own
        return dates
    if groups := _assignments(guarded):
        return groups
    parts = split_outside(guarded, _OR if alternatives else _SEPARATOR)
    if parts is None:
        return [text]
    found = [plain(part) for part in parts]
    return [part for part in found if part]


def _assignments(text: str) -> list[str]:
    """Split `p=5, q=2; p=7, q=2` into its groups, of the same letters each; [] if the text is none."""
    if text.count("=") < 4:
        return []
    for separator in (";", r"\band\b|\bor\b"):
        groups = split_outside(text, re.compile(separator)) or []
        sides = [
            [part.partition("=")[0].strip() for part in split_outside(group, re.compile(",")) or ()] for group in groups
        ]
        if len(groups) > 1 and len(sides[0]) > 1 and all(names == sides[0] for names in sides):
            return [group.strip(" ,") for group in groups]
    return []


@dataclass(frozen=True)
class Matrix:
    """The entries of a matrix by rows; `bars`: a determinant."""

    rows: tuple[tuple[str, ...], ...]
    bars: bool = False


@lru_cache(maxsize=4096)
def read_matrix(text: str) -> Matrix | None:
    r"""Read a LaTeX matrix, in round or square brackets, or a list of rows.

    >>> read_matrix(r"\begin{pmatrix} 1 & 2 \\ 3&4 \end{pmatrix}") == read_matrix("[[1, 2], [3, 4]]")
    True
    """
    text = text.strip().rstrip(".")
    match = _MATRIX.fullmatch(text)
    if match is None:
        return _nested(text)
    if _PAIRS.get(match["open"], match["open"]) != match["close"] or "\\begin" in match["body"]:
        return None
    bars = match["name"] in ("vmatrix", "Vmatrix") or match["open"] == "|"
    rows = [row.strip() for row in match["body"].replace(r"\hline", "").split("\\\\")]
    cells = tuple(tuple(plain(cell) for cell in row.split("&")) for row in rows if row)
    return Matrix(cells, bars) if cells and len({len(row) for row in cells}) == 1 else None


def _nested(text: str) -> Matrix | None:
    style, inside = outer(text)
    if style != "[" or not inside.startswith("["):
        return None
    rows = [outer(row) for row in split_outside(inside, re.compile(",")) or []]
    if not rows or any(bracket != "[" for bracket, _ in rows):
        return None
    cells = tuple(tuple(split_outside(row, re.compile(",")) or ()) for _, row in rows)
    return Matrix(cells) if len({len(row) for row in cells}) == 1 else None


def asks_for_ratio(problem: str) -> bool:
    """Return whether a problem speaks of a ratio, so that `11:21` is no time."""
    return _ASKS_RATIO.search(problem) is not None


@lru_cache(maxsize=4096)
def read_ratio(text: str, fractions: bool = False) -> tuple[Fraction, ...] | None:
    r"""Read a ratio in lowest terms; with `fractions`, also one of two written as a fraction.

    >>> [tuple(map(str, read_ratio(text) or ())) for text in ("6:4", "3 to 2", "1 : 2 : 3", "1/2")]
    [('3', '2'), ('3', '2'), ('1', '2', '3'), ()]
    """
    text = text.strip().rstrip(".")
    if len(text) > 80:
        return None
    if _RATIO.fullmatch(text) or _RATIO_IN_WORDS.fullmatch(text):
        terms = [Fraction(term) for term in re.split(r" ?[:∶] ?| to ", text)]
    elif fractions and (match := re.fullmatch(r"([0-9]+) ?/ ?([0-9]+)|\\frac\{([0-9]+)\}\{([0-9]+)\}", text)):
        terms = [Fraction(term) for term in match.groups() if term]
    elif fractions and (quantity := quantities.read(text)) and not quantity.unit and quantity.value > 0:
        terms = [Fraction(quantity.value.numerator), Fraction(quantity.value.denominator)]
    else:
        return None
    if not all(terms):
        return None
    first = terms[0]
    smallest = [term / first for term in terms]
    scale = Fraction(1)
    for term in smallest:
        scale *= (term * scale).denominator
    whole = [term * scale for term in smallest]
    return tuple(whole)
