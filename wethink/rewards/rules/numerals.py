r"""Numerals: digits with thousands and decimal signs, number words of English, Chinese numerals, repeating decimals.

One rule for the comma and the point: a comma, blank or apostrophe before every group of exactly three digits, of which
the first group does not begin with 0, separates thousands (`12,345`; `12,34,567` as in India). A comma behind a single
0 is a decimal comma (`0,333`), and so is one behind thousands by points or blanks (`1.234,5`). A point is a decimal
point, unless it separates two or more groups (`1.234.567`). Any other comma separates the items of a list; only where
the gold is one number may an answer's `3,14` be 3.14, because no list can answer such a gold.
"""

import re
from fractions import Fraction
from functools import lru_cache

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
ONE = {word: value for value, word in enumerate(f"{_ONES} eighteen nineteen".split())}
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
TEN = {word: value for value, word in zip(range(20, 100, 10), _TENS, strict=True)}
SCALE = {"hundred": 100, "thousand": 10**3, "lakh": 10**5, "million": 10**6, "crore": 10**7, "billion": 10**9}
SCALE |= {"trillion": 10**12, "quadrillion": 10**15}
SCALE |= {f"{name}s": value for name, value in SCALE.items()} | {
    "mn": 10**6,
    "mln": 10**6,
    "bn": 10**9,
    "tn": 10**12,
    "dozen": 12,
    "dozens": 12,
}
LETTERS = {"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12, "mn": 10**6, "bn": 10**9}
PART = {"half": 2, "halves": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7}
PART |= {"eighth": 8, "ninth": 9, "tenth": 10, "twelfth": 12, "hundredth": 100, "thousandth": 1000}
ORDINAL = dict(
    zip(
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"],
        range(1, 12),
        strict=True,
    )
)
ORDINAL |= {"twelfth": 12, "thirteenth": 13, "fourteenth": 14, "fifteenth": 15, "sixteenth": 16, "seventeenth": 17}
ORDINAL |= {"eighteenth": 18, "nineteenth": 19, "hundredth": 100, "thousandth": 1000} | {
    f"{word[:-1]}ieth": value for word, value in TEN.items()
}
ORDINAL |= {f"{ten}-{one}": value + ORDINAL[one] for ten, value in TEN.items() for one in list(ORDINAL)[:9]}

NUMERAL = (
    r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]*)?|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]*)?"  # 1,234.5
    r"|[1-9][0-9]{0,2}(?: [0-9]{3})+(?:[.,][0-9]*)?|[1-9][0-9]{0,2}(?:'[0-9]{3})+(?:\.[0-9]*)?"  # 1 234.5 and 1'234.5
    r"|[1-9][0-9]{0,2}(?:\.[0-9]{3})+,[0-9]+|[1-9][0-9]{0,2}(?:\.[0-9]{3}){2,}|0,[0-9]+"  # 1.234,5 1.234.567 0,5
    r"|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
)
_REPEATING = re.compile(
    r"(?P<whole>[0-9]*)\.(?P<fixed>[0-9]*)"
    r"(?:\\(?:overline|bar|dot)\{(?P<a>[0-9]+)\}|\((?P<b>[0-9]+)\)|\\dot\{(?P<first>[0-9])\}(?P<rest>[0-9]*)\\dot\{(?P<last>[0-9])\})"
)
_AND_PART = re.compile(r"^(-?[0-9]{1,12}) and (a|one|two|three|four|five)[- ](half|third|quarter|fourth|fifth)s?\b")
_PARTS = re.compile(r"^(-?[0-9]{1,12})[ -](halve|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth)s$")
DECIMAL_COMMA = re.compile(r"(?<![0-9.,])(-?[0-9]+),([0-9]{1,2}|[0-9]{4,12})(?![0-9.,]|, ?[0-9])")

_HAN = {
    "零": 0,
    "〇": 0,
    "一": 1,
    "二": 2,
    "两": 2,
    "兩": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
}
_HAN_TENS = {"十": 10, "百": 100, "千": 1000}
HAN_SCALE = {"万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_FINANCIAL = str.maketrans("壹贰貳叁參肆伍陆陸柒捌玖拾佰仟", "一二二三三四五六六七八九十百千")
HAN = "壹贰貳叁參肆伍陆陸柒捌玖拾佰仟廿点" + "".join([*_HAN, *_HAN_TENS, *HAN_SCALE])


def value(numeral: str) -> Fraction:
    """Return the value of a text that `NUMERAL` matches.

    >>> [str(value(text)) for text in ("1,234.5", "1.234,5", "0,25", "1.234.567")]
    ['2469/2', '2469/2', '1/4', '1234567']
    """
    if re.fullmatch(r"[1-9][0-9]{0,2}(?:[. ][0-9]{3})+,[0-9]+|0,[0-9]+", numeral):
        numeral = numeral.replace(".", "").replace(" ", "").replace(",", ".")
    elif numeral.count(".") > 1:
        numeral = numeral.replace(".", "")
    digits = re.sub(r"[ ,']", "", numeral)
    return Fraction(digits + "0" if digits.endswith(".") else digits)


def parts(text: str) -> str:
    """Write parts in words behind figures as fractions.

    >>> parts("7 and a half"), parts("7 thirds"), parts("7 cm")
    ('7 1/2', '7/3', '7 cm')
    """
    text = _PARTS.sub(lambda match: f"{match[1]}/{PART.get(match[2], 2)}", text)
    return _AND_PART.sub(lambda match: f"{match[1]} {ONE.get(match[2], 1)}/{PART[match[3]]}", text)


def repeating(text: str) -> Fraction | None:
    r"""Read a repeating decimal.

    >>> repeating(r"0.1\overline{6}"), repeating("0.(3)")
    (Fraction(1, 6), Fraction(1, 3))
    """
    text = re.sub(r"((?:[0-9]\u0305)+)$", lambda match: rf"\overline{{{match[1].replace(chr(0x305), '')}}}", text)
    match = _REPEATING.fullmatch(re.sub(r"\\dot ?([0-9])", r"\\dot{\1}", text))
    if match is None or len(text) > 60:
        return None
    period, fixed = match["a"] or match["b"] or match["first"] + match["rest"] + match["last"], match["fixed"]
    whole = Fraction(match["whole"] or 0) + (Fraction(int(fixed), 10 ** len(fixed)) if fixed else 0)
    return whole + Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(fixed))


