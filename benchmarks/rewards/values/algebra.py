# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of expressions: roots, multiples of π, e and logarithms, degrees, polynomials, equations, inequalities, complex numbers."""

import math
import random
from fractions import Fraction
from typing import Any

from benchmarks.rewards.values.kinds import Kind, Trap
from benchmarks.rewards.values.plain_numbers import fraction

SQUAREFREE = (2, 3, 5, 6, 7, 10, 11, 13, 15)
UNITS = ("cm", "m", "kg", "cm^2", "m/s", "km")
Root = tuple[Fraction, int]  # a√b


def coefficient(a: Fraction, rest: str, rng: random.Random) -> str:
    """Write a·rest for a rational a, 1 left out."""
    sign = "-" if a < 0 else ""
    a = abs(a)
    if a == 1:
        return sign + rest
    if a.denominator == 1:
        return sign + rng.choice([f"{a}{rest}", rf"{a} {rest}", rf"{a} \cdot {rest}", rf"{a}\times {rest}"])
    top = rest if a.numerator == 1 else f"{a.numerator}{rest}"
    return sign + rng.choice(
        [
            rf"\frac{{{top}}}{{{a.denominator}}}",
            rf"{fraction(a, rng)} \cdot {rest}",
            rf"\dfrac{{{top}}}{{{a.denominator}}}",
            rf"\frac{{{a.numerator}}}{{{a.denominator}}}{rest}",
        ]
    )


def root(value: Root, rng: random.Random) -> str:
    a, b = value
    inside = a * a * b
    forms = [coefficient(a, rng.choice([rf"\sqrt{{{b}}}", rf"\sqrt{{{b}}}", rf"\sqrt{{ {b} }}"]), rng)]
    if a.denominator == 1:
        sign, top = ("-" if a < 0 else ""), ("" if abs(a) == 1 else abs(a))
        forms += [
            f"{sign}{top}√{b}",
            f"{sign}{top or 1}*sqrt({b})",
            rf"{sign}\sqrt{{{inside}}}",
            rf"{sign}{top}\sqrt{b}" if b < 10 else rf"{sign}{top}\sqrt{{{b}}}",
        ]
    return rng.choice(forms)


def root_gold(value: Root, rng: random.Random) -> str:
    a, b = value
    sign, top = ("-" if a < 0 else ""), ("" if abs(a) == 1 else abs(a))
    return (
        rf"{sign}{top}\sqrt{{{b}}}"
        if a.denominator == 1
        else rf"{sign}\frac{{{'' if abs(a.numerator) == 1 else abs(a.numerator)}\sqrt{{{b}}}}}{{{a.denominator}}}"
    )


def root_number(value: Root) -> float:
    return float(value[0]) * math.sqrt(value[1])


def draw_root(rng: random.Random) -> Root:
    return Fraction(rng.choice((-1, 1, 1)) * rng.randint(1, 12), rng.choice((1, 1, 1, 2, 3, 7))), rng.choice(SQUAREFREE)


def near_root(value: Root, rng: random.Random) -> Root:
    a, b = value
    others = [
        (a + 1, b),
        (-a, b),
        (a * b, b),
        (1 / a, b),
        (a, rng.choice([one for one in SQUAREFREE if one != b])),
        (a * 10, b),
    ]
    return rng.choice(
        [
            one
            for one in others
            if one[0] and abs(root_number(one) - root_number(value)) > 0.02 * abs(root_number(value))
        ]
    )


def root_traps(value: Root, rng: random.Random) -> list[Trap]:
    _ = value
    text = root_gold(value, rng)
    return [
        (rf"\pm {text}", "two values"),
        (f"{text} + 1", "a sum"),
        (text.replace(r"\sqrt", r"\sqrt[3]"), "a cube root"),
        (f"{text}, 1", "two answers"),
        (rf"{text}i", "imaginary"),
        (f"({text})^2", "a square"),
    ]


def pi(value: Fraction, rng: random.Random) -> str:
    forms = [coefficient(value, r"\pi", rng), coefficient(value, r"\pi", rng)]
    a, b = value.numerator, value.denominator
    if b == 1:
        forms += [
            f"{a}π" if a not in (1, -1) else f"{'-' if a < 0 else ''}π",
            f"{a}*pi",
            rf"\pi \cdot {a}" if a > 0 else f"{a}*pi",
        ]
    else:
        forms += [
            rf"{a}\pi/{b}" if abs(a) > 1 else rf"\pi/{b}".replace("\\", "-\\" if a < 0 else "\\", 1),
            rf"\frac{{{a}}}{{{b}}}\pi",
            rf"\frac{{{2 * a}\pi}}{{{2 * b}}}",
            f"{a}π/{b}" if abs(a) > 1 else rf"\frac{{{a}}}{{{b}}} \pi",
        ]
    return rng.choice(forms)


def pi_gold(value: Fraction, rng: random.Random) -> str:
    a, b = value.numerator, value.denominator
    top = {1: r"\pi", -1: r"-\pi"}.get(a, rf"{a}\pi")
    return top if b == 1 else rf"\frac{{{top}}}{{{b}}}"


def near_pi(value: Fraction, rng: random.Random) -> Fraction:
    others = [value + 1, -value, value * 2, 1 / value, value * 10, value / 3]
    return rng.choice([one for one in others if abs(one - value) > abs(value) / 50])


