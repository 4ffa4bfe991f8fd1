"""Dates and clock times: their readers and their comparison.

A numeric date with slashes is month first, unless that is no valid date; with dots it is day first.
"""

import re
from datetime import date
from functools import lru_cache

from wethink.rewards.verdict import Verdict, correct, wrong

Day = tuple[int | None, int, int | None]  # year, month, day; None if absent

_MONTHS: tuple[str, ...] = ("january", "february", "march", "april", "may", "june", "july")
_MONTHS += ("august", "september", "october", "november", "december")
_MONTH_OF = {name: number for number, name in enumerate(_MONTHS, 1)}
_MONTH_OF |= {name[:3]: number for number, name in enumerate(_MONTHS, 1)} | {"sept": 9}
_OTHERS = (  # of German, French and Spanish
    "januar|janvier|enero februar|février|febrero märz|mars|marzo avril|abril mai|mayo juni|juin|junio "
    "juli|juillet|julio août|agosto septembre|septiembre oktober|octobre|octubre novembre|noviembre "
    "dezember|décembre|diciembre"
)
_MONTH_OF |= {name: number for number, names in enumerate(_OTHERS.split(), 1) for name in names.split("|")}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTH_OF, key=len, reverse=True))})\.?"
_DAY = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th|er|\.)?"
_YEAR = r"(?P<year>[0-9]{4})"
_OPENING = rf"(?:on |in )?(?:(?P<weekday>{'|'.join(_WEEKDAYS)}),? )?(?:the )?"
_WRITTEN = [
    re.compile(_OPENING + form)
    for form in (
        rf"{_DAY}[ -](?:of |de )?{_MONTH}(?:,? |-| de ){_YEAR}",
        rf"{_MONTH} {_DAY},? {_YEAR}",
        rf"{_MONTH},? (?:of )?{_YEAR}",
        rf"{_DAY} (?:of |de )?{_MONTH}",
        rf"{_MONTH} {_DAY}",
    )
]
_ISO = re.compile(r"([0-9]{4})([-/.])([0-9]{1,2})\2([0-9]{1,2})")
_HAN = re.compile(r"(?:([0-9]{4}) ?年 ?)?([0-9]{1,2}) ?月(?: ?([0-9]{1,2}) ?[日号])?")
_ISO_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
_NUMERIC = re.compile(r"([0-9]{1,2})([-/.])([0-9]{1,2})\2([0-9]{4})")
_CLOCK = re.compile(
    r"(?:[aA]t )?([0-9]{1,2})(?::([0-5][0-9]))?(?::([0-5][0-9]))?"
    r"(?: ?(am|pm|AM|PM|a\.m|p\.m|A\.M|P\.M)| ([oO]'[cC]lock))?\.?"
)

_MILITARY = re.compile(r"^([01][0-9]|2[0-3])(?:([0-5][0-9]) ?(?:h|hours|hrs)| ?h ?([0-5][0-9]))$", re.IGNORECASE)
_HOUR_NAMES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_HOURS = {word: hour for hour, word in enumerate(_HOUR_NAMES, 1)}
_MINUTES = {"quarter": 15, "half": 30, "five": 5, "ten": 10, "twenty": 20, "twenty-five": 25}
_PAST = re.compile(
    rf"(?:at |a )?(?P<minutes>{'|'.join(_MINUTES)}|[0-9]{{1,2}})(?: minutes?)? (?P<sign>past|to|before|after) "
    rf"(?P<hour>{'|'.join(_HOURS)}|1[0-2]|[1-9])(?: o'clock)?(?P<half> ?[ap]\.?m)?"
)
_SPOKEN = {"noon": "12 pm", "midday": "12 pm", "midnight": "12 am"}
_ASKS_TIME = re.compile(r"\btime\b|\bpast\b|\bto\b|\bclock\b|\bwhen\b|o'clock|几点|时间", re.IGNORECASE)