@lru_cache(maxsize=4096)
def words(text: tuple[str, ...]) -> tuple[Fraction, int]:
    """Read the number at the start of lower-case words; return it and how many words it has, 0 if none.

    >>> words(("one", "hundred", "and", "five", "cars")), words(("two", "thirds"))
    ((Fraction(105, 1), 4), (Fraction(2, 3), 2))
    """
    if text[:1] in (("a",), ("one",)) and text[1:2] == ("dozen",):
        return Fraction(12), 2
    if text[:1] in (("a",), ("an",)) and text[1:2] and text[1] in SCALE and len(text) == 2:
        return Fraction(SCALE[text[1]]), 2
    if text[:1] == ("half",):
        scaled = text[1:2] == ("a",) and text[2:3] and SCALE.get(text[2], 0)
        return (Fraction(scaled, 2), 3) if scaled else (Fraction(1, 2), 1)
    total, used, limit = 0, 0, 10**18
    while used < len(text):
        skip = 1 if used and text[used] == "and" else 0
        number, taken = _below_thousand(text[used + skip :])
        if taken == 0:
            break
        word = text[used + skip + taken] if used + skip + taken < len(text) else ""
        scale = SCALE.get(word, 1) if word not in ("hundred", "hundreds") or number < 100 else 1
        if scale >= limit or (scale == 1 and limit == 1):
            return Fraction(0), 0
        used += skip + taken + (scale > 1)
        total, limit = total + number * scale, scale
        if scale == 1:
            break
    part = _part(text[used:]) if used and total < 20 else None
    if part and total:
        return Fraction(total, part), used + 1
    if text[:1] == ("a",) and (part := _part(text[1:])):
        return Fraction(1, part), 2
    if used and text[used : used + 1] == ("and",):
        if text[used + 1 : used + 3] in (("a", "half"), ("one", "half")):
            return total + Fraction(1, 2), used + 3
        fraction, taken = words(text[used + 1 :]) if len(text) - used <= 4 else (Fraction(0), 0)
        if taken and 0 < fraction < 1:
            return total + fraction, used + 1 + taken
    if used and text[used : used + 1] == ("point",):
        digits = [ONE[one] for one in text[used + 1 :] if one in ONE and ONE[one] < 10]
        if digits and used + 1 + len(digits) == len(text):
            return total + Fraction(int("".join(map(str, digits))), 10 ** len(digits)), len(text)
    return Fraction(total), used


def _part(text: tuple[str, ...]) -> int | None:
    return (PART.get(text[0]) or PART.get(text[0].removesuffix("s"))) if text else None


def _below_thousand(text: tuple[str, ...]) -> tuple[int, int]:
    number, used = 0, 0
    if len(text) > 1 and text[1] == "hundred" and 0 < ONE.get(text[0], 0) < 10:
        number, used = 100 * ONE[text[0]], 2
        if text[2:3] == ("and",) and len(text) > 3 and (text[3] in ONE or text[3] in TEN):
            used = 3
    rest = text[used:]
    if rest and rest[0] in TEN:
        number, used = number + TEN[rest[0]], used + 1
        if len(rest) > 1 and 0 < ONE.get(rest[1], 0) < 10:
            number, used = number + ONE[rest[1]], used + 1
    elif rest and rest[0] in ONE and (used == 0 or ONE[rest[0]]):
        number, used = number + ONE[rest[0]], used + 1
    return number, used


def han(text: str) -> Fraction | None:
    """Read a Chinese numeral.

    >>> str(han("十二")), str(han("三百零五")), str(han("五分之三")), str(han("百分之五")), han("二人")
    ('12', '305', '3/5', '1/20', None)
    """
    if not text or len(text) > 20:
        return None
    text = text.translate(_FINANCIAL)
    if text == "半":
        return Fraction(1, 2)
    below, divided, above = text.partition("分之")
    if divided:
        top, low = han(above), Fraction(100) if below == "百" else han(below)
        return top / low if top is not None and low else None
    if text.startswith("负"):
        number = han(text[1:])
        return None if number is None else -number
    whole, point, decimals = text.partition("点")
    if point:
        number = han(whole)
        if number is None or not decimals or any(char not in _HAN for char in decimals):
            return None
        return number + Fraction(int("".join(str(_HAN[char]) for char in decimals)), 10 ** len(decimals))
    text = text.replace("廿", "二十")
    if any(char not in HAN for char in text):
        return None
    if len(text) > 1 and all(char in _HAN for char in text):  # 二〇二四: digits
        return Fraction(int("".join(str(_HAN[char]) for char in text)))
    total, section, digit = 0, 0, None
    for char in text:
        if char in _HAN:
            if digit:
                return None
            digit = _HAN[char]
        elif char in _HAN_TENS:
            section += (1 if digit is None else digit) * _HAN_TENS[char]
            digit = None
        else:
            total = (total + section + (digit or 0)) * HAN_SCALE[char]
            section, digit = 0, None
    return Fraction(total + section + (digit or 0))
