r"""Numeric answers: sign, currency, thousands, fractions, powers of ten, number words and units.

Values are exact fractions. An integer gold must be met exactly, any other within the relative tolerance. A unit
on one side only is ignored if it is one (`units`); two units must be of one dimension, whose factors are then applied.
x% is x/100 everywhere, may mean x beside a gold in percent, and is x where the problem asks for percent.
A text that needs a computation (`12 * 13`, `3!`, `2^5`) is no number, and neither is one with a rest that is not read.
"""

import math
import re
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from wethink.rewards.rules import numerals, units, vocabulary
from wethink.rewards.rules.normalize import balanced
from wethink.rewards.rules.numerals import NUMERAL, ORDINAL, SCALE
from wethink.rewards.verdict import Verdict, correct, wrong

MAX_POWER = 300  # largest power of ten

_CODES = "|".join(sorted(units.CURRENCY_CODES))
_SCALES = "|".join(sorted((name for name in SCALE if len(name) > 3), key=len, reverse=True))
_NUMBER = re.compile(
    r"(?P<about>(?:≈|~|∼|about|approximately|approx\.?|around|roughly) ?)?"
    r"(?P<sign>[-+]|(?:minus|negative) )? ?"
    rf"(?:(?P<currency>{units.CURRENCY_SIGNS})|(?P<code>{_CODES}) ?)? ?(?P<minus>-)?"
    r"(?:(?P<whole>[0-9]{1,12})(?: | and )(?P<top>[0-9]+) ?/ ?(?P<low>[0-9]+)|"
    r"(?:(?P<before>[0-9]{1,12}) ?)?\\frac\{ ?(?P<above>[-+]?[0-9.]+) ?\}\{ ?(?P<under>[-+]?[0-9.]+) ?\}|"
    rf"(?P<number>{NUMERAL})(?: ?/ ?(?P<below>-?{NUMERAL}))?)"
    r"(?:[eE](?P<e>[-+]?[0-9]{1,4})(?![0-9])| ?(?:×|x|\*|·) ?10 ?\^ ?\{?(?P<power>[-+]?[0-9]{1,4})\}?(?![0-9}]))?"
    rf"(?: ?(?P<scale>(?i:{_SCALES})|mln|mn|bn|tn)\b|(?P<letter>k|K|M|B|T)(?![\w/^%°]))?"
    r"(?P<gap> ?)(?P<unit>\S.{0,60})?",
)
_TEN_TO = re.compile(r"(?P<sign>-)? ?10 ?\^ ?\{?(?P<power>[-+]?[0-9]{1,4})\}?(?P<unit> .{1,40})?")
_OPENING = re.compile(
    r"(?:(?:一共|总共|共)?有?(?=[0-9])|there (?:is|are|were|was) (?:exactly |just )?|exactly |just "
    r"|(?:in )?(?:the )?(?:year )?(?=[0-9]{3,4}\b)|(?:no\. ?|no(?=[0-9])|number |# ?)(?=[0-9])|(?-i:pH) (?=[0-9]))",
    re.I,
)
_EACH = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>[^\s0-9,]{1,12})(?:,? and |(?<=[a-z]{4}), | )?")
_FEET = re.compile(r"(?P<feet>[0-9]{1,2}) ?(?:'|f(?:ee|oo)t) ?(?P<inches>[0-9]{1,2}(?:\.[0-9]+)?) ?(?:\"|'')?")
_UNIT = re.compile(r"[^\W\d_]|[-%‰°$€£¥₹'\"μΩ/^{}0-9·*() ]")
_REPEAT = re.compile(r"(?P<first>[^()]+?) ?\((?P<second>[^()]+)\)")


@dataclass(frozen=True)
class Quantity:
    """A number as written; `about`: marked as approximate.

    `rival` is another reading: `5K` is five thousand or five kelvin, "5 dozen" may be asked for in dozens; `decade`:
    written like `20s`.
    """

    value: Fraction
    unit: str = ""
    integer: bool = True
    about: bool = False
    rival: "Quantity | None" = None
    decade: bool = False


@lru_cache(maxsize=8192)
def read(text: str) -> Quantity | None:
    r"""Parse a whole text, normalised by `normalize.plain`, as a number with its unit.

    Returns:
        None if it is no number.

    >>> read("$1,234.50").value, read(r"\frac{1}{2} cm").unit, read("3 or 4"), read("twenty-one circles").value
    (Fraction(2469, 2), 'cm', None, Fraction(21, 1))
    """
    text = _stripped(text)
    if not text or len(text) > 500:
        return None
    if text[0].isalpha() and (found := _spoken(text)):
        return found
    text = _OPENING.sub("", text, count=1)
    for reader in (_ten_to, _repeating, _figure, _measures, _repeated, _chinese):
        found = reader(text)
        if found is not None:
            return found
    return None


