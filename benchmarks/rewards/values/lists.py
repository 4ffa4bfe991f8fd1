# ruff: noqa: E501 — a table reads better in long lines
"""Kinds of lists and further measures: words, several options, measures in a list, temperatures, weights, parts in words."""

import random
from fractions import Fraction

from benchmarks.rewards.values.kinds import Kind, Trap
from benchmarks.rewards.values.plain_numbers import ONES
from benchmarks.rewards.values.words import THINGS, Options, listed

Words = tuple[str, ...]


def words(value: Words, rng: random.Random) -> str:
    joined = ", ".join(value)
    spoken = f"{', '.join(value[:-1])} and {value[-1]}"
    forms = [
        joined,
        ",".join(value),
        "; ".join(value),
        spoken,
        joined.capitalize(),
        f"[{joined}]",
        "\n".join(f"- {word}" for word in value),
        "\n".join(value),
    ]
    return rng.choice(
        [
            *forms,
            "\n".join(f"{n}. {word}" for n, word in enumerate(value, 1)),
            f"{', '.join(value[:-1])}, and {value[-1]}",
            joined.upper(),
        ]
    )


def near_words(value: Words, rng: random.Random) -> Words:
    other = rng.choice([word for word in THINGS if word not in value])
    place = rng.randrange(len(value))
    return rng.choice(
        [value[::-1], value[:-1], (*value, other), (*value[:place], other, *value[place + 1 :]), (*value, value[0])]
    )


def word_traps(value: Words, rng: random.Random) -> list[Trap]:
    return [
        (" or ".join(value), "alternatives"),
        (value[0], "a part"),
        (f"not {', '.join(value)}", "a negation"),
        ("".join(value), "one word"),
    ]


Several = tuple[Options, frozenset[int]]


def draw_several(rng: random.Random) -> Several:
    count = rng.choice((4, 5, 6))
    options: Options = (tuple(rng.sample(THINGS, count)), 0, rng.choice(("{}. {}", "({}) {}")), "")
    return options, frozenset(rng.sample(range(count), rng.choice((2, 2, 3))))


def letters(value: Several, rng: random.Random) -> list[str]:
    return ["ABCDEF"[n] for n in sorted(value[1])]


def several(value: Several, rng: random.Random) -> str:
    marks = letters(value, rng)
    rng.shuffle(marks)
    return rng.choice(
        [
            ", ".join(marks),
            ",".join(marks),
            f"{', '.join(marks[:-1])} and {marks[-1]}",
            "".join(sorted(marks)),
            ", ".join(f"({mark})" for mark in marks),
            "; ".join(marks),
            " ".join(marks),
        ]
    )


def near_several(value: Several, rng: random.Random) -> Several:
    options, right = value
    missing = [n for n in range(len(options[0])) if n not in right]
    extra = rng.choice(missing)
    swapped = frozenset(right - {rng.choice(sorted(right))} | {extra})
    return options, rng.choice([right | {extra}, swapped, frozenset(sorted(right)[:-1])])


def several_traps(value: Several, rng: random.Random) -> list[Trap]:
    marks = letters(value, rng)
    return [(" or ".join(marks), "alternatives"), (marks[0], "a part"), (f"not {', '.join(marks)}", "a negation")]


Lengths = tuple[tuple[int, str], ...]
NAMES = {"cm": "centimeters", "kg": "kilograms", "m": "meters", "s": "seconds", "L": "liters"}


def lengths(value: Lengths, rng: random.Random) -> str:
    shown = rng.choice(["{n} {u}", "{n}{u}", r"{n} \text{{ {u}}}", "{n} {name}"])
    mark = rng.choice((", ", "; ", " and ") if len(value) == 2 else (", ", "; "))
    return mark.join(shown.format(n=n, u=u, name=NAMES[u]) for n, u in value)


def near_lengths(value: Lengths, rng: random.Random) -> Lengths:
    place = rng.randrange(len(value))
    n, u = value[place]
    other = rng.choice([(n + 1, u), (n * 10, u), (n, rng.choice([one for one in NAMES if one != u]))])
    return rng.choice([(*value[:place], other, *value[place + 1 :]), value[:-1], (*value, (77, "s"))])


