# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of durations, heights, dates, times of day and ordinals."""

import random
from datetime import date, timedelta
from typing import Any

from benchmarks.rewards.values.kinds import Kind, Trap
from benchmarks.rewards.values.plain_numbers import ONES, TENS


def duration(minutes: int, rng: random.Random) -> str:
    h, m = divmod(minutes, 60)
    forms = [
        f"{h} h {m} min",
        f"{h} hours and {m} minutes",
        f"{minutes} minutes",
        f"{h}h {m}min",
        f"{h} hr {m} min",
        f"{h} hours, {m} minutes",
        f"{minutes} min",
        f"{h}h{m}m",
    ]
    return rng.choice([*forms, f"{minutes / 60:g} hours"] if minutes % 15 == 0 else forms)


def duration_traps(minutes: int, rng: random.Random) -> list[Trap]:
    h, m = divmod(minutes, 60)
    return [
        (f"{h}.{m} hours", "a decimal"),
        (f"{h} hours", "a part"),
        (f"{m} minutes", "a part"),
        (f"{m} hours {h + 1} minutes", "swapped"),
        (f"{h} min {m} s", "other units"),
    ]


def height(inches: int, rng: random.Random) -> str:
    f, i = divmod(inches, 12)
    return rng.choice(
        [
            f"{f}'{i}\"",
            f"{f} feet {i} inches",
            f"{f}′{i}″",
            f"{inches} inches",
            f"{f}ft {i}in",
            f"{f} ft {i} in",
            f"{f}' {i}\"",
            f"{inches} in",
            f"{f} feet and {i} inches",
        ]
    )


def height_traps(inches: int, rng: random.Random) -> list[Trap]:
    f, i = divmod(inches, 12)
    return [
        (f"{f}.{i:02} ft" if i < 10 else f"{f}.{i} m", "a decimal"),
        (f"{f} ft", "a part"),
        (f"{i} in", "a part"),
        (f"{f} ft {i} cm", "another unit"),
        (f"{i} ft {f + 12} in", "swapped"),
    ]


def ordinal(n: int) -> str:
    return f"{n}" + ("th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th"))


ODD = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}


def ordinal_word(n: int) -> str:
    if n < 20:
        return ODD.get(ONES[n], ONES[n] + "th")
    tens = TENS[n // 10 - 2]
    return f"{tens[:-1]}ieth" if n % 10 == 0 else f"{tens}-{ordinal_word(n % 10)}"


def day_text(day: date, rng: random.Random) -> str:
    month, short = day.strftime("%B"), day.strftime("%b")
    forms = [
        day.isoformat(),
        f"{month} {day.day}, {day.year}",
        f"{day.day} {month} {day.year}",
        f"{short} {day.day}, {day.year}",
        f"{month} {ordinal(day.day)}, {day.year}",
    ]
    return rng.choice(
        [
            *forms,
            f"the {ordinal(day.day)} of {month} {day.year}",
            f"{day:%A}, {month} {day.day}, {day.year}",
            f"{day:%Y/%m/%d}",
            f"{day.day:02} {month} {day.year}",
        ]
    )


def near_day(day: date, rng: random.Random) -> date:
    return rng.choice(
        [
            day + timedelta(days=rng.choice((-30, -1, 1, 10, 365))),
            date(day.year + 1, day.month, 1 if day.day > 28 else day.day),
        ]
    )


def day_traps(day: date, rng: random.Random) -> list[Trap]:
    month = day.strftime("%B")
    return [
        (f"{month} {day.year}", "a month"),
        (f"{month} {day.day}", "no year"),
        (str(day.year), "a year"),
        (f"before {day.isoformat()}", "a bound"),
        (f"{month} 32, {day.year}", "no day"),
    ]


def clock(minutes: int, rng: random.Random) -> str:
    h, m = divmod(minutes, 60)
    half, twelve = ("AM" if h < 12 else "PM"), (h % 12 or 12)
    forms = [
        f"{twelve}:{m:02} {half}",
        f"{twelve}:{m:02}{half.lower()}",
        f"{twelve}:{m:02} {half[0].lower()}.m.",
        f"{twelve:02}:{m:02} {half}",
    ]
    forms += [f"{h}:{m:02}", f"{h:02}:{m:02}"] if h > 12 else []
    return rng.choice([*forms, f"{twelve} {half}", f"{twelve}{half.lower()}"] if m == 0 else forms)


def clock_gold(minutes: int, rng: random.Random) -> str:
    h, m = divmod(minutes, 60)
    return f"{h % 12 or 12}:{m:02} {'AM' if h < 12 else 'PM'}"


def draw_clock(rng: random.Random) -> int:
    return rng.randint(1, 23) * 60 + rng.choice((0, 0, 5, 15, 20, 30, 45, 50))


def near_clock(minutes: int, rng: random.Random) -> int:
    others = {(minutes + step) % 1440 for step in (5, -10, 60, -60, 720)}
    return rng.choice(sorted(other for other in others if other >= 60))


def clock_traps(minutes: int, rng: random.Random) -> list[Trap]:
    h, m = divmod(minutes, 60)
    return [
        (f"{m}:{h:02} AM" if 0 < m < 12 and m != h else f"{h % 12 or 12} hours", "swapped"),
        (f"before {clock_gold(minutes, rng)}", "a bound"),
        (f"{clock_gold(minutes, rng)} or {h}:59", "two answers"),
    ]


def positive(value: Any) -> float:
    return float(value)


TIMES = (
    Kind("durations", "How long did it take?", lambda rng: rng.randint(1, 5) * 60 + rng.choice((5, 10, 15, 20, 30, 45, 50)), lambda v, rng: v + rng.choice((-60, 60, 15, 5, -5)),
         (lambda v, rng: f"{v // 60} hours {v % 60} minutes", duration, duration), duration_traps, golds=2, number=positive),
    Kind("heights", "How tall is she?", lambda rng: rng.randint(4, 7) * 12 + rng.randint(1, 11), lambda v, rng: v + rng.choice((-12, 12, 1, -2, 5)),
         (lambda v, rng: f"{v // 12} ft {v % 12} in", height, height), height_traps, golds=2, number=positive),
    Kind("dates", "On which date was it opened?", lambda rng: date(1800, 1, 1) + timedelta(days=rng.randint(0, 80000)), near_day, (lambda v, rng: v.isoformat(), day_text, day_text), day_traps, golds=2),
    Kind("times", "What time is it?", draw_clock, near_clock, (clock_gold, clock, clock), clock_traps, golds=2),
    Kind("ordinals", "On which floor is it?", lambda rng: rng.randint(2, 59), lambda v, rng: v + rng.choice((1, -1, 10, 20)),
         (lambda v, rng: ordinal(v), lambda v, rng: ordinal_word(v), lambda v, rng: f"the {ordinal(v)}", lambda v, rng: ordinal_word(v).capitalize(), lambda v, rng: f"the {ordinal_word(v)}"),
         lambda v, rng: [(f"{ordinal(v)} or {ordinal(v + 1)}", "two answers"), (f"not the {ordinal(v)}", "a negation"), (f"1/{v}", "a part")], golds=2, number=positive),
)  # fmt: skip
