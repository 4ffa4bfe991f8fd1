# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of collections: tuples, lists of points, intervals and unions, sets, matrices, lists, ratios, assignments."""

import random
from collections.abc import Callable
from fractions import Fraction
from math import gcd
from typing import Any

from benchmarks.rewards.values.algebra import near_pi, near_root, pi, pi_gold, root, root_gold
from benchmarks.rewards.values.kinds import Dialect, Kind, Trap
from benchmarks.rewards.values.plain_numbers import fraction, near_fraction

# An entry is an int, a fraction, ("root", (a, b)) or ("pi", q); entries are equal as objects.
Entry = Any


def entry(value: Entry, rng: random.Random) -> str:
    if isinstance(value, tuple):
        return root(value[1], rng) if value[0] == "root" else pi(value[1], rng)
    return fraction(value, rng) if isinstance(value, Fraction) else str(value)


def plain_entry(value: Entry) -> str:
    rng = random.Random(0)
    if isinstance(value, tuple):
        return root_gold(value[1], rng) if value[0] == "root" else pi_gold(value[1], rng)
    return (
        (
            str(value)
            if value.denominator == 1
            else rf"{'-' if value < 0 else ''}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
        )
        if isinstance(value, Fraction)
        else str(value)
    )


def draw_entry(rng: random.Random) -> Entry:
    kind = rng.random()
    if kind < 0.6:
        return rng.choice((-1, 1)) * rng.randint(1, 30)
    if kind < 0.8:
        return Fraction(rng.choice((-1, 1)) * (rng.randint(0, 9) * 7 + rng.randint(1, 6)), 7)
    if kind < 0.9:
        return "root", (Fraction(rng.choice((1, 2, 5, -3))), rng.choice((2, 3, 5, 7)))
    return "pi", Fraction(rng.choice((1, 2, -1, 5)), rng.choice((1, 2, 3, 4)))


def near_entry(value: Entry, rng: random.Random) -> Entry:
    if isinstance(value, tuple):
        return value[0], (near_root if value[0] == "root" else near_pi)(value[1], rng)
    return (
        near_fraction(value, rng) if isinstance(value, Fraction) else rng.choice((-value, value + 1 or 2, value * 10))
    )


def draw_items(low: int, high: int) -> Callable[[random.Random], tuple[Entry, ...]]:
    def draw(rng: random.Random) -> tuple[Entry, ...]:
        size, items = rng.randint(low, high), []
        while len(items) < size:
            item = draw_entry(rng)
            if all(plain_entry(item) != plain_entry(other) for other in items):
                items.append(item)
        return tuple(items)

    return draw


def near_items(items: tuple[Entry, ...], rng: random.Random) -> tuple[Entry, ...]:
    """Return a list with one item changed, two swapped, one left out or one added."""
    place = rng.randrange(len(items))
    changed = (*items[:place], near_entry(items[place], rng), *items[place + 1 :])
    return rng.choice([changed, changed, items[::-1], items[:-1] if len(items) > 2 else changed, (*items, 99)])


def near_set(items: tuple[Entry, ...], rng: random.Random) -> tuple[Entry, ...]:
    """As `near_items`, but never the same items in another order."""
    while True:
        other = near_items(items, rng)
        if sorted(map(plain_entry, other)) != sorted(map(plain_entry, items)) and len(
            {*map(plain_entry, other)}
        ) == len(other):
            return other


def between(left: str, right: str, marks: tuple[str, ...] = (", ", ",", " , ", r",\ ", r",\,")) -> Dialect:
    return lambda items, rng: left + rng.choice(marks).join(entry(item, rng) for item in items) + right


def plainly(left: str, right: str) -> Dialect:
    return lambda items, rng: left + ", ".join(map(plain_entry, items)) + right


def scrambled(*dialects: Dialect) -> tuple[Dialect, ...]:
    def one(dialect: Dialect) -> Dialect:
        return lambda items, rng: dialect(tuple(rng.sample(list(items), len(items))), rng)

    return tuple(map(one, dialects))


def tuple_traps(items: tuple[Entry, ...], rng: random.Random) -> list[Trap]:
    text = ", ".join(map(plain_entry, items))
    return [
        (f"({text}), (0, 0)", "two tuples"),
        (plain_entry(items[0]), "a part"),
        (f"({' + '.join(map(plain_entry, items))})", "a sum"),
        (f"-({text})", "negated"),
        (f"({text}, {text})", "twice"),
    ]


def set_traps(items: tuple[Entry, ...], rng: random.Random) -> list[Trap]:
    text = ", ".join(map(plain_entry, items))
    return [
        (rf"\{{{text}, 98\}}", "one more"),
        (plain_entry(items[0]), "a part"),
        (r"\emptyset", "nothing"),
        (rf"\{{{' + '.join(map(plain_entry, items))}\}}", "a sum"),
    ]


