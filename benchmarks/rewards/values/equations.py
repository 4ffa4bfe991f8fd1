# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of polynomials, lines, inequalities and complex numbers."""

import random
from fractions import Fraction

from benchmarks.rewards.values.algebra import coefficient
from benchmarks.rewards.values.kinds import Kind, Trap

Poly = tuple[int, ...]  # coefficients, constant first


def poly(value: Poly, rng: random.Random, letter: str = "x") -> str:
    terms = [(c, k) for k, c in enumerate(value) if c]
    rng.shuffle(terms)
    return _joined(
        terms,
        rng.choice(("", " ")),
        rng.choice(("^{}", "^{{{}}}", "**{}")),
        rng.choice(("", "", r" \cdot ", "*")),
        letter,
    )


def _joined(
    terms: list[tuple[int, int]], gap: str = " ", power: str = "^{}", times: str = "", letter: str = "x"
) -> str:
    text = ""
    for c, k in terms:
        sign = "-" if c < 0 else "+" if text else ""
        body = (
            str(abs(c))
            if k == 0
            else (f"{abs(c)}{times}" if abs(c) != 1 else "") + letter + (power.format(k) if k > 1 else "")
        )
        text += (f"{gap}{sign}{gap}" if text else sign) + body
    return text or "0"


def poly_gold(value: Poly, rng: random.Random) -> str:
    return _joined([(c, k) for k, c in reversed(list(enumerate(value))) if c])


def draw_poly(rng: random.Random) -> Poly:
    return tuple(
        [rng.choice((-1, 1)) * rng.randint(1, 9) for _ in range(rng.randint(2, 3))] + [rng.choice((1, 2, 3, -1, 5))]
    )


def near_poly(value: Poly, rng: random.Random) -> Poly:
    place = rng.randrange(len(value))
    changed = list(value)
    changed[place] = rng.choice((-changed[place], changed[place] + 1, changed[place] - 1))
    return rng.choice([tuple(changed), tuple(changed), (0, *value), value[1:] if len(value) > 2 else (0, *value)])


def poly_traps(value: Poly, rng: random.Random) -> list[Trap]:
    text = poly_gold(value, rng)
    return [
        (f"{text} = 0", "an equation"),
        (text.replace("x", "y"), "another letter"),
        (f"{text} + y", "a sum"),
        (f"{text} or 0", "two answers"),
        (f"-({text})", "a sign"),
        (f"2({text})", "twice"),
    ]


def factored(value: tuple[int, int], rng: random.Random) -> str:
    a, b = value if rng.random() < 0.5 else value[::-1]
    one, two = (f"(x {'-' if r > 0 else '+'} {abs(r)})" for r in (a, b))
    expanded = _joined([(1, 2), (-(a + b), 1), (a * b, 0)] if a + b else [(1, 2), (a * b, 0)], rng.choice(("", " ")))
    return rng.choice([f"{one}{two}", rf"{one} \cdot {two}", f"{one}{two}".replace(" ", ""), f"{one}*{two}", expanded])


def factored_gold(value: tuple[int, int], rng: random.Random) -> str:
    return "".join(f"(x{'-' if r > 0 else '+'}{abs(r)})" for r in value)


def draw_roots(rng: random.Random) -> tuple[int, int]:
    a, b = sorted(rng.sample([n for n in range(-9, 10) if n], 2))
    return a, b


def near_roots(value: tuple[int, int], rng: random.Random) -> tuple[int, int]:
    a, b = value
    others = [(-a, -b), (a, -b), (a, b + 1 or 2), (a - 1 or -2, b)]
    return rng.choice([one for one in others if sorted(one) != sorted(value)])


def line(value: tuple[Fraction, int], rng: random.Random) -> str:
    m, c = value
    tail = f"{'-' if c < 0 else '+'} {abs(c)}"
    slope = coefficient(m, "x", rng)
    return rng.choice(
        [
            f"y = {slope} {tail}",
            f"y={slope}{tail}".replace("+ ", "+").replace("- ", "-"),
            f"y = {c} {'-' if m < 0 else '+'} {coefficient(abs(m), 'x', rng)}",
            f"{slope} {tail} = y",
        ]
    )


def line_gold(value: tuple[Fraction, int], rng: random.Random) -> str:
    m, c = value
    slope = {1: "x", -1: "-x"}.get(
        int(m) if m.denominator == 1 else 0,
        f"{m}x" if m.denominator == 1 else rf"{'-' if m < 0 else ''}\frac{{{abs(m.numerator)}}}{{{m.denominator}}}x",
    )
    return f"y = {slope} {'-' if c < 0 else '+'} {abs(c)}"


