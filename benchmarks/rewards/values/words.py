# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of words: named values, yes/no, options, Chinese counts, words and options, names, formulas, statements of geometry."""

import random
from fractions import Fraction

from benchmarks.rewards.values.kinds import Kind, Trap
from benchmarks.rewards.values.plain_numbers import fraction, near_fraction, plain_fraction

Named = tuple[str, Fraction]  # a left side and its value
ANGLES, LENGTHS = ("ABC", "APC", "BAD", "CDE", "PQR", "XYZ"), ("AB", "CD", "PQ", "EF", "BC", "MN")


def draw_named(rng: random.Random) -> Named:
    left = rng.choice(["S", "r", "f(3)", "a_5", "P(A)", "|AB|", r"\frac{NO}{BO}", "d", "n", "AB", r"\sin A", "k"])
    value = Fraction(rng.randint(1, 60), rng.choice((1, 1, 7)))
    return (left, Fraction(rng.randint(1, 8), 9)) if left in (r"\sin A", "P(A)") else (left, value)


def named(value: Named, rng: random.Random) -> str:
    left, number = value
    shown = fraction(number, rng)
    return rng.choice(
        [
            f"{left} = {shown}",
            f"{left}={shown}",
            shown,
            f"{left} = {plain_fraction(number, rng)}",
            rf"{left} \,=\, {shown}",
        ]
    )


def named_gold(value: Named, rng: random.Random) -> str:
    left, number = value
    shown = str(number) if number.denominator == 1 else rf"\frac{{{number.numerator}}}{{{number.denominator}}}"
    return rng.choice([f"{left} = {shown}", shown])


def near_named(value: Named, rng: random.Random) -> Named:
    return value[0], near_fraction(value[1], rng)


def named_traps(value: Named, rng: random.Random) -> list[Trap]:
    left, number = value
    return [
        (f"{left} > {number}", "a bound"),
        (left, "a name"),
        (rf"{left} \neq {number}", "a negation"),
        (f"{left} = {number} or {number + 1}", "two answers"),
    ]


Angle = tuple[str, int]


def angle(value: Angle, rng: random.Random) -> str:
    name, n = value
    return rng.choice(
        [
            rf"\angle {name} = {n}^\circ",
            f"∠{name} = {n}°",
            rf"{n}^\circ",
            f"{n}°",
            f"{n} degrees",
            rf"{n}^{{\circ}}",
            rf"m\angle {name} = {n}^{{\circ}}",
            rf"\angle {name}={n}°",
        ]
    )


def angle_traps(value: Angle, rng: random.Random) -> list[Trap]:
    name, n = value
    return [
        (rf"\angle {name}", "a name"),
        (rf"{n / 10:g}^\circ", "a tenth"),
        (f"{n} radians", "radians"),
        (rf"\angle {name} < {n}^\circ", "a bound"),
        (f"{n}°C", "a temperature"),
        (f"{n}%", "a share"),
    ]


YES = ("yes", "Yes", "Yes.", "YES", "True", "Yes, it is.", "yes!", "true")
NO = ("no", "No", "No.", "NO", "False", "No, it is not.", "no!", "false")


def yes_traps(value: bool, rng: random.Random) -> list[Trap]:
    return [
        ("yes and no", "both"),
        ("maybe", "neither"),
        ("not sure", "neither"),
        ("yes or no", "both"),
        ("unclear", "neither"),
        ("yes? no", "both"),
    ]


THINGS = [
    "red",
    "blue",
    "green",
    "black",
    "white",
    "brown",
    "pink",
    "grey",
    "teal",
    "navy",
    "lime",
    "olive",
    "plum",
    "violet",
    "apple",
    "pear",
    "grape",
    "lemon",
    "peach",
    "mango",
]
STYLES = ("{}. {}", "({}) {}", "{}) {}", "{}: {}", "{}.{}")
Options = tuple[tuple[str, ...], int, str, str]  # texts, the right one, how they are listed, what follows


