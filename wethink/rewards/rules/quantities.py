r"""Numeric answers: sign, currency, thousands, fractions, powers of ten, number words and units.

Values are exact fractions. An integer gold must be met exactly, any other within the relative tolerance. A unit
on one side only is ignored; two units must be the same, or of one dimension in the table of `units`, whose
factors are then applied. x% is x/100 everywhere, and may also mean x if the question or the gold is in percent.
A text that needs a computation (`12 * 13`, `3!`, `2^5`) is no number.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from wethink.rewards.rules import units
from wethink.rewards.rules.normalize import bare
from wethink.rewards.verdict import Verdict, correct, wrong

MAX_POWER = 300  # largest power of ten

_ONES: tuple[str, ...] = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
_ONES += ("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen")
_ONE = {word: value for value, word in enumerate(_ONES)}
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TEN = {word: value for value, word in zip(range(20, 100, 10), _TENS, strict=True)}
_SCALE = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PART = {
    "half": 2,
    "halves": 2,
    "third": 3,
    "quarter": 4,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "tenth": 10,
}

_NUMERAL = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?|[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]*)?"  # 1,234.5 and 12,34,567
    r"|[0-9]{1,3}(?: [0-9]{3})+(?:\.[0-9]*)?|[0-9]{1,3}(?:'[0-9]{3})+(?:\.[0-9]*)?"  # 1 234.5 and 1'234.5
    r"|[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"  # 1.234,5
)
_NUMBER = re.compile(
    r"(?:(?P<name>[A-Za-z][A-Za-z0-9_]{0,3}|\\[a-z]{2,7}) ?(?:=|≈|\\approx) ?|(?P<is>=) ?)?"
    r"(?P<about>(?:≈|~|about|approximately|approx\.?|around|roughly|\\approx) ?)?"
    r"(?P<sign>[-+]|(?:minus|negative) )? ?"
    r"(?:(?P<currency>US\$|[$€£¥])|(?P<code>USD|EUR|GBP|JPY) )? ?"
    r"(?:(?P<whole>[0-9]{1,12})[ -](?P<top>[0-9]+) ?/ ?(?P<low>[0-9]+)|"
    rf"(?P<number>{_NUMERAL})(?: ?/ ?(?P<below>{_NUMERAL}))?)"
    r"(?:[eE](?P<e>[-+]?[0-9]{1,4})| ?(?:×|x|\*|·|\\times|\\cdot) ?10 ?\^ ?\{?(?P<power>[-+]?[0-9]{1,4})\}?)?"
    r"(?: (?P<scale>thousand|million|billion|trillion)\b)?"
    r"(?P<gap> ?)(?P<unit>\S.{0,40})?"
)
_TEN_TO = re.compile(r"(?P<sign>-)? ?10 ?\^ ?\{?(?P<power>[-+]?[0-9]{1,4})\}?")
_FRACTION = re.compile(r"(-?[0-9]*) ?\\[dt]?frac ?(?:\{ ?(-?[0-9.]+) ?\} ?\{ ?([0-9.]+) ?\}|([0-9])([0-9])(?![0-9{]))")
_YEAR = re.compile(r"(?:in )?(?:the )?(?:year )?(?=[0-9]{3,4}\b)", re.IGNORECASE)
_THERE = re.compile(r"there (?:is|are|were|was) ", re.IGNORECASE)
_UNIT = re.compile(r"[^\W\d_]|[-%°$€£¥'μΩ/^{}.23 ]")

# Words that are no unit: they change the number before them, or cast doubt on it.
_OTHER_WORDS = """
or and to minus plus times not nor yes no e x is are was be isn't maybe perhaps possibly probably wrong right correct
incorrect sure unsure if unless but except without never than at from versus vs oder ou o und et y false true
about less fewer pi theta alpha beta sqrt sin cos tan log ln exp
"""
_NO_UNIT = {*_ONE, *_TEN, *_SCALE, *_PART, "hundred", "dozen", "point", *_OTHER_WORDS.split()}


@dataclass(frozen=True)
class Quantity:
    """A number as written; `about`: marked as approximate; `name`: as in `x = 3`."""

    value: Fraction
    unit: str = ""
    integer: bool = True
    about: bool = False
    name: str = ""


@lru_cache(maxsize=4096)
def read(text: str) -> Quantity | None:
    r"""Parse a whole text, normalised by `normalize.plain`, as a number with its unit.

    Returns:
        None if it is no number.

    >>> read("$1,234.50").value, read(r"\frac{1}{2} cm").unit, read("3 or 4"), read("twenty-one circles").value
    (Fraction(2469, 2), 'cm', None, Fraction(21, 1))
    """
    text = bare(text)
    if not text or len(text) > 500:
        return None
    text = _THERE.sub("", _YEAR.sub("", text, count=1), count=1)
    found = _spoken(text) if text[0].isalpha() else None
    if found is not None:
        return found
    text = _FRACTION.sub(_slashed, text)
    if match := _TEN_TO.fullmatch(text):
        return _power_of_ten(match)
    match = _NUMBER.fullmatch(text)
    return _figure(match) if match else None


def _slashed(match: "re.Match[str]") -> str:
    whole, top, low = match[1], match[2] or match[4], match[3] or match[5]
    return f"-{top}/{low}" if whole == "-" else f"{whole} {top}/{low}" if whole else f"{top}/{low}"


def _power_of_ten(match: "re.Match[str]") -> Quantity | None:
    power = int(match["power"])
    if abs(power) > MAX_POWER:
        return None
    return Quantity(Fraction(10) ** power * (-1 if match["sign"] else 1), integer=power >= 0)


def _figure(match: "re.Match[str]") -> Quantity | None:
    unit = _unit(match["unit"] or "", bool(match["gap"]))
    if unit is None:
        return None
    if match["whole"]:
        if int(match["low"]) == 0:
            return None
        value = int(match["whole"]) + Fraction(int(match["top"]), int(match["low"]))
    else:
        value = _value(match["number"])
        if match["below"]:
            below = _value(match["below"])
            if below == 0:
                return None
            value /= below
    power = int(match["e"] or match["power"] or 0)
    if abs(power) > MAX_POWER:
        return None
    value *= Fraction(10) ** power * _SCALE.get(match["scale"] or "", 1)
    integer = not (match["whole"] or match["below"] or "." in (match["number"] or ""))
    integer = (integer and not match["e"] and not match["power"]) or (bool(match["scale"]) and value.denominator == 1)
    money = match["currency"] or match["code"] or ""
    if money and unit and units.readings(money) != units.readings(unit):
        return None
    about = bool(match["about"]) or "≈" in match.group() or "approx" in match.group()
    name = (match["name"] or "").strip()
    negative = (match["sign"] or "").strip() in ("-", "minus", "negative")
    return Quantity(-value if negative else value, unit or money, integer, about, name)


def _value(numeral: str) -> Fraction:
    if re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+", numeral):
        numeral = numeral.replace(".", "").replace(",", ".")
    digits = re.sub(r"[ ,']", "", numeral)
    return Fraction(digits + "0" if digits.endswith(".") else digits)


def _unit(text: str, spaced: bool) -> str | None:
    """Return the unit after a number, "" for none, or None if the text is no unit."""
    text = text.rstrip(".").strip()
    if not text:
        return ""
    if len(_UNIT.sub("", text)) or len(text.split()) > 4:
        return None
    if units.readings(text):
        return text
    words = text.casefold().replace("-", " ").split()
    if (
        not spaced
        or re.fullmatch("[a-z]", text)
        or any(one in _NO_UNIT for one in words)
        or not all(re.fullmatch(r"[^\W\d_'][^\W\d_'/]*(?:/[^\W\d_]+)?", one) for one in words)
    ):
        return None
    return text


def _spoken(text: str) -> Quantity | None:
    """Parse a number in words, e.g. "one hundred and five cars", "two thirds"."""
    words = text.casefold().rstrip(".").replace("-", " ").split()
    negative = words[0] in ("minus", "negative") and len(words) > 1
    words = words[1:] if negative else words
    value, used = _words(words)
    if used == 0:
        return None
    rest = words[used:]
    if rest and rest[0] == "of":
        return None
    unit = _unit(" ".join(rest), spaced=True)
    if unit is None:
        return None
    return Quantity(-value if negative else value, unit, value.denominator == 1)


def _words(words: list[str]) -> tuple[Fraction, int]:
    """Parse the number at the start of `words`; return it and its number of words.

    The second value is 0 if there is none.
    """
    if words[:1] in (["a"], ["one"]) and words[1:2] == ["dozen"]:
        return Fraction(12), 2
    if words[:1] == ["half"]:
        return Fraction(1, 2), 1
    total, used, limit = 0, 0, 10**15
    while used < len(words):
        skip = 1 if used and words[used] == "and" else 0
        value, taken = _below_thousand(words[used + skip :])
        if taken == 0:
            break
        scale = _SCALE.get(words[used + skip + taken] if used + skip + taken < len(words) else "", 1)
        if scale >= limit or (scale == 1 and limit == 1):
            return Fraction(0), 0
        used += skip + taken + (scale > 1)
        total, limit = total + value * scale, scale
        if scale == 1:
            break
    part = _part(words[used:]) if used and total < 20 else None
    if part and total:
        return Fraction(total, part), used + 1
    if words[:1] == ["a"] and (part := _part(words[1:])):
        return Fraction(1, part), 2
    if used and words[used : used + 3] in (["and", "a", "half"], ["and", "one", "half"]):
        return total + Fraction(1, 2), used + 3
    return Fraction(total), used


def _part(words: list[str]) -> int | None:
    return (_PART.get(words[0]) or _PART.get(words[0].removesuffix("s"))) if words else None


def _below_thousand(words: list[str]) -> tuple[int, int]:
    value, used = 0, 0
    if len(words) > 1 and words[1] == "hundred" and 0 < _ONE.get(words[0], 0) < 10:
        value, used = 100 * _ONE[words[0]], 2
        if words[2:3] == ["and"] and len(words) > 3 and (words[3] in _ONE or words[3] in _TEN):
            used = 3
    rest = words[used:]
    if rest and rest[0] in _TEN:
        value, used = value + _TEN[rest[0]], used + 1
        if len(rest) > 1 and 0 < _ONE.get(rest[1], 0) < 10:
            value, used = value + _ONE[rest[1]], used + 1
    elif rest and rest[0] in _ONE and (used == 0 or _ONE[rest[0]]):
        value, used = value + _ONE[rest[0]], used + 1
    return value, used


def same(found: Quantity | None, gold: Quantity, problem: str, tolerance: float) -> Verdict:
    """Compare a number with the gold; `tolerance` is relative."""
    if found is None:
        return wrong("not a number")
    if found.about and gold.integer:
        return wrong("about, where the number is exact")
    if found.name and gold.name and found.name.casefold() != gold.name.casefold():
        return wrong(f"{found.name} instead of {gold.name}")
    values = _comparable(found, gold, problem)
    if values is None:
        return wrong(f"unit {found.unit} instead of {gold.unit}")
    slack = Fraction(0) if gold.integer else Fraction(tolerance) * (1 + Fraction(1, 10**9)) * abs(gold.value)
    if any(abs(value - gold.value) <= slack for value in values):
        return correct("equal number")
    return wrong("another number")


def _comparable(found: Quantity, gold: Quantity, problem: str) -> set[Fraction] | None:
    """Return the possible values of `found` in the gold's unit, or None.

    None: the units are of different dimensions.
    """
    mine, theirs = units.readings(found.unit), units.readings(gold.unit)
    share_mine, share_theirs = _is_share(mine), _is_share(theirs)
    if share_mine != share_theirs and (not found.unit or not gold.unit):
        if share_theirs:  # the gold is 50%: 50 or 0.5 may be written
            return {found.value, found.value * 100}
        percent = "%" in problem or "percent" in problem.casefold()
        return {found.value / 100, found.value} if percent else {found.value / 100}
    if not found.unit or not gold.unit:
        return {found.value}
    if mine and theirs:
        values = {found.value * one[1] / other[1] for one in mine for other in theirs if one[0] == other[0]}
        return values or None
    return {found.value} if not mine and not theirs and units.word(found.unit) == units.word(gold.unit) else None


def _is_share(readings: tuple[units.Unit, ...]) -> bool:
    return any(dimension == "share" for dimension, _ in readings)