def draw_lengths(rng: random.Random) -> Lengths:
    return tuple((n, rng.choice(list(NAMES))) for n in rng.sample(range(2, 99), rng.choice((2, 2, 3))))


Temperature = tuple[int, str]


def temperature(value: Temperature, rng: random.Random) -> str:
    n, scale = value
    name = {"C": "Celsius", "F": "Fahrenheit"}[scale]
    return rng.choice(
        [
            f"{n} °{scale}",
            f"{n}°{scale}",
            f"{n} degrees {name}",
            rf"{n}^\circ\text{{{scale}}}",
            rf"{n}^\circ {scale}",
            rf"{n}^{{\circ}}\mathrm{{{scale}}}",
            f"{n} degrees {scale}",
            f"{n} º{scale}",
        ]
    )


def near_temperature(value: Temperature, rng: random.Random) -> Temperature:
    n, scale = value
    return rng.choice([(n + 1, scale), (-n, scale), (n, "F" if scale == "C" else "C"), (n * 10, scale)])


def temperature_traps(value: Temperature, rng: random.Random) -> list[Trap]:
    n, scale = value
    return [
        (f"{n} K", "kelvin"),
        (f"above {n} °{scale}", "a bound"),
        (f"{n}%", "a share"),
        (f"{n} °{scale} or {n + 5} °{scale}", "two answers"),
        (f"{n} km", "a length"),
    ]


def weight(ounces: int, rng: random.Random) -> str:
    pounds, rest = divmod(ounces, 16)
    return rng.choice(
        [
            f"{pounds} lb {rest} oz",
            f"{pounds} pounds {rest} ounces",
            f"{pounds} lbs {rest} oz",
            f"{pounds} pounds and {rest} ounces",
            f"{ounces} oz",
            f"{ounces} ounces",
            f"{pounds}lb {rest}oz",
        ]
    )


def weight_traps(ounces: int, rng: random.Random) -> list[Trap]:
    pounds, rest = divmod(ounces, 16)
    return [
        (f"{pounds}.{rest:02} lb", "a decimal"),
        (f"{pounds} lb", "a part"),
        (f"{rest} oz", "a part"),
        (f"{pounds} lb {rest} g", "another unit"),
        (f"{pounds} kg {rest} oz", "another unit"),
    ]


def arc(minutes: int, rng: random.Random) -> str:
    d, m = divmod(minutes, 60)
    return rng.choice(
        [f"{d}°{m}′", f"{d}° {m}′", rf"{d}^\circ {m}'", rf"{d}^{{\circ}}{m}'", f"{d} degrees {m} minutes", f"{d}°{m}'"]
    )


def arc_traps(minutes: int, rng: random.Random) -> list[Trap]:
    d, m = divmod(minutes, 60)
    return [
        (f"{d}.{m:02}°", "a decimal"),
        (f"{d}°", "a part"),
        (f"{m}′", "a part"),
        (f"{d} hours {m} minutes", "a time"),
        (f"{d}′{m}″", "smaller units"),
    ]


PARTS = {
    2: ("half", "halves"),
    3: ("third", "thirds"),
    4: ("quarter", "quarters"),
    5: ("fifth", "fifths"),
    6: ("sixth", "sixths"),
    8: ("eighth", "eighths"),
    10: ("tenth", "tenths"),
}


def draw_part(rng: random.Random) -> Fraction:
    while True:
        below = rng.choice([n for n in PARTS if n > 2])
        value = Fraction(rng.randint(1, below - 1), below)
        if value.denominator in PARTS and value.denominator > 2:
            return value


def part(value: Fraction, rng: random.Random) -> str:
    a, b = value.numerator, value.denominator
    name = PARTS[b][a > 1]
    return rng.choice(
        [
            f"{ONES[a]} {name}",
            f"{ONES[a]}-{name}",
            f"{a}/{b}",
            rf"\frac{{{a}}}{{{b}}}",
            f"{ONES[a].capitalize()} {name}",
        ]
    )


