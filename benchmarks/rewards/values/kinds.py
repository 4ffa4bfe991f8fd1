r"""Kinds of values and how a pair of gold and answer is made from one: the truth is the objects', never read from text.

A kind draws a value, writes it in any of its dialects, and knows values one step away. A right pair is one value
written twice; a wrong pair is two values, or a value and a *trap*: a text that begins like the value and means another
(`7 squared` for 7). What is a choice and not a fact is stated here:

* A value that is no integer may be rounded, so a wrong one is at least 1 % away.
* A list and a tuple have an order, a set has none. An open end is not a closed one.
* `x %` is x/100. Bare `x` stands for it only where the problem asks for a percentage.
* 6:4 is the ratio 3:2. An unreduced fraction is right. `x = 3` answers with 3.
* A unit is written on both sides or, where the kind's name has no unit, on neither.
* Symbols of units have a case: mW is not MW.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Dialect = Callable[[Any, random.Random], str]
Trap = tuple[str, object]  # the text, and what it means


def no_traps(value: Any, rng: random.Random) -> list[Trap]:
    return []


def magnitude(value: Any) -> float:
    return float(value)


@dataclass(frozen=True)
class Kind:
    """How values of one kind are drawn, written and missed.

    Attributes:
        near: another value, one step away.
        dialects: ways to write a value; the first `golds` of them also serve as golds.
        traps: texts near the value with another meaning.
        number: the value as a number, for kinds whose values are numbers; unequal values are apart by it too.
        maths: the texts are LaTeX and may stand in `$…$`.
    """

    name: str
    problem: str | Callable[[Any, random.Random], str]
    draw: Callable[[random.Random], Any]
    near: Callable[[Any, random.Random], Any]
    dialects: tuple[Dialect, ...]
    traps: Callable[[Any, random.Random], list[Trap]] = no_traps
    golds: int = 2
    number: Callable[[Any], float] | None = None
    maths: bool = False
    category: str = "FIB"


@dataclass(frozen=True)
class Pair:
    """A gold and an answer, whether they are equal, and the two objects that make it so."""

    kind: str
    problem: str
    gold: str
    answer: str
    category: str
    equal: bool
    value: object
    other: object


def make(kind: Kind, equal: bool, rng: random.Random) -> Pair:
    """Draw a value of the kind and write it twice, or write it once and another value or trap beside it."""
    value = kind.draw(rng)
    problem = kind.problem if isinstance(kind.problem, str) else kind.problem(value, rng)
    gold = rng.choice(kind.dialects[: kind.golds])(value, rng)
    if equal:
        other: object = value
        texts = (rng.choice(kind.dialects)(value, rng) for _ in range(5))
        text = next((text for text in texts if text != gold), gold)  # another dialect, if the value has one
    else:
        traps = kind.traps(value, rng)
        if traps and rng.random() < 0.5:
            text, other = rng.choice(traps)
        else:
            other = kind.near(value, rng)
            text = rng.choice(kind.dialects)(other, rng)
    if kind.maths and in_maths(gold) and rng.random() < 0.2:
        gold = f"${gold}$"
    return Pair(kind.name, problem, gold, dress(text, kind.maths, rng), kind.category, equal, value, other)


def in_maths(text: str) -> bool:
    """Return whether a text means the same in `$…$`: TeX drops blanks, bare braces, and the meaning of `sqrt(2)`."""
    return not re.search(r"\$|^\{|[0-9] [0-9]|\*|(?<!\\)sqrt|[0-9][eE][-+0-9]|\b(?:or|than)\b", text)


def dress(text: str, maths: bool, rng: random.Random) -> str:
    """Put an answer into what models put around it."""
    if "\n" in text and not maths:  # a list on lines of its own
        return text
    frames = ["{}"] * 6 + ["**{}**", " {} "]
    if text[-1] not in ".。!！":  # no sentence yet
        frames += ["The answer is {}.", "Answer: {}"]
    if maths and in_maths(text):
        frames += ["${}$", "$${}$$", r"\({}\)", r"\boxed{{{}}}", r"$\boxed{{{}}}$", "The answer is ${}$."]
    return rng.choice(frames).format(text)


def shifted(low: int, high: int) -> Callable[[Any, random.Random], int]:
    """Return a `near` for integers: a step, a swapped sign, or two digits swapped, never the value itself."""

    def near(value: int, rng: random.Random) -> int:
        digits = list(str(abs(value)))
        place = rng.randrange(len(digits))
        digits[place] = str((int(digits[place]) + rng.randint(1, 9)) % 10)
        choices = {value + 1, value - 1, -value, value * 10, int("".join(digits)), int(str(abs(value))[::-1])} - {value}
        return rng.choice(sorted(choice for choice in choices if low <= choice <= high))

    return near


def written(*templates: str) -> tuple[Dialect, ...]:
    """Dialects from templates with `{}` for a value that writes itself."""
    return tuple(lambda value, rng, template=template: template.format(value) for template in templates)