Points = tuple[tuple[int, int], ...]


def points(value: Points, rng: random.Random) -> str:
    comma, between_, frame = (
        rng.choice((",", ", ")),
        rng.choice((", ", ",", " and ", "; ", r",\ ")),
        rng.choice(("{}", "{}", "${}$", r"\left{}")),
    )
    shown = [f"({a}{comma}{b})" for a, b in value]
    if frame == "${}$" and between_ != r",\ ":
        return between_.join(f"${one}$" for one in shown)
    if frame.startswith(r"\left"):
        return between_.join(rf"\left({one[1:-1]}\right)" for one in shown)
    return between_.join(shown) if len(shown) == 2 else ", ".join(shown)


def points_gold(value: Points, rng: random.Random) -> str:
    return rng.choice((", ", ",")).join(f"({a}, {b})" for a, b in value)


def near_points(value: Points, rng: random.Random) -> Points:
    place = rng.randrange(len(value))
    a, b = value[place]
    other = rng.choice([(b, a) if a != b else (a, b + 1), (a, -b), (a + 1, b), (-a, b)])
    return rng.choice([(*value[:place], other, *value[place + 1 :]), value[:-1], (*value, (77, 78))])


def point_traps(value: Points, rng: random.Random) -> list[Trap]:
    flat = [n for point in value for n in point]
    columns = list(zip(*value, strict=True))
    crossed = ", ".join(f"({', '.join(map(str, column))})" for column in columns)
    traps: list[Trap] = [
        (f"({', '.join(map(str, flat))})", "one tuple"),
        (f"[{', '.join(map(str, flat))}, 0]", "one list"),
    ]
    return traps + ([(crossed, "columns")] if len(value) == 2 and tuple(columns) != value else [])


def draw_points(rng: random.Random) -> Points:
    return tuple(
        (x, rng.choice((-1, 1)) * rng.randint(1, 20))
        for x in sorted(rng.sample([n for n in range(-15, 16) if n], rng.choice((2, 2, 3))))
    )


Matrix = tuple[tuple[Entry, ...], ...]


def draw_matrix(rng: random.Random) -> Matrix:
    rows, columns = rng.choice(((2, 2), (2, 2), (3, 3), (2, 3), (3, 1), (2, 1)))
    return tuple(
        tuple(
            rng.choice((0, 1, rng.randint(-20, 20), Fraction(rng.choice((1, 3)), 4), rng.randint(2, 9)))
            for _ in range(columns)
        )
        for _ in range(rows)
    )


def matrix(value: Matrix, rng: random.Random) -> str:
    gap, newline = rng.choice(("", " ", " ")), rng.choice((r"\\", r" \\ ", "\\\\\n"))
    body = newline.join(f"{gap}&{gap}".join(entry(one, rng) for one in row) for row in value)
    name = rng.choice(("pmatrix", "bmatrix", "array", "matrix"))
    left, right = rng.choice((("(", ")"), ("[", "]")))
    if name in ("array", "matrix"):
        columns = f"{{{'c' * len(value[0])}}}" if name == "array" else ""
        return rf"\left{left}\begin{{{name}}}{columns}{gap}{body}{gap}\end{{{name}}}\right{right}"
    return rf"\begin{{{name}}}{gap}{body}{gap}\end{{{name}}}"


def matrix_gold(value: Matrix, rng: random.Random) -> str:
    gap, name = rng.choice(("", " ")), rng.choice(("pmatrix", "bmatrix"))
    body = rf"{gap}\\{gap}".join(f"{gap}&{gap}".join(map(plain_entry, row)) for row in value)
    return rf"\begin{{{name}}}{gap}{body}{gap}\end{{{name}}}"


def near_matrix(value: Matrix, rng: random.Random) -> Matrix:
    i, j = rng.randrange(len(value)), rng.randrange(len(value[0]))
    changed = tuple(
        tuple(one + 1 if (r, c) == (i, j) else one for c, one in enumerate(row)) for r, row in enumerate(value)
    )
    transposed = tuple(zip(*value, strict=True))
    others = [changed, changed, transposed, value[::-1], value[:-1] if len(value) > 2 else changed, (*value, value[0])]
    return rng.choice([one for one in others if one != value])


def matrix_traps(value: Matrix, rng: random.Random) -> list[Trap]:
    text = matrix_gold(value, rng)
    squared = (
        [(text.replace("pmatrix", "vmatrix").replace("bmatrix", "vmatrix"), "a determinant")]
        if len(value) == len(value[0])
        else []
    )
    traps: list[Trap] = [
        (f"{text} + 1", "a sum"),
        (f"{text}, {matrix_gold(near_matrix(value, rng), rng)}", "two answers"),
    ]
    return traps + list(squared)