def _stripped(text: str) -> str:
    """Strip final stops and brackets around one number; a comma in brackets separates items."""
    text = text.strip().rstrip(".").strip()
    while len(text) > 2 and text[0] + text[-1] in ("()", "[]", "{}") and balanced(text[1:-1]):
        if re.search("[,;]", text):
            return ""
        text = text[1:-1].strip()
    return text


def _ten_to(text: str) -> Quantity | None:
    match = _TEN_TO.fullmatch(text)
    power = int(match["power"]) if match else MAX_POWER + 1
    unit = _unit(match["unit"] or "", True) if match else None
    if match is None or abs(power) > MAX_POWER or unit is None:
        return None
    return Quantity(Fraction(10) ** power * (-1 if match["sign"] else 1), unit, integer=power >= 0)


def _repeating(text: str) -> Quantity | None:
    number = numerals.repeating(text.removeprefix("-"))
    return None if number is None else Quantity(-number if text[0] == "-" else number, integer=False)


def _figure(text: str) -> Quantity | None:
    text = numerals.parts(text)
    text = re.sub(r"^\(?(-?[0-9.]+)\)? ?/ ?\(?(-?[0-9.]+)\)?$", r"\1/\2", text)
    match = _NUMBER.fullmatch(text)
    number = _magnitude(match) if match else None
    if match is None or number is None:
        return None
    unit = _unit(match["unit"] or "", bool(match["gap"]) or bool(match["scale"]))
    year = 1000 <= number <= 2100
    decade = unit == "s" and not match["gap"] and (year or (number % 10 == 0 and number >= 20))
    if unit is None or (decade and year and number % 10 == 0):
        return None
    scaled = numerals.LETTERS.get(match["letter"] or "", 1) * SCALE.get((match["scale"] or "").casefold(), 1)
    value = number * scaled
    integer = not (match["whole"] or match["below"] or match["under"] or re.search(r"\.|^0,", match["number"] or ""))
    integer = (integer and not match["e"] and not match["power"]) or (scaled > 1 and value.denominator == 1)
    money = match["currency"] or match["code"] or ""
    if money and unit and not set(units.readings(money)) & set(units.readings(unit)):
        return None
    sign = -1 if ((match["sign"] or "").strip() in ("-", "minus", "negative")) != bool(match["minus"]) else 1
    if match["minus"] and (match["sign"] or not money):
        return None
    found = Quantity(sign * value, unit or money, integer, bool(match["about"]), decade=decade)
    if (match["letter"] or match["scale"]) and not unit:
        return replace(found, rival=replace(found, value=sign * number, unit=match["letter"] or match["scale"]))
    return found


def _magnitude(match: "re.Match[str]") -> Fraction | None:
    power = int(match["e"] or match["power"] or 0)
    try:
        if match["whole"]:
            value = int(match["whole"]) + Fraction(int(match["top"]), int(match["low"]))
        elif match["under"]:
            value = Fraction(match["above"]) / Fraction(match["under"])
            if match["before"] and value < 0:
                return None
            value += int(match["before"] or 0)
        else:
            value = numerals.value(match["number"])
            if match["below"]:
                below = match["below"]
                value /= numerals.value(below.removeprefix("-")) * (-1 if below[0] == "-" else 1)
    except (ValueError, ZeroDivisionError):
        return None
    return value * Fraction(10) ** power if abs(power) <= MAX_POWER else None


