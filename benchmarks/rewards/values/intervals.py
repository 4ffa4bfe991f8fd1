# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of intervals and their unions."""

import random

from benchmarks.rewards.values.kinds import Kind, Trap

Interval = tuple[str, int | None, int | None, str]  # None: without an end


def draw_interval(rng: random.Random) -> Interval:
    a, b = sorted(rng.sample([n for n in range(-30, 31) if n], 2))
    kind = rng.random()
    if kind < 0.2:
        return "(", None, b, rng.choice(")]")
    if kind < 0.4:
        return rng.choice("(["), a, None, ")"
    return rng.choice("(["), a, b, rng.choice(")]")


def interval(value: Interval, rng: random.Random) -> str:
    left, a, b, right = value
    infinity = rng.choice((r"\infty", r"\infty", "∞", r"+\infty"))
    low = "-" + infinity.lstrip("+") if a is None else str(a)
    high = infinity if b is None else str(b)
    comma = rng.choice((", ", ",", r",\, ", " , "))
    body = rng.choice(
        [
            f"{left}{low}{comma}{high}{right}",
            f"{left}{low}{comma}{high}{right}",
            rf"\left{left}{low}{comma}{high}\right{right}",
            rf"x \in {left}{low}{comma}{high}{right}",
        ]
    )
    below, above = ("<" if left == "(" else r"\le"), ("<" if right == ")" else r"\le")
    if a is not None and b is not None and rng.random() < 0.2:
        return rf"{a} {below} x {above} {b}"
    if a is None and rng.random() < 0.2:
        return f"x {above} {b}"
    return body


def interval_gold(value: Interval, rng: random.Random) -> str:
    left, a, b, right = value
    return (
        f"{left}{a if a is not None else '-' + chr(92) + 'infty'}, {b if b is not None else chr(92) + 'infty'}{right}"
    )


def near_interval(value: Interval, rng: random.Random) -> Interval:
    left, a, b, right = value
    others: list[Interval] = []
    if a is not None:
        others += [("[" if left == "(" else "(", a, b, right)] * 2 + [(left, a - 1, b, right)]
    if b is not None:
        others += [(left, a, b, "]" if right == ")" else ")")] * 2 + [(left, a, b + 1, right)]
    if a is not None and b is not None:
        others += [("(", None, b, right), (left, a, None, ")"), (left, -b, -a, right)] if a != -b else []
    return rng.choice(others)


Union = tuple[Interval, Interval]


def draw_union(rng: random.Random) -> Union:
    a, b, c, d = sorted(rng.sample(range(-30, 31), 4))
    first: Interval = (
        ("(", None, b, rng.choice(")]")) if rng.random() < 0.5 else (rng.choice("(["), a, b, rng.choice(")]"))
    )
    second: Interval = (
        (rng.choice("(["), c, None, ")") if rng.random() < 0.5 else (rng.choice("(["), c, d, rng.choice(")]"))
    )
    return first, second


def union(value: Union, rng: random.Random) -> str:
    cup = rng.choice((r" \cup ", r"\cup ", " ∪ ", "∪"))
    text = cup.join(interval_gold(one, rng) for one in value)
    return rng.choice([text, text.replace(", ", ","), rf"x \in {text}", text.replace(r"\infty", "∞")])


def near_union(value: Union, rng: random.Random) -> Union:
    first, second = value
    return rng.choice([(near_ends(first, rng), second), (first, near_ends(second, rng))])


def near_ends(value: Interval, rng: random.Random) -> Interval:
    """Open for closed at one end, which cannot make two disjoint intervals meet unless they touched."""
    left, a, b, right = value
    others: list[Interval] = [] if a is None else [("[" if left == "(" else "(", a, b, right)]
    others += [] if b is None else [(left, a, b, "]" if right == ")" else ")")]
    return rng.choice(others)


def union_traps(value: Union, rng: random.Random) -> list[Trap]:
    first, second = (interval_gold(one, rng) for one in value)
    return [(first, "a part"), (second, "a part"), (rf"{first} \cap {second}", "nothing")]


INTERVALS = (
    Kind("intervals", "Solve the inequality; give the answer in interval notation.", draw_interval, near_interval, (interval_gold, interval, interval, interval), golds=1, maths=True),
    Kind("unions", "Solve the inequality; give the answer in interval notation.", draw_union, near_union, (lambda v, rng: r" \cup ".join(interval_gold(one, rng) for one in v), union, union), union_traps, golds=1, maths=True),
)  # fmt: skip