Ratio = tuple[int, ...]


def ratio(value: Ratio, rng: random.Random) -> str:
    times = rng.choice((1, 1, 2, 3))
    parts = [str(n * times) for n in value]
    forms = [":".join(parts), " : ".join(parts), " to ".join(parts), "∶".join(parts), r" \colon ".join(parts)]
    return rng.choice([*forms, "/".join(parts), rf"\frac{{{parts[0]}}}{{{parts[1]}}}"] if len(parts) == 2 else forms)


def draw_ratio(rng: random.Random) -> Ratio:
    while True:
        value = tuple(rng.randint(2, 50) for _ in range(rng.choice((2, 2, 2, 3))))
        if gcd(*value) == 1 and len(set(value)) == len(value):
            return value


def near_ratio(value: Ratio, rng: random.Random) -> Ratio:
    others = [
        value[::-1],
        (value[0] + 12, *value[1:]),
        (*value[:-1], value[-1] + 1),
        (value[0] * 2, *value[1:]),
        (value[0], value[-1] + 1, *value[1:]),
    ]
    return rng.choice([one for one in others if not _same(one, value)])


def _same(one: Ratio, other: Ratio) -> bool:
    return len(one) == len(other) and all(a * other[0] == b * one[0] for a, b in zip(one, other, strict=True))


def ratio_traps(value: Ratio, rng: random.Random) -> list[Trap]:
    text = ":".join(map(str, value))
    return [
        (f"{text} pm", "a time"),
        (str(sum(value)), "a sum"),
        (f"{text} or 1:1", "two answers"),
        (str(value[0]), "a part"),
        (f"-{text}", "a sign"),
    ]


def assignments(value: tuple[Entry, ...], rng: random.Random) -> str:
    names = "xyz"[: len(value)]
    mark, gap = rng.choice((", ", " and ", "; ", ",")), rng.choice((" = ", "="))
    listed = mark.join(f"{name}{gap}{entry(one, rng)}" for name, one in zip(names, value, strict=True))
    shown = f"({', '.join(names)}) = ({', '.join(entry(one, rng) for one in value)})"
    return (
        rng.choice([listed, listed, shown]) if len(value) == 2 else rng.choice([listed.replace(" and ", ", "), shown])
    )


def assignments_gold(value: tuple[Entry, ...], rng: random.Random) -> str:
    return ", ".join(f"{name} = {plain_entry(one)}" for name, one in zip("xyz", value, strict=False))


def near_assignments(value: tuple[Entry, ...], rng: random.Random) -> tuple[Entry, ...]:
    place = rng.randrange(len(value))
    return rng.choice([value[::-1], (*value[:place], near_entry(value[place], rng), *value[place + 1 :])])


COLLECTIONS = (
    Kind("tuples", "Find the ordered tuple.", draw_items(2, 4), near_items, (plainly("(", ")"), between("(", ")"), between(r"\left(", r"\right)"), between("( ", " )"), between(r"\big(", r"\big)")), tuple_traps, golds=2, maths=True),
    Kind("lists of points", "Give all points, from left to right.", draw_points, near_points, (points_gold, points, points), point_traps, golds=1),
    Kind("sets", "Find the set of solutions.", draw_items(2, 4), near_set, scrambled(plainly(r"\{", r"\}"), between(r"\{", r"\}"), between(r"\left\{", r"\right\}"), between("{", "}"), between(r"\lbrace ", r" \rbrace")), set_traps, golds=2, maths=True),
    Kind("matrices", "Find the matrix.", draw_matrix, near_matrix, (matrix_gold, matrix, matrix), matrix_traps, golds=1, maths=True),
    Kind("lists of values", "List the values from left to right.", draw_items(2, 4), near_items, (plainly("", ""), between("", "", (", ", ",", "; ", r",\ ")), between("", "", (", ", "; ")), between("[", "]", (", ",))), lambda v, rng: [(plain_entry(v[0]), "a part"), (" or ".join(map(plain_entry, v)), "alternatives"), (" + ".join(map(plain_entry, v)), "a sum")], golds=1),
    Kind("ratios", "Find the ratio of their ages.", draw_ratio, near_ratio, (lambda v, rng: ":".join(map(str, v)), ratio, ratio), ratio_traps, golds=1),
    Kind("assignments", "Solve the system for x, y (and z).", draw_items(2, 3), near_assignments, (assignments_gold, assignments, assignments), lambda v, rng: [(f"x = {plain_entry(v[0])}", "a part"), (f"x = {plain_entry(v[0])} or y = {plain_entry(v[1])}", "alternatives")], golds=1),
)  # fmt: skip