@lru_cache(maxsize=4096)
def read_date(text: str) -> Day | None:
    """Parse a whole text as a date; None if it is none.

    >>> read_date("Tuesday, March 5th, 2024"), read_date("5 March"), read_date("2024-03"), read_date("March 35")
    ((2024, 3, 5), (None, 3, 5), (2024, 3, None), None)
    """
    text = re.sub(r"(?<=[0-9]{4}) (?:ad|ce)$|^(?:am|le|el) (?=[0-9])", "", text.casefold().rstrip("."))
    if found := _HAN.fullmatch(text):
        return _real(int(found[1]) if found[1] else None, int(found[2]), int(found[3]) if found[3] else None)
    if len(text) > 50:
        return None
    if found := _ISO.fullmatch(text):
        return _real(int(found[1]), int(found[3]), int(found[4]))
    if found := _ISO_MONTH.fullmatch(text):
        return int(found[1]), int(found[2]), None
    if found := _NUMERIC.fullmatch(text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        if found[2] == ".":
            return _real(year, second, first)
        return _real(year, first, second) or _real(year, second, first)
    for pattern in _WRITTEN:
        if found := pattern.fullmatch(text):
            parts = found.groupdict()
            said, day = (int(parts[name]) if parts.get(name) else None for name in ("year", "day"))
            return _real(said, _MONTH_OF[parts["month"]], day, parts["weekday"])
    return None


def _real(year: int | None, month: int, day: int | None, weekday: str | None = None) -> Day | None:
    try:
        on = date(year or 2000, month, day or 1)  # 2000 had a 29 February
    except ValueError:
        return None
    if weekday and (year is None or day is None or _WEEKDAYS[on.weekday()] != weekday):
        return None
    return year, month, day


@lru_cache(maxsize=4096)
def read_clock(text: str) -> frozenset[int] | None:
    """Parse a clock time to its possible seconds since midnight; None if it is none.

    Without am or pm a time may have two readings.

    >>> sorted(read_clock("3:45 pm")), sorted(read_clock("7 o'clock")), read_clock("15:45 am")
    ([56700], [25200, 68400], None)
    """
    text = _SPOKEN.get(text.casefold(), text)
    text = re.sub(r"^(12(?::00)?) (noon|midnight)$", lambda match: "12 pm" if match[2] == "noon" else "12 am", text)
    text = _MILITARY.sub(lambda match: f"{match[1]}:{match[2] or match[3]}", text)
    text = _spoken(text) or text
    found = _CLOCK.fullmatch(text) if len(text) < 20 else None
    if found is None or not (found[2] or found[4] or found[5]):
        return None
    hour, minute, second = int(found[1]), int(found[2] or 0), int(found[3] or 0)
    half = (found[4] or "").casefold()[:1]
    if hour > 23 or (half and not 1 <= hour <= 12) or (found[3] and not found[2]):
        return None
    hours = (
        {hour % 12 + (12 if half == "p" else 0)}
        if half
        else {hour}
        if hour in (0, *range(13, 24)) or found[1].startswith("0")
        else {hour % 12, hour % 12 + 12}
    )
    return frozenset(3600 * each + 60 * minute + second for each in hours)


def verify_date(answer: str, gold: str) -> Verdict:
    """Compare an answer with a gold that `read_date` reads."""
    return correct("the same date") if read_date(answer) == read_date(gold) else wrong("another date, or none")


def verify_time(answer: str, gold: str, problem: str) -> Verdict:
    """Compare an answer with a gold that `read_clock` reads.

    A gold that may be a ratio needs the same hour, unless the problem asks for a time.
    """
    mine, wanted = read_clock(answer), read_clock(gold)
    if mine is None or wanted is None or not mine <= wanted:
        return wrong("another time, or none")
    shown = re.match("[0-9]+", answer), re.match("[0-9]+", gold)
    may_be_ratio = len(wanted) > 1 and not _ASKS_TIME.search(problem + answer + gold)
    if may_be_ratio and shown[0] and shown[1] and int(shown[0].group()) != int(shown[1].group()):
        return wrong("another hour, and nobody asked for a time")
    return correct("the same time")


def _spoken(text: str) -> str | None:
    """Write "quarter to eight" in figures: `7:45`."""
    match = _PAST.fullmatch(text.casefold())
    if match is None:
        return None
    minutes = _MINUTES.get(match["minutes"]) or int(match["minutes"])
    hour = _HOURS.get(match["hour"]) or int(match["hour"])
    back = match["sign"] in ("to", "before")
    if not 0 < minutes < 60 or (back and minutes == 30):
        return None
    if back:
        minutes, hour = 60 - minutes, hour - 1 or 12
    if back and hour == 11 and match["half"]:
        return None  # `quarter to twelve pm` has no clear half of the day
    return f"{hour}:{minutes:02}{match['half'] or ''}"
