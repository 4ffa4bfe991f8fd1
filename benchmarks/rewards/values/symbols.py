# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of symbols: vectors, logarithms, powers, higher roots, binomials, repeating decimals, ±, exact then decimal."""

import math
import random
from fractions import Fraction

from benchmarks.rewards.values.algebra import draw_root, near_root, root, root_gold, root_number
from benchmarks.rewards.values.kinds import Kind, Trap

Vector = tuple[int, ...]


def vector_gold(value: Vector, rng: random.Random) -> str:
    return rf"\langle {', '.join(map(str, value))} \rangle"


def angled(value: Vector, rng: random.Random) -> str:
    inside = rng.choice((", ", ",", r",\, ")).join(map(str, value))
    return rng.choice(
        [
            rf"\langle {inside} \rangle",
            rf"\left\langle {inside} \right\rangle",
            rf"\langle{inside}\rangle",
            f"⟨{inside}⟩",
        ]
    )


def near_vector(value: Vector, rng: random.Random) -> Vector:
    place = rng.randrange(len(value))
    changed = (*value[:place], -value[place], *value[place + 1 :])
    return rng.choice([changed, (*value[:-1], value[-1] + 1), value[::-1], value[:-1], (*value, 50)])


def draw_vector(rng: random.Random) -> Vector:
    return tuple(rng.choice((-1, 1)) * n for n in rng.sample(range(1, 20), rng.choice((2, 3))))


Logarithm = tuple[int, int]  # base, argument


def log(value: Logarithm, rng: random.Random) -> str:
    b, n = value
    return rng.choice(
        [
            rf"\log_{b} {n}",
            rf"\log_{{{b}}} {n}",
            rf"\log_{b}({n})",
            rf"\log_{{{b}}}{{{n}}}",
            rf"\log_{{{b}}}\left({n}\right)",
            rf"\frac{{\ln {n}}}{{\ln {b}}}",
        ]
    )


Power = tuple[int, int]


def power(value: Power, rng: random.Random) -> str:
    base, n = value
    return rng.choice(
        [f"{base}^{{{n}}}", f"{base}^{n}" if n < 10 else f"{base}^{{{n}}}", f"{base}**{n}", f"{base}^{{ {n} }}"]
    )


def letter_power(value: tuple[str, int], rng: random.Random) -> str:
    base, n = value
    return rng.choice(
        [
            f"{base}^{{{n}}}",
            f"{base}^{{ {n} }}",
            f"{base}**{n}",
            f"{base}^{{{n}}}",
        ]
    )


def letter_power_traps(value: tuple[str, int], rng: random.Random) -> list[Trap]:
    base, n = value
    return [
        (f"{n}{base}", "a product"),
        (f"{base}_{{{n}}}", "an index"),
        (f"{base}^{{-{n}}}", "an inverse"),
        (f"{base}{n}", "no power"),
        (f"{base}^{{{n}}} + 1", "a sum"),
        (f"-{base}^{{{n}}}", "a sign"),
    ]


Higher = tuple[int, int]  # degree, radicand


def higher(value: Higher, rng: random.Random) -> str:
    k, n = value
    return rng.choice(
        [
            rf"\sqrt[{k}]{{{n}}}",
            rf"\sqrt[{k}]{{ {n} }}",
            rf"{n}^{{1/{k}}}",
            rf"{n}^{{\frac{{1}}{{{k}}}}}",
            f"{n}^(1/{k})",
        ]
    )


def higher_traps(value: Higher, rng: random.Random) -> list[Trap]:
    k, n = value
    return [
        (rf"\sqrt{{{n}}}" if k > 2 else rf"\sqrt[3]{{{n}}}", "another root"),
        (f"{n}^{k}", "a power"),
        (rf"\frac{{{n}}}{{{k}}}", "a quotient"),
        (rf"{k}\sqrt{{{n}}}", "a product"),
    ]


Binomial = tuple[int, int]


def binomial(value: Binomial, rng: random.Random) -> str:
    n, k = value
    return rng.choice(
        [
            rf"\binom{{{n}}}{{{k}}}",
            rf"\dbinom{{{n}}}{{{k}}}",
            rf"{{{n} \choose {k}}}",
            rf"\binom{{ {n} }}{{ {k} }}",
            rf"\tbinom{{{n}}}{{{k}}}",
        ]
    )


def near_binomial(value: Binomial, rng: random.Random) -> Binomial:
    n, k = value
    return rng.choice([(n + 1, k), (n, k + 1), (n + 1, k + 1), (n - 1, k)])


def binomial_traps(value: Binomial, rng: random.Random) -> list[Trap]:
    n, k = value
    return [
        (rf"\frac{{{n}}}{{{k}}}", "a quotient"),
        (rf"\binom{{{k}}}{{{n}}}", "swapped"),
        (rf"{n}^{k}", "a power"),
        (rf"\binom{{{n}}}{{{k}}} + 1", "a sum"),
    ]


Repeating = tuple[int, str]  # whole part, period


def repeating_value(value: Repeating) -> Fraction:
    whole, period = value
    return whole + Fraction(int(period), 10 ** len(period) - 1)


def repeating(value: Repeating, rng: random.Random) -> str:
    whole, period = value
    q = repeating_value(value)
    return rng.choice(
        [
            rf"{whole}.\overline{{{period}}}",
            rf"\frac{{{q.numerator}}}{{{q.denominator}}}",
            f"{q.numerator}/{q.denominator}",
            rf"{whole}.\overline{{{period * 2}}}",
            rf"{whole}.\bar{{{period}}}" if len(period) == 1 else rf"{whole}.\overline{{{period}}}",
        ]
    )