def _measures(text: str) -> Quantity | None:
    """Read a measure in two or three parts: `2 hours 30 minutes`, `5'3"`, `3°15'`."""
    if match := _FEET.fullmatch(text):
        return Quantity(Fraction(match["feet"]) + Fraction(match["inches"]) / 12, "ft")
    parts: list[tuple[Fraction, tuple[units.Unit, ...], str]] = []
    end, angle = 0, "°" in text or text.find(" degrees ") > 0
    while match := _EACH.match(text, end):
        name = match["unit"]
        if angle:
            name = {"'": "arcmin", "minutes": "arcmin", "min": "arcmin", '"': "arcsec", "''": "arcsec"}.get(name, name)
        elif name == "m" and parts and any(dimension == "time" for dimension, _ in parts[0][1]):
            name = "min"  # 2h30m
        elif name == "m" and not parts and re.fullmatch("[0-9]+ ?m ?[0-5]?[0-9] ?s", text):
            name = "min"
        parts.append((Fraction(match["number"]), units.readings(name), name))
        end = match.end()
    if end != len(text) or not 2 <= len(parts) <= 4 or not all(readings for _, readings, _ in parts):
        return None
    if "," in text and not any(dimension == "time" for dimension, _ in parts[0][1]):
        return None  # a list of two lengths
    for dimension, first in parts[0][1]:
        factors = [next((f for d, f in readings if d == dimension), None) for _, readings, _ in parts]
        if None in factors:
            continue
        known = [factor for factor in factors if factor is not None]
        if all(big > small for big, small in pairwise(known)):
            total = sum((n * factor / first for (n, _, _), factor in zip(parts, known, strict=True)), Fraction(0))
            return Quantity(total, parts[0][2])  # exact: the smaller part is no rounding
    return None


def _repeated(text: str) -> Quantity | None:
    """Read a number said twice, or with its unit in brackets: `7 (seven)`, `5 (cm)`."""
    match = _REPEAT.fullmatch(text)
    if match is None:
        return None
    first, second = read(match["first"]), read(match["second"])
    if first and second and (first.value, first.unit or second.unit) == (second.value, second.unit or first.unit):
        return first if first.unit else second
    unit = match["second"].strip()
    return replace(first, unit=unit) if first and not first.unit and units.readings(unit) else None


def _chinese(text: str) -> Quantity | None:
    text = re.sub("^(?:一共|总共|共)?有?", "", text)
    text = re.sub("^零下", "-", text)
    if mixed := re.fullmatch(r"(-?)([0-9]+)([万亿])([0-9]+)([千百])?(\D*)", text):  # 3万5千
        low = int(mixed[4]) * {"千": 1000, "百": 100}.get(mixed[5], 1)
        unit = _chinese_unit(mixed[6].strip())
        scale = numerals.HAN_SCALE[mixed[3]]
        if unit is None or low >= scale:
            return None
        return Quantity(Fraction((int(mixed[2]) * scale + low) * (-1 if mixed[1] else 1)), unit)
    match = re.fullmatch(
        rf"(?P<minus>[-负])?(?P<digits>{NUMERAL})? ?(?P<han>[{numerals.HAN}分之百半]*)(?P<unit>\D*)", text
    )
    if match is None or not (match["han"] or match["unit"]) or text.isascii():
        return None
    scale = 1
    if match["digits"]:
        if not set(match["han"]) <= numerals.HAN_SCALE.keys():
            return None
        scale = math.prod(numerals.HAN_SCALE[char] for char in match["han"])
        value: Fraction | None = numerals.value(match["digits"])
    else:
        value = numerals.han(match["han"])
    unit = _chinese_unit(match["unit"].strip())
    if value is None or unit is None:
        return None
    value *= scale * (-1 if match["minus"] else 1)
    if match["han"].startswith("百分之"):
        value, unit = value * 100, "%"
    return Quantity(value, unit, value.denominator == 1 and "." not in (match["digits"] or ""))


def _chinese_unit(text: str) -> str | None:
    if not text or units.readings(text):
        return text
    if text[0] in vocabulary.COUNTERS and all("\u4e00" <= char <= "\u9fff" for char in text[1:]) and len(text) < 8:
        return "" if not re.search("半|分|多|以|或|和|倍|打|百|千|万", text) else None
    return None


def _unit(text: str, spaced: bool) -> str | None:
    """Return the unit after a number, "" for none, or None if the text is no unit."""
    text = (text if text.strip().rstrip(".") in ("Rs",) else text.rstrip(".")).strip()
    if not text:
        return ""
    text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"\1/\2", text)
    if re.fullmatch(r"[ap]\.m|noon|midnight|AM|PM|Am|Pm", text) and not units.readings(text):
        return None
    if units.readings(text):
        return text
    if len(_UNIT.sub("", text)) or len(text.split()) > 6:
        return None
    if text[:1] in vocabulary.COUNTERS:
        return _chinese_unit(text)
    if text in ("AD", "CE", "A.D"):
        return ""
    if re.fullmatch(r"[ap]\.?m|noon|midnight", text.casefold()) or re.search("[α-ωΑ-Ω]", text):
        return None
    words = text.casefold().replace("-", " ").split()
    if (
        not spaced
        or len(words) > 4
        or re.fullmatch("[A-Za-z]", text)
        or not all(re.fullmatch(r"[^\W\d_'][^\W\d_'/]*(?:/[^\W\d_]+)?", one) for one in words)
    ):
        return None
    return text