def near_part(value: Fraction, rng: random.Random) -> Fraction:
    while True:
        other = draw_part(rng)
        if other != value:
            return other


def part_traps(value: Fraction, rng: random.Random) -> list[Trap]:
    a, b = value.numerator, value.denominator
    return [
        (ONES[a], a),
        (f"{ONES[b]} {ONES[a]}ths", "inverted"),
        (f"more than {ONES[a]} {PARTS[b][a > 1]}", "a bound"),
        (f"{ONES[a]} and {ONES[b]}", "two numbers"),
    ]


CHINESE_UNITS = {
    "千克": ("公斤", "kg"),
    "厘米": ("cm", "公分"),
    "千米": ("公里", "km"),
    "米": ("m", "公尺"),
    "分钟": ("min",),
    "小时": ("h",),
}
ChineseMeasure = tuple[int, str]


def chinese_measure(value: ChineseMeasure, rng: random.Random) -> str:
    n, unit = value
    shown = f"{n}{rng.choice(('', ' '))}{rng.choice((unit, unit, *CHINESE_UNITS[unit]))}"
    return rng.choice([shown, f"{shown}。", f"答案：{shown}", f"答案是{shown}。"])


def near_chinese_measure(value: ChineseMeasure, rng: random.Random) -> ChineseMeasure:
    n, unit = value
    return rng.choice([(n + 1, unit), (n * 10, unit), (n, rng.choice([one for one in CHINESE_UNITS if one != unit]))])


LIST_KINDS = (
    Kind("lists of words", "Name them from left to right.", lambda rng: tuple(rng.sample(THINGS, rng.choice((2, 3, 3, 4)))), near_words, (lambda v, rng: ", ".join(v), words, words), word_traps, golds=1),
    Kind("several options", lambda v, rng: listed(v[0], rng).replace("Which word is", "Which words are"), draw_several, near_several, (lambda v, rng: ", ".join(letters(v, rng)), several, several), several_traps, golds=1, category="MC"),
    Kind("lists of measures", "Give the readings from left to right.", draw_lengths, near_lengths, (lambda v, rng: ", ".join(f"{n} {u}" for n, u in v), lengths, lengths), lambda v, rng: [(f"{v[0][0]} {v[0][1]}", "a part"), (" or ".join(f"{n} {u}" for n, u in v), "alternatives")], golds=1),
    Kind("temperatures", "What does the thermometer show?", lambda rng: (rng.randint(2, 99), rng.choice("CF")), near_temperature, (lambda v, rng: f"{v[0]} °{v[1]}", temperature, temperature), temperature_traps, golds=2),
    Kind("weights", "How heavy is it?", lambda rng: rng.randint(2, 12) * 16 + rng.randint(1, 15), lambda v, rng: v + rng.choice((-16, 16, 3, -2)), (lambda v, rng: f"{v // 16} lb {v % 16} oz", weight, weight), weight_traps, golds=2, number=float),
    Kind("degrees and minutes", "How large is the angle?", lambda rng: rng.randint(11, 80) * 60 + rng.randint(2, 59), lambda v, rng: v + rng.choice((60, -60, 70, 600)), (lambda v, rng: rf"{v // 60}^\circ {v % 60}'", arc, arc), arc_traps, golds=2, number=float),
    Kind("parts in words", "Which part is shaded?", draw_part, near_part, (lambda v, rng: f"{v.numerator}/{v.denominator}", part, part), part_traps, golds=2, number=float),
    Kind("Chinese measures", "是多少？", lambda rng: (rng.randint(2, 300), rng.choice(list(CHINESE_UNITS))), near_chinese_measure, (lambda v, rng: f"{v[0]}{v[1]}", chinese_measure, chinese_measure), lambda v, rng: [(f"{v[0]}万{v[1]}", "ten thousand times"), (f"不到{v[0]}{v[1]}", "a bound"), (f"{v[0]}{v[1]}或{v[0] + 1}{v[1]}", "two answers"), (f"{v[0]}平方{v[1]}", "a square")], golds=1),
)  # fmt: skip