def line_traps(value: tuple[Fraction, int], rng: random.Random) -> list[Trap]:
    text = line_gold(value, rng)
    return [
        (text.replace("=", ">"), "an inequality"),
        (text.replace("y", "z"), "another letter"),
        (f"{text} or y = 0", "two answers"),
        ("y", "a letter"),
        (text.replace("x", "x^2"), "a parabola"),
    ]


Bound = tuple[str, int]


FLIP = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\neq": r"\neq"}


SPELT = {
    "<": ("<", r"\lt "),
    ">": (">", r"\gt "),
    r"\le": (r"\le", r"\leq", "≤", "<=", r"\leqslant"),
    r"\ge": (r"\ge", r"\geq", "≥", ">=", r"\geqslant"),
    r"\neq": (r"\neq", "≠", "!=", r"\ne"),
}


def bound(value: Bound, rng: random.Random) -> str:
    sign, n = value
    spelt, flipped = rng.choice(SPELT[sign]), rng.choice(SPELT[FLIP[sign]])
    return rng.choice(
        [
            f"x {spelt} {n}",
            f"x {spelt} {n}",
            f"{n} {flipped} x",
            f"x{spelt}{n}" if spelt[0] != "\\" else f"x{spelt} {n}",
        ]
    )


def near_bound(value: Bound, rng: random.Random) -> Bound:
    sign, n = value
    return rng.choice(
        [
            (sign, n + 1),
            (sign, -n),
            (rng.choice([one for one in FLIP if one != sign]), n),
            (rng.choice([one for one in FLIP if one != sign]), n),
        ]
    )


def complex_text(value: tuple[int, int], rng: random.Random) -> str:
    a, b = value
    i = "i" if abs(b) == 1 else f"{abs(b)}i"
    sign = "-" if b < 0 else "+"
    return rng.choice(
        [
            f"{a} {sign} {i}",
            f"{a}{sign}{i}",
            f"{'-' if b < 0 else ''}{i} {'-' if a < 0 else '+'} {abs(a)}",
            f"z = {a} {sign} {i}",
        ]
    )


def complex_gold(value: tuple[int, int], rng: random.Random) -> str:
    a, b = value
    return f"{a} {'-' if b < 0 else '+'} {'' if abs(b) == 1 else abs(b)}i"


def near_complex(value: tuple[int, int], rng: random.Random) -> tuple[int, int]:
    a, b = value
    return rng.choice([(a, -b), (-a, b), (a + 1, b), (a, b + 1 or 2), (-a, -b)])


EQUATIONS = (
    Kind("polynomials", "Which polynomial is it?", draw_poly, near_poly, (poly_gold, poly, poly), poly_traps, golds=2, maths=True),
    Kind("factored polynomials", "Which polynomial has these roots?", draw_roots, near_roots, (factored_gold, factored, factored),
         lambda v, rng: [(factored_gold(v, rng) + "=0", "an equation"), (f"x = {v[0]}", "a root"), (factored_gold(v, rng).replace(")(", ") + ("), "a sum")], golds=1, maths=True),
    Kind("lines", "Write the equation of the line.", lambda rng: (Fraction(rng.choice((-1, 1)) * rng.randint(1, 9), rng.choice((1, 1, 2, 5))), rng.choice((-1, 1)) * rng.randint(1, 12)),
         lambda v, rng: rng.choice([(-v[0], v[1]), (v[0], -v[1]), (v[0] + 1 or Fraction(5), v[1]), (v[0], v[1] + 1 or 7)]), (line_gold, line, line), line_traps, golds=1, maths=True),
    Kind("inequalities", "Solve for x.", lambda rng: (rng.choice(list(FLIP)), rng.choice((-1, 1)) * rng.randint(1, 40)), near_bound, (lambda v, rng: f"x {v[0]} {v[1]}", bound, bound),
         lambda v, rng: [(str(v[1]), "a number"), (f"x = {v[1]}", "an equation"), (f"y {v[0]} {v[1]}", "another letter"), (f"x {v[0]} {v[1]}0" if v[0] != "=" else "0", "another bound")], golds=2, maths=True),
    Kind("complex numbers", "What is z?", lambda rng: (rng.choice((-1, 1)) * rng.randint(1, 12), rng.choice((-1, 1)) * rng.randint(1, 12)), near_complex,
         (complex_gold, complex_text), lambda v, rng: [(str(v[0]), "a part"), (f"{v[0] + v[1]}", "a sum"), (complex_gold(v, rng) + " + 1", "a sum")], golds=1, maths=True),
)  # fmt: skip