def pi_traps(value: Fraction, rng: random.Random) -> list[Trap]:
    text = pi_gold(value, rng)
    return [
        (f"{value}", "no pi"),
        (rf"{text} + \pi k", "a family"),
        (text.replace(r"\pi", r"\pi^2"), "a square"),
        (f"{text} or 0", "two answers"),
        (text.replace(r"\pi", "p"), "a letter"),
    ]


def with_unit(value: tuple[Any, str], rng: random.Random) -> str:
    number, unit = value
    text = root(number, rng) if isinstance(number, tuple) else pi(number, rng)
    return rng.choice(
        [
            rf"{text} \text{{ {unit}}}",
            f"${text}$ {unit}",
            rf"{text}\,\mathrm{{{unit}}}",
            rf"{text}~\text{{{unit}}}",
            f"{text} {unit}",
        ]
    )


def unit_gold(value: tuple[Any, str], rng: random.Random) -> str:
    number, unit = value
    return rf"{root_gold(number, rng) if isinstance(number, tuple) else pi_gold(number, rng)} \text{{ {unit}}}"


def draw_with_unit(rng: random.Random) -> tuple[Any, str]:
    return (draw_root(rng) if rng.random() < 0.5 else Fraction(rng.randint(2, 40), rng.choice((1, 1, 3)))), rng.choice(
        UNITS
    )


def near_with_unit(value: tuple[Any, str], rng: random.Random) -> tuple[Any, str]:
    number, unit = value
    other = near_root(number, rng) if isinstance(number, tuple) else near_pi(number, rng)
    return rng.choice([(number, rng.choice([one for one in UNITS if one != unit])), (other, unit)])


Trig = tuple[str, int]


def trig(value: Trig, rng: random.Random) -> str:
    f, angle = value
    return rng.choice(
        [
            rf"\{f} {angle}^\circ",
            rf"\{f}({angle}^\circ)",
            rf"\{f}{{{angle}^{{\circ}}}}",
            rf"\{f} {angle}°",
            rf"\{f} {angle}^{{\circ}}",
            rf"\{f}\left({angle}^\circ\right)",
        ]
    )


def near_trig(value: Trig, rng: random.Random) -> Trig:
    f, angle = value
    return rng.choice([({"sin": "tan", "cos": "sin", "tan": "cos"}[f], angle), (f, angle + 7), (f, angle - 5)])


def trig_traps(value: Trig, rng: random.Random) -> list[Trap]:
    f, angle = value
    return [
        (rf"\{f} {angle}", "radians"),
        (rf"\{f}({angle})", "radians"),
        (rf"-\{f} {angle}^\circ", "a sign"),
        (rf"{angle}^\circ", "the angle"),
        (rf"1 + \{f} {angle}^\circ", "a sum"),
        (rf"\{f} \frac{{{angle}}}{{2}}^\circ", "half the angle"),
    ]


def trig_number(value: tuple[str, float]) -> float:
    return float(getattr(math, value[0])(math.radians(value[1])))


def e_text(value: tuple[int, int, int], rng: random.Random) -> str:
    a, b, k = value
    sign, top = ("-" if b < 0 else "+"), abs(b)
    power = "e" if k == 1 else rng.choice((f"e^{k}", f"e^{{{k}}}"))
    return rng.choice(
        [
            rf"{a} {sign} \frac{{{top}}}{{{power}}}",
            f"{a}{sign}{top}/{power}",
            rf"{a} {sign} {'' if top == 1 else top}e^{{-{k}}}",
            rf"\frac{{{a}{power} {sign} {top}}}{{{power}}}" if a != 1 else rf"\frac{{{power} {sign} {top}}}{{{power}}}",
        ]
    )


def e_gold(value: tuple[int, int, int], rng: random.Random) -> str:
    a, b, k = value
    return rf"{a} {'-' if b < 0 else '+'} \frac{{{abs(b)}}}{{{'e' if k == 1 else f'e^{k}'}}}"


def near_e(value: tuple[int, int, int], rng: random.Random) -> tuple[int, int, int]:
    a, b, k = value
    return rng.choice([(a, -b, k), (a, -b, k), (a + 1, b, k), (a, b, k + 1)])


ALGEBRA = (
    Kind("radicals", "How long is the diagonal?", draw_root, near_root, (root_gold, root, root), root_traps, golds=2, number=root_number, maths=True),
    Kind("multiples of pi", "What is the value?", lambda rng: Fraction(rng.choice((-1, 1, 1, 1)) * rng.randint(1, 40), rng.choice((1, 1, 2, 3, 4, 5, 12))), near_pi,
         (pi_gold, pi, pi), pi_traps, golds=2, number=lambda v: float(v) * math.pi, maths=True),
    Kind("units on expressions", "How large is it?", draw_with_unit, near_with_unit, (unit_gold, with_unit, with_unit), golds=1),
    Kind("degrees", "Give the height as a trigonometric value.", lambda rng: (rng.choice(("sin", "cos", "tan")), rng.choice([n for n in range(11, 80) if n not in (38, 45)])), near_trig,
         (lambda v, rng: rf"\{v[0]} {v[1]}^\circ", trig), trig_traps, golds=2, number=trig_number, maths=True),
    Kind("powers of e", "What is the limit?", lambda rng: (rng.randint(1, 9), rng.choice((-1, 1)) * rng.randint(1, 9), rng.choice((1, 1, 2, 3))), near_e, (e_gold, e_text),
         lambda v, rng: [(str(v[0]), "a part"), (e_gold(v, rng) + " or 1", "two answers")], golds=1, number=lambda v: v[0] + v[1] * math.exp(-v[2]), maths=True),
)  # fmt: skip
