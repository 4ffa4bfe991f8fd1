# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of plain numbers: counts, thousands, decimals, fractions, percentages, powers of ten, scale words, words, bases."""

import random
from fractions import Fraction
from typing import Any

from benchmarks.rewards.values.kinds import Kind, Trap, magnitude, shifted

ONES = [
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
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
]
ONES += ["seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]


def spoken(n: int) -> str:
    """Write a number below a million in English words."""
    if n >= 1000:
        rest = f" {spoken(n % 1000)}" if n % 1000 else ""
        return f"{spoken(n // 1000)} thousand{rest}"
    if n >= 100:
        rest = f" and {spoken(n % 100)}" if n % 100 else ""
        return f"{ONES[n // 100]} hundred{rest}"
    if n < 20:
        return ONES[n]
    return TENS[n // 10 - 2] + (f"-{ONES[n % 10]}" if n % 10 else "")


def count_traps(n: int, rng: random.Random) -> list[Trap]:
    return [
        (f"{n} squared", n * n),
        (f"{n} cubed", n**3),
        (f"{n} millions", n * 10**6),
        (f"{n} thousands", n * 1000),
        (f"{n} dozens", n * 12),
        (f"{n} dozen", n * 12),
        (f"{n} hundredths", Fraction(n, 100)),
        (f"{n} thirds", Fraction(n, 3)),
        (f"{n} factorial", "factorial"),
        (f"{n} or {n + 1}", "two answers"),
        (f"{n} to the power of 4", n**4),
        (f"{n} below zero", -n),
        (f"twice {n}", 2 * n),
        (f"half of {n}", Fraction(n, 2)),
        (f"more than {n}", "a bound"),
        (f"the {n}th", "an ordinal"),
        (f"{n}%", Fraction(n, 100)),
        (f"{n}^2", n * n),
        (f"{spoken(n)} hundred", n * 100),
        (f"{spoken(n)} dozen", n * 12),
        (f"{n}万", n * 10**4),
    ]


def years(n: int, rng: random.Random) -> list[Trap]:
    decade = n - n % 10
    return [
        (f"{n}s" if n == decade else f"the {decade}s", "a decade"),
        (f"{n} BC", -n),
        (f"after {n}", "a bound"),
        (f"{n} or {n + 1}", "two answers"),
        (f"circa {n + 30}", n + 30),
        (f"{n}-{n + 5}", "a span"),
    ]


def group_traps(n: int, rng: random.Random) -> list[Trap]:
    text = f"{n:,}"
    return [
        (text[:-1], "a broken group"),
        (text + "0", "a broken group"),
        (f"{n:,},000", n * 1000),
        (rf"{n * 10:,}".replace(",", r",\!"), n * 10),
    ]


def fraction(value: Fraction, rng: random.Random) -> str:
    """Write a fraction in a dialect of LaTeX or plainly; an integer stays one."""
    a, b = abs(value.numerator), value.denominator
    sign = "-" if value < 0 else ""
    if b == 1:
        return f"{sign}{a}"
    forms = [
        rf"\frac{{{a}}}{{{b}}}",
        rf"\dfrac{{{a}}}{{{b}}}",
        rf"\tfrac{{{a}}}{{{b}}}",
        f"{a}/{b}",
        rf"\cfrac{{{a}}}{{{b}}}",
    ]
    forms += [rf"{{{a} \over {b}}}", rf"\frac{{ {a} }}{{ {b} }}", rf"\frac{{{a}}} {{{b}}}"]
    forms += [rf"\frac{a}{b}", rf"\frac {a}{b}", rf"\frac{a}{{{b}}}", rf"\frac{{{a}}}{b}"] if a < 10 and b < 10 else []
    return sign + rng.choice(forms)


def signed_fraction(value: Fraction, rng: random.Random) -> str:
    a, b = value.numerator, value.denominator
    return rng.choice([rf"\frac{{{-a}}}{{{-b}}}", rf"\frac{{{2 * a}}}{{{2 * b}}}", f"{3 * a}/{3 * b}", f"({a})/({b})"])


def plain_fraction(value: Fraction, rng: random.Random) -> str:
    return rng.choice([f"{value}", rf"\frac{{{value.numerator}}}{{{value.denominator}}}"])


def draw_fraction(rng: random.Random) -> Fraction:
    while True:
        value = Fraction(rng.choice((-1, 1, 1)) * rng.randint(1, 40), rng.randint(2, 25))
        if value.denominator > 1:
            return value


def near_fraction(value: Fraction, rng: random.Random) -> Fraction:
    a, b = value.numerator, value.denominator
    others = {Fraction(b, a), -value, Fraction(a + 1, b), Fraction(a, b + 1), value + 1, value * 10, Fraction(a - 1, b)}
    return rng.choice(sorted(other for other in others if apart(other, value)))


def apart(other: Fraction, value: Fraction) -> bool:
    return abs(other - value) > abs(value) / 100


def decimal(value: Fraction) -> str:
    text = f"{float(value):.6f}".rstrip("0")
    return text + "0" if text.endswith(".") else text


def draw_decimal(rng: random.Random) -> Fraction:
    return Fraction(
        rng.choice((-1, 1, 1, 1)) * (rng.randint(1, 99999) * 10 + rng.randint(1, 9)), 10 ** rng.randint(2, 4)
    )


def near_decimal(value: Fraction, rng: random.Random) -> Fraction:
    others = [
        -value,
        value * 10,
        value / 10,
        value * 100,
        value + rng.choice((-1, 1)) * max(Fraction(1), abs(value) / 9),
    ]
    return rng.choice([other for other in others if apart(other, value)])


def mixed(value: Fraction, rng: random.Random) -> str:
    whole, part = divmod(abs(value), 1)
    sign = "-" if value < 0 else ""
    a, b = part.numerator, part.denominator
    if a == 0:
        return f"{sign}{whole}"
    return sign + rng.choice(
        [
            f"{whole} {a}/{b}",
            rf"{whole}\frac{{{a}}}{{{b}}}",
            rf"{whole} \frac{{{a}}}{{{b}}}",
            rf"{whole}\dfrac{{{a}}}{{{b}}}",
        ]
    )


def draw_mixed(rng: random.Random) -> Fraction:
    return rng.randint(1, 12) + Fraction(rng.randint(1, 6), 7)


def near_mixed(value: Fraction, rng: random.Random) -> Fraction:
    whole, part = divmod(value, 1)
    return rng.choice(
        [
            value + 1,
            part,
            whole * part,
            1 + whole - part if part != Fraction(1, 2) else value + 2,
            value + Fraction(1, 3),
        ]
    )


def whole(*templates: str) -> Any:
    return tuple(
        lambda n, rng, t=template: t.format(n=n, commas=f"{n:,}", words=spoken(abs(n))) for template in templates
    )


def in_words(n: int, rng: random.Random) -> str:
    return f"{rng.choice(('minus', 'negative'))} {spoken(-n)}" if n < 0 else str(n).replace("-", "−")


NUMBERS = (
    Kind(
        "counts", "How many circles are there?", lambda rng: rng.randint(3, 89), shifted(0, 999),
        whole("{n}", "{words}", "{n} circles", "There are {n} circles.", "{n} ({words})", "#{n}", "No. {n}", r"\text{{{n}}}", "{n} in total"),
        count_traps, golds=2, number=magnitude,
    ),
    Kind("years", "In which year was it built?", lambda rng: rng.choice((rng.randint(1100, 2020), rng.randint(110, 202) * 10)), shifted(1000, 2999),
         whole("{n}", "in {n}", "{n}.", "the year {n}", "In {n}.", "{n} AD"), years, golds=1, number=magnitude),
    Kind(
        "thousands", "How many people live there?", lambda rng: rng.randint(1000, 9 * 10 ** rng.randint(4, 9)), shifted(1, 10**12),
        (
            *whole("{n}", "{commas}", "{commas} people", "{n} people"),
            *(lambda n, rng, s=s: f"{n:,}".replace(",", s) for s in (r",\!", "{,}", r"\,", " ", "\u2009", r"{,}\!", "\u202f", r"\;")),
            *(lambda n, rng, s=s: f"${n:,}$".replace(",", s) for s in (r",\!", "{,}", r"\,", ",")),
        ),
        group_traps, golds=5, number=magnitude,
    ),
    Kind("negative integers", "What is the value?", lambda rng: -rng.randint(2, 999), shifted(-9999, 9999),
         (*whole("{n}", "{n}.0", "x = {n}", "$x={n}$", "{n}.00"), in_words),          golds=1, number=magnitude),
    Kind("decimals", "What is the value of the needle?", draw_decimal, near_decimal,
         (lambda v, rng: decimal(v), lambda v, rng: decimal(v), lambda v, rng: decimal(v) + "0", lambda v, rng: f"x = {decimal(v)}",
          lambda v, rng: decimal(v).replace("0.", ".", 1) if abs(v) < 1 else decimal(v), lambda v, rng: plain_fraction(v, rng)),
         golds=2, number=magnitude, maths=True),
    Kind("decimal commas", "What is the value of the needle?", lambda rng: Fraction(rng.randint(1, 9), 10) + Fraction(rng.randint(1, 99), 1000), near_decimal,
         (lambda v, rng: decimal(v), lambda v, rng: decimal(v).replace(".", ","), lambda v, rng: decimal(v).replace(".", "{,}")),
         lambda v, rng: [(decimal(v).removeprefix("0."), v * 1000), (decimal(v).replace(".", ",") + ",000", "a broken group")] if decimal(v)[:2] == "0." and len(decimal(v)) == 5 else [],
         golds=2, number=magnitude),
    Kind("fractions", "Which part is it?", draw_fraction, near_fraction, (plain_fraction, fraction, fraction, fraction, signed_fraction), golds=2, number=magnitude, maths=True),
    Kind("mixed numbers", "How far is it, in miles?", draw_mixed, near_mixed, (mixed, plain_fraction, fraction), golds=2, number=magnitude, maths=True),
    Kind("numbers in words", "How many are there?", lambda rng: rng.randint(21, 99999), shifted(1, 999999), whole("{words}", "{n}", "{commas}", "{n}.0"), golds=2, number=magnitude),
)  # fmt: skip
