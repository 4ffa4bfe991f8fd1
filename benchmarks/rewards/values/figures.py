# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of numbers in scientific notation, with scale words, in other bases and as percentages."""

import random
from fractions import Fraction

from benchmarks.rewards.values.kinds import Kind, Trap, magnitude, shifted
from benchmarks.rewards.values.plain_numbers import whole


def scientific(value: tuple[int, int], rng: random.Random) -> str:
    digits, power = value
    shown = f"{digits / 100:g}"
    times = rng.choice((r"\times", r"\cdot", "×", "x", "*", "·"))
    return rng.choice(
        [
            rf"{shown} {times} 10^{{{power}}}",
            f"{shown}e{power}",
            f"{shown}E{power:+d}",
            rf"{shown}{times} 10^{{{power}}}",
        ]
    )


def scientific_gold(value: tuple[int, int], rng: random.Random) -> str:
    return rf"{value[0] / 100:g} \times 10^{{{value[1]}}}"


def near_scientific(value: tuple[int, int], rng: random.Random) -> tuple[int, int]:
    digits, power = value
    others = [
        (digits, power + 1),
        (digits, power - 1),
        (digits, -power),
        (1000 - digits + 17, power),
        (digits + 111, power),
    ]
    return rng.choice(
        [one for one in others if one[1] != power or (abs(one[0] - digits) > digits / 50 and one[0] < 1000)]
    )


def scientific_traps(value: tuple[int, int], rng: random.Random) -> list[Trap]:
    shown, power = f"{value[0] / 100:g}", value[1]
    return [
        (shown, "no power"),
        (rf"{shown} + 10^{{{power}}}", "a sum"),
        (rf"{shown} \times {abs(power)}^{{10}}", "swapped"),
    ]


SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


LETTER = {"thousand": "K", "million": "M", "billion": "B", "trillion": "T"}


def scaled(value: tuple[Fraction, str], rng: random.Random) -> str:
    figure, word = value
    exact = int(figure * SCALES[word])
    shown = f"{float(figure):g}"
    return rng.choice(
        [f"{shown}{LETTER[word]}", f"{exact:,}", str(exact), f"{shown} {word}", f"{shown} {word.title()}"]
    )


def near_scaled(value: tuple[Fraction, str], rng: random.Random) -> tuple[Fraction, str]:
    figure, word = value
    return rng.choice([(figure + 1, word), (figure * 10, word), (figure, rng.choice([w for w in SCALES if w != word]))])


def scale_traps(value: tuple[Fraction, str], rng: random.Random) -> list[Trap]:
    figure, word = value
    shown = f"{float(figure):g}"
    return [
        (shown, figure),
        (f"{shown} {word} {word}", "twice"),
        (f"less than {shown} {word}", "a bound"),
        (f"{shown} {word}th", "a part"),
    ]


def based(value: tuple[int, int], rng: random.Random) -> str:
    digits, base = _digits(*value), value[1]
    return rng.choice(
        [
            f"{digits}_{base}",
            f"{digits}_{{{base}}}",
            rf"{digits}_{{\text{{{base}}}}}",
            f"({digits})_{base}",
            f"({digits})_{{{base}}}",
        ]
    )


def _digits(n: int, base: int) -> str:
    return (_digits(n // base, base) if n >= base else "") + str(n % base)


def based_gold(value: tuple[int, int], rng: random.Random) -> str:
    return f"{_digits(*value)}_{value[1]}"


def draw_based(rng: random.Random) -> tuple[int, int]:
    return rng.randint(30, 3000), rng.randint(3, 9)


def near_based(value: tuple[int, int], rng: random.Random) -> tuple[int, int]:
    n, base = value
    return rng.choice([(n + 1, base), (n - 1, base), (n + base, base), (n + base * base, base)])


def base_traps(value: tuple[int, int], rng: random.Random) -> list[Trap]:
    digits, base = based_gold(value, rng).split("_")
    return [
        (f"{digits}{base}", int(digits + base)),
        (f"{digits}^{base}", "a power"),
        (f"{digits}_{{1{base}}}", "another base"),
    ]


def percent_traps(value: int, rng: random.Random) -> list[Trap]:
    return [
        (f"{value * 100}%", "a hundred times"),
        (f"{value / 100:g}%", Fraction(value, 10000)),
        (f"{value}‰", Fraction(value, 1000)),
        (rf"{value * 100}\%", "a hundred times"),
        (f"{value} percentage points less", "a difference"),
        (f"-{value}%", -Fraction(value, 100)),
        (f"{value} out of 1000", Fraction(value, 1000)),
    ]


FIGURES = (
    Kind("percentages", "What percentage of the area is blue?", lambda rng: rng.choice([n for n in range(2, 99) if n != 50]), shifted(1, 999),
         whole("{n}%", "{n}", r"{n}\%", "{n} percent", "{n} %", r"${n}\%$", "{n}.0%", "{n} per cent", "{words} percent", r"{n}\,\%"), percent_traps, golds=3, number=magnitude),
    Kind("scientific notation", "What is the value?", lambda rng: (rng.randint(101, 899), rng.choice((-9, -6, -4, 4, 6, 9, 12, 21))), near_scientific,
         (scientific_gold, scientific), scientific_traps, golds=1, number=lambda v: v[0] * 10.0 ** (v[1] - 2), maths=True),
    Kind("scale words", "How many people live there?", lambda rng: (Fraction(rng.randint(11, 99), 10), rng.choice(list(SCALES))), near_scaled,
         (lambda v, rng: f"{float(v[0]):g} {v[1]}", scaled), scale_traps, golds=2, number=lambda v: float(v[0]) * SCALES[v[1]]),
    Kind("number bases", "Write the number in the given base.", draw_based, near_based, (based_gold, based), base_traps, golds=1, maths=True),
)  # fmt: skip