def near_repeating(value: Repeating, rng: random.Random) -> Repeating:
    whole, period = value
    other = str((int(period) * 3 + 1) % (10 ** len(period) - 1)).zfill(len(period))
    others = [(whole + 1, period), (whole, other), (whole, period[::-1])]
    return rng.choice(
        [one for one in others if abs(repeating_value(one) - repeating_value(value)) > repeating_value(value) / 50]
    )


def repeating_traps(value: Repeating, rng: random.Random) -> list[Trap]:
    whole, period = value
    q = repeating_value(value)
    cut = Fraction(int(period), 10 ** len(period)) + whole
    traps: list[Trap] = [(f"{whole}{period}", "no point"), (f"{q.denominator}/{q.numerator}", "inverted")]
    return traps + ([(f"{whole}.{period}", "cut off")] if abs(cut - q) > q / 50 else [])


def exact(value: tuple[Fraction, int], rng: random.Random) -> str:
    decimals = rng.choice((3, 4, 5))
    about = rng.choice((r" \approx ", r"\approx ", " ≈ "))
    return rng.choice([f"{root(value, rng)}{about}{root_number(value):.{decimals}f}", root(value, rng)])


def exact_traps(value: tuple[Fraction, int], rng: random.Random) -> list[Trap]:
    other = near_root(value, rng)
    return [
        (rf"{root_gold(other, rng)} \approx {root_number(value):.3f}", "another root"),
        (rf"\approx {root_number(other):.3f}", "another decimal"),
    ]


def plus_minus(value: int, rng: random.Random) -> str:
    return rng.choice([rf"\pm {value}", f"±{value}", rf"x = \pm {value}", rf"\pm{value}"])


SYMBOLS_KINDS = (
    Kind("vectors", "Find the vector.", draw_vector, near_vector, (vector_gold, angled, angled), lambda v, rng: [(str(sum(n * n for n in v)), "its square"), (f"-{vector_gold(v, rng)}", "negated"), (f"{v[0]}", "a part")], golds=1, maths=True),
    Kind("logarithms", "What is the exact value?", lambda rng: (rng.choice((2, 3, 5, 7)), rng.choice((11, 13, 17, 19, 23))), lambda v, rng: rng.choice([(v[0], v[1] + 6), (v[0] + 4, v[1]), (v[1], v[0])]), (lambda v, rng: rf"\log_{{{v[0]}}} {v[1]}", log, log),
         lambda v, rng: [(rf"\ln {v[1]}", "another base"), (rf"\frac{{\ln {v[0]}}}{{\ln {v[1]}}}", "inverted"), (str(v[1]), "a part"), (rf"{v[0]}^{{{v[1]}}}", "a power")], golds=2, number=lambda v: math.log(v[1], v[0]), maths=True),
    Kind("powers", "Write it as a power.", lambda rng: (rng.choice((2, 3, 5, 7)), rng.randint(11, 40)), lambda v, rng: rng.choice([(v[0], v[1] + 1), (v[0] + 6, v[1]), (v[0], v[1] - 1)]), (lambda v, rng: f"{v[0]}^{{{v[1]}}}", power), lambda v, rng: [(f"{v[0] * v[1]}", "a product"), (f"{v[0]}{v[1]}", "no power"), (f"{v[0]}_{{{v[1]}}}", "an index"), (f"{v[0]}^{{-{v[1]}}}", "an inverse"), (f"-{v[0]}^{{{v[1]}}}", "a sign")], golds=1, maths=True),
    Kind("powers of letters", "What is the product?", lambda rng: (rng.choice("abkxyz"), rng.randint(5, 40)), lambda v, rng: rng.choice([(v[0], v[1] + 1), (v[0], v[1] * 10), ("w", v[1])]), (lambda v, rng: f"{v[0]}^{{{v[1]}}}", letter_power), letter_power_traps, golds=1, maths=True),
    Kind("higher roots", "What is the exact value?", lambda rng: (rng.choice((3, 4, 5)), rng.choice((2, 3, 5, 6, 7, 10))), lambda v, rng: rng.choice([(v[0] + 1, v[1]), (v[0], v[1] + 1), (v[0], v[1] * 10)]), (lambda v, rng: rf"\sqrt[{v[0]}]{{{v[1]}}}", higher), higher_traps, golds=1, number=lambda v: v[1] ** (1 / v[0]), maths=True),
    Kind("binomials", "How many ways are there?", lambda rng: (rng.randint(12, 30), rng.randint(2, 5)), near_binomial, (lambda v, rng: rf"\binom{{{v[0]}}}{{{v[1]}}}", binomial, binomial), binomial_traps, golds=2, number=lambda v: float(math.comb(*v)), maths=True),
    Kind("repeating decimals", "What is the value?", lambda rng: (rng.randint(0, 5), rng.choice(("3", "6", "1", "7", "27", "45", "142857", "81"))), near_repeating, (lambda v, rng: rf"{v[0]}.\overline{{{v[1]}}}", repeating, repeating), repeating_traps, golds=1, number=lambda v: float(repeating_value(v)), maths=True),
    Kind("exact, then decimal", "How long is the side?", draw_root, near_root, (root_gold, exact, exact), exact_traps, golds=1, number=root_number, maths=True),
    Kind("plus or minus", "Solve for x.", lambda rng: rng.randint(2, 60), lambda v, rng: rng.choice([v + 1, v * 10]), (lambda v, rng: rf"\pm {v}", plus_minus), lambda v, rng: [(str(v), "one sign"), (f"-{v}", "one sign"), (f"x = {v}", "one sign"), (rf"1 \pm {v}", "a sum")], golds=1, number=float, maths=True),
)  # fmt: skip