def draw_options(rng: random.Random) -> Options:
    count = rng.choice((3, 4, 4, 5, 6, 12))
    trailer = rng.choice(
        ("", "", "\nAnswer with the option's letter from the given choices directly.", "\nPlease choose one.")
    )
    return tuple(rng.sample(THINGS, count)), rng.randrange(count), rng.choice(STYLES), trailer


def listed(value: Options, rng: random.Random) -> str:
    texts, _, style, trailer = value
    return (
        "Which word is in the picture?\n"
        + "\n".join(style.format("ABCDEFGHIJKL"[i], text) for i, text in enumerate(texts))
        + trailer
    )


def letter(value: Options, rng: random.Random) -> str:
    return "ABCDEFGHIJKL"[value[1]]


def option(value: Options, rng: random.Random) -> str:
    mark, text, style = letter(value, rng), value[0][value[1]], value[2]
    return rng.choice(
        [
            mark,
            f"({mark})",
            f"{mark}.",
            text,
            text.capitalize(),
            style.format(mark, text),
            f"{mark}. {text}",
            f"Option {mark}",
            f"{text} ({mark})",
            f"{mark} is correct.",
            mark.lower(),
        ]
    )


def near_options(value: Options, rng: random.Random) -> Options:
    texts, place, style, trailer = value
    return texts, rng.choice([i for i in range(len(texts)) if i != place]), style, trailer


def option_traps(value: Options, rng: random.Random) -> list[Trap]:
    mark = letter(value, rng)
    other = near_options(value, rng)
    text = other[0][other[1]]
    return [
        (f"{mark} or {letter(other, rng)}", "two answers"),
        (f"{mark}. {text}", "a contradiction"),
        (f"{text} ({mark})", "a contradiction"),
        (f"not {mark}", "a negation"),
        ("Z", "none"),
    ]


def other_word(words: tuple[str, ...], value: str, rng: random.Random) -> str:
    return rng.choice([one for one in words if one != value])


NAMES = (
    "Hepatitis A",
    "Vitamin C",
    "Eiffel Tower",
    "polar bear",
    "Mount Everest",
    "Plan A",
    "Class B",
    "Rio de Janeiro",
    "stop sign",
    "Group A",
    "Lake Como",
    "Type A",
    "blood type B",
)


def name_text(value: str, rng: random.Random) -> str:
    return rng.choice(
        [
            value,
            value.lower(),
            value.upper(),
            f"the {value}",
            f"{value}.",
            rf"\text{{{value}}}",
            f"“{value}”",
            f"It is {value}.",
            f"_{value}_",
            value.replace(" ", "  "),
        ]
    )


def name_traps(value: str, rng: random.Random) -> list[Trap]:
    first, last = value.split()[0], value.split()[-1]
    return [
        (first, "a part"),
        (f"the {first}", "a part"),
        (f"a {first.lower()}", "a part"),
        (f"{value} and {first}", "more"),
        (f"not {value}", "a negation"),
        (f"{last} {first}", "swapped"),
        (f"{value} or something else", "two answers"),
    ]


Formula = tuple[tuple[str, int], ...]


def draw_formula(rng: random.Random) -> Formula:
    return tuple(
        (element, rng.choice((1, 1, 2, 3, 4, 6, 12)))
        for element in rng.choice(
            (("C", "H", "O"), ("H", "S", "O"), ("Na", "O"), ("Fe", "O"), ("C", "H"), ("N", "H"), ("Ca", "C", "O"))
        )
    )


def formula(value: Formula, rng: random.Random) -> str:
    low = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    braced = "".join(f"{e}_{{{n}}}" if n > 1 else e for e, n in value)
    short = "".join((f"{e}_{n}" if n < 10 else f"{e}_{{{n}}}") if n > 1 else e for e, n in value)
    plain = "".join(f"{e}{n if n > 1 else ''}" for e, n in value)
    return rng.choice(
        [
            braced,
            short,
            plain,
            plain,
            plain.translate(low),
            rf"\mathrm{{{short}}}",
            rf"\ce{{{plain}}}",
            rf"\text{{{plain}}}",
        ]
    )