def _spoken(text: str) -> Quantity | None:
    """Parse a number in words, e.g. "one hundred and five cars", "two thirds"."""
    said = text.casefold().rstrip(".").replace("-", " ").split()
    said = said[2:] if said[:1] == ["there"] and said[1:2] in (["is"], ["are"], ["were"], ["was"]) else said
    said = said[1:] if said[:1] in (["exactly"], ["just"]) else said
    negative = bool(said) and said[0] in ("minus", "negative") and len(said) > 1
    said = said[1:] if negative else said
    value, used = numerals.words(tuple(said[:40]))
    rest = said[used:]
    ordinal = any(word in ORDINAL and (word != "second" or "-second" in text.casefold()) for word in rest)
    if used == 0 or rest[:1] == ["of"] or ordinal:
        return None
    unit = _unit(" ".join(rest), spaced=True)
    if unit is None:
        return None
    return Quantity(-value if negative else value, unit, value.denominator == 1)


def is_hour(found: Quantity) -> bool:
    """Return whether a number of picometres may be an hour instead: `3 pm`."""
    return found.unit == "pm" and found.integer and 1 <= found.value <= 12


def is_trusted(gold: Quantity) -> bool:
    """Return whether a gold's unit is a unit or a noun, not a word that changes its number."""
    if not gold.unit or units.readings(gold.unit):
        return True
    titled = " " in gold.unit and gold.unit != gold.unit.casefold()  # `100 Years of Solitude`
    return not titled and not units.is_never(gold.unit)


def same(found: Quantity | None, gold: Quantity, problem: str, tolerance: float) -> Verdict:
    """Compare a number with the gold; `tolerance` is relative."""
    if found is None:
        return wrong("not a number")
    if found.rival and units.one_dimension(found.rival.unit, gold.unit):
        found = found.rival
    elif gold.rival and units.one_dimension(gold.rival.unit, found.unit):
        gold = gold.rival
    if found.about and gold.integer:
        return wrong("about, where the number is exact")
    values = _comparable(found, gold, problem)
    if values and found.rival and units.asks_for(problem, found.rival.unit):  # in dozens, in millions
        values |= {found.rival.value}
    if values is None:
        return wrong(f"unit {found.unit} instead of {gold.unit or 'none'}")
    slack = Fraction(0) if gold.integer else Fraction(tolerance) * (1 + Fraction(1, 10**9)) * abs(gold.value)
    if any(abs(value - gold.value) <= slack for value in values):
        return correct("equal number")
    return wrong("another number")


_DURATION = re.compile(r"\bseconds?\b|\bhow long\b|\btime\b|\bduration\b", re.IGNORECASE)


def _comparable(found: Quantity, gold: Quantity, problem: str) -> set[Fraction] | None:
    """Return the possible values of `found` in the gold's unit, or None.

    None: the units are of different dimensions, or the word after the number is no unit.
    """
    mine, theirs = units.readings(found.unit), units.readings(gold.unit)
    if found.decade and not any(d == "time" for d, _ in theirs) and not _DURATION.search(problem):
        return None
    if not gold.unit and (found.unit in ("K", "B", "T") or vocabulary.must_be_named(found.unit, problem)):
        return None  # 100 K may be thousands as well
    if not gold.unit and is_hour(found):
        return None
    if found.unit and not mine:
        same_word = bool(gold.unit) and not theirs and units.same_word(found.unit, gold.unit)
        if not same_word and (gold.unit or not units.is_counted(found.unit, problem)):
            return None
        return {found.value}
    share_mine, share_theirs = units.is_share(mine), units.is_share(theirs)
    if share_mine != share_theirs and (not found.unit or not gold.unit):
        scale = next((factor for dimension, factor in mine if dimension == "share"), Fraction(1))
        return _shares(found.value * scale, share_theirs, problem)
    if not found.unit or not gold.unit:
        return {found.value}
    return {found.value * one[1] / other[1] for one in mine for other in theirs if one[0] == other[0]} or None


def _shares(percent: Fraction, gold_is_share: bool, problem: str) -> set[Fraction]:
    if gold_is_share:  # the gold is 50%: 50 or 0.5 may be written
        return {percent, percent * 100}
    if "%" in problem or re.search(r"percent|per cent|百分", problem.casefold()):
        return {percent}  # the gold is in percent, too
    return {percent / 100}