def formula_gold(value: Formula, rng: random.Random) -> str:
    return "".join(f"{e}{n if n > 1 else ''}" for e, n in value)


def near_formula(value: Formula, rng: random.Random) -> Formula:
    place = rng.randrange(len(value))
    element, n = value[place]
    return rng.choice([(*value[:place], (element, n + 1), *value[place + 1 :]), value[1:], (*value, ("Cl", 1))])


Statement = tuple[str, str, str]  # relation and the names of two things
RELATIONS = {
    r"\parallel": ("∥", "AB CD EF PQ"),
    r"\perp": ("⊥", "AB CD EF PQ"),
    r"\cong": ("≅", "ABC DEF PQR"),
    r"\sim": ("∼", "ABC DEF PQR"),
}


def draw_statement(rng: random.Random) -> Statement:
    relation = rng.choice(sorted(RELATIONS))
    one, other = rng.sample(RELATIONS[relation][1].split(), 2)
    return relation, one, other


def statement(value: Statement, rng: random.Random) -> str:
    relation, one, other = value
    sign, shape = RELATIONS[relation][0], ("\\triangle ", "△") if relation in (r"\cong", r"\sim") else ("", "")
    return rng.choice(
        [
            rf"{shape[0]}{one} {relation} {shape[0]}{other}",
            f"{shape[1]}{one} {sign} {shape[1]}{other}",
            f"{shape[1]}{one}{sign}{shape[1]}{other}",
            rf"${shape[0]}{one}{relation} {shape[0]}{other}$",
        ]
    )


def near_statement(value: Statement, rng: random.Random) -> Statement:
    relation, one, other = value
    swap = {r"\parallel": r"\perp", r"\perp": r"\parallel", r"\cong": r"\sim", r"\sim": r"\cong"}[relation]
    third = rng.choice([name for name in RELATIONS[relation][1].split() if name not in (one, other)])
    return rng.choice([(swap, one, other), (relation, one, third), (relation, third, other)])


WORDS = (
    Kind("named values", "What is the value?", draw_named, near_named, (named_gold, named, named), named_traps, golds=1, number=lambda v: float(v[1]), maths=True),
    Kind("angles", lambda v, rng: f"What is the size of angle {v[0]}?", lambda rng: (rng.choice(ANGLES), rng.randint(11, 170)), lambda v, rng: rng.choice([(v[0], v[1] + 1), (v[0], v[1] + 10), (v[0], 180 - v[1] if v[1] != 90 else 45)]),
         (lambda v, rng: rf"{v[1]}^\circ", lambda v, rng: rf"\angle {v[0]} = {v[1]}^\circ", angle, angle), angle_traps, golds=2, number=lambda v: float(v[1])),
    Kind("yes or no", "Is the cat on the mat?", lambda rng: rng.random() < 0.5, lambda v, rng: not v, (lambda v, rng: rng.choice(YES[:2] if v else NO[:2]), lambda v, rng: rng.choice(YES if v else NO)), yes_traps, golds=1),
    Kind("options", listed, draw_options, near_options, (letter, option, option), option_traps, golds=1, category="MC"),
    Kind("names", "What is it?", lambda rng: rng.choice(NAMES), lambda v, rng: other_word(NAMES, v, rng), (lambda v, rng: v, name_text), name_traps, golds=1),
    Kind("chemical formulas", "What is its formula?", draw_formula, near_formula, (formula_gold, formula, formula), lambda v, rng: [(formula_gold(v, rng) + " or H2O2", "two answers"), (f"2{formula_gold(v, rng)}", "twice")], golds=1),
    Kind("statements of geometry", "Which statement holds?", draw_statement, near_statement, (statement, statement), golds=1),
)  # fmt: skip
