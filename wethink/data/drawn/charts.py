"""Bar, line and pie charts of scikit-learn's tables.

A chart shows one numeric column of four rows (a pie: three or four). A value is shown as a level from 1 to 5, by the
column's quantiles over all rows. A pie shows only shares, so its rows are chosen with levels that sum to ten: a level
is then a number of tenths.
"""

from collections.abc import Collection, Sequence
from functools import cache
from itertools import permutations
from random import Random
from typing import Any

from PIL import Image, ImageDraw

from wethink.common.jsonl import content_id
from wethink.data.drawn import questions
from wethink.data.drawn.palette import CANVAS, COLOURS, NEAR_COLOURS, SUPERSAMPLE, tint
from wethink.data.drawn.questions import Arguments, Kind, Part, Parts, Question, Truth

STYLES = ("bar", "bar", "line", "line", "pie")  # pies have few distinct scenes, so they are drawn less often
LEVELS = 5
PIE = 10  # a pie's levels sum to this
DARK = (40, 40, 40)
_Columns = dict[str, list[int]]  # column → level of every row


@cache
def _tables() -> dict[str, _Columns]:
    """Compute the level of every row, for columns in which all levels occur."""
    import numpy as np
    from sklearn import datasets

    tables: dict[str, _Columns] = {}
    for name in ("iris", "wine", "diabetes", "breast_cancer"):
        table = getattr(datasets, f"load_{name}")()
        columns: _Columns = {}
        for column, values in zip(table.feature_names, table.data.T, strict=True):
            edges = np.quantile(values, np.arange(1, LEVELS) / LEVELS)
            levels = (np.searchsorted(edges, values, side="right") + 1).tolist()
            if len(set(levels)) == LEVELS:
                columns[str(column)] = levels
        tables[name] = columns
    return tables


@cache
def material() -> dict[str, str]:
    """Return table rows (`iris/17`) with their values; equal rows are split alike."""
    from sklearn import datasets

    return {
        f"{name}/{index}": str(row.tolist())
        for name in _tables()
        for index, row in enumerate(getattr(datasets, f"load_{name}")().data)
    }


@cache
def _rows(pool: tuple[str, ...]) -> dict[str, list[int]]:
    """Group a pool's rows by table; tables with fewer than 8 rows are left out."""
    rows: dict[str, list[int]] = {}
    for row in pool:
        name, index = row.split("/")
        rows.setdefault(name, []).append(int(index))
    return {name: indices for name, indices in rows.items() if len(indices) >= 8}


def sample(rng: Random, pool: Sequence[str]) -> Truth:
    """Sample a chart type, a table, a column and rows with distinct colours."""
    style = rng.choice(STYLES)
    count = rng.choice((3, 4)) if style == "pie" else 4
    tables = _rows(tuple(pool))
    while True:
        table = rng.choice(sorted(tables))
        column = rng.choice(sorted(_tables()[table]))
        rows = rng.sample(tables[table], k=count)
        levels = [_tables()[table][column][row] for row in rows]
        if style != "pie" or sum(levels) == PIE:
            break
    colours = rng.sample(sorted(COLOURS), k=count)
    parts = [{"colour": colour, "level": level} for colour, level in zip(colours, levels, strict=True)]
    return {"parts": parts, "style": style, "column": column, "made_of": [f"{table}/{row}" for row in rows]}


def scene(truth: Truth) -> str:
    """Hash the chart's type, its colours in order and their levels.

    The rows are not part of it, as they cannot be seen in the chart.
    """
    return content_id("charts", truth["style"], truth["parts"])


def render(truth: Truth, rng: Random, size: int) -> Image.Image:
    """Draw the chart with jittered positions and tints."""
    whole = size * SUPERSAMPLE
    image = Image.new("RGB", (whole, whole), CANVAS)
    pen = ImageDraw.Draw(image)
    colours = [tint(part["colour"], rng) for part in truth["parts"]]
    levels = [part["level"] for part in truth["parts"]]
    {"bar": _bars, "line": _line, "pie": _pie}[truth["style"]](pen, whole, colours, levels, rng)
    return image.reduce(SUPERSAMPLE)


def _bars(pen: ImageDraw.ImageDraw, whole: int, colours: list[Any], levels: list[int], rng: Random) -> None:
    wide, unit = whole / 4, whole * 0.94 / LEVELS
    for index, (colour, level) in enumerate(zip(colours, levels, strict=True)):
        left = wide * (index + rng.uniform(0.08, 0.16))
        right = wide * (index + 1 - rng.uniform(0.08, 0.16))
        pen.rectangle((left, whole - unit * (level + rng.uniform(-0.12, 0.12)), right, whole), fill=colour)


def _line(pen: ImageDraw.ImageDraw, whole: int, colours: list[Any], levels: list[int], rng: Random) -> None:
    wide, radius = whole / 4, whole * 0.08
    unit = (whole - 2.4 * radius) / (LEVELS - 1)
    points = [
        (wide * (i + 0.5 + rng.uniform(-0.1, 0.1)), whole - 1.2 * radius - unit * (level - 1 + rng.uniform(-0.1, 0.1)))
        for i, level in enumerate(levels)
    ]
    pen.line(points, fill=DARK, width=max(1, whole // 50))
    for (x, y), colour in zip(points, colours, strict=True):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _pie(pen: ImageDraw.ImageDraw, whole: int, colours: list[Any], levels: list[int], rng: Random) -> None:
    radius = whole * rng.uniform(0.43, 0.48)
    x, y = (whole / 2 + rng.uniform(-0.02, 0.02) * whole for _ in range(2))
    angle = -90 + rng.uniform(-6, 6)  # the first slice starts at the top, the others follow clockwise
    for colour, level in zip(colours, levels, strict=True):
        turn = 360 * level / sum(levels)
        pen.pieslice((x - radius, y - radius, x + radius, y + radius), angle, angle + turn, fill=colour)
        angle += turn


def describe(parts: Parts) -> str:
    """List the parts, e.g. `red 3 , blue 5 , green 1 , yellow 4`."""
    return " , ".join(f"{part['colour']} {part['level']}" for part in parts)


def misread(part: Part, rng: Random) -> Part:
    """Return the part one level up or down, or in a near colour."""
    if rng.random() < 0.3:
        return {"colour": rng.choice(NEAR_COLOURS[part["colour"]]), "level": part["level"]}
    levels = [level for level in (part["level"] - 1, part["level"] + 1) if 1 <= level <= LEVELS]
    return {"colour": part["colour"], "level": rng.choice(levels)}


def _level(colour: str, parts: Parts) -> int:
    """Return the level of a colour, of a near colour if it is absent (misread parts)."""
    for wanted in ((colour,), NEAR_COLOURS[colour]):
        for part in parts:
            if part["colour"] in wanted:
                return int(part["level"])
    return int(parts[0]["level"])


def _colours(parts: Parts) -> list[Arguments]:
    return [(colour,) for colour in sorted({part["colour"] for part in parts})]


def _pairs(parts: Parts) -> list[Arguments]:
    return list(permutations(sorted({part["colour"] for part in parts}), 2))


def _unique(parts: Parts, extreme: int) -> list[Arguments]:
    return [()] if [part["level"] for part in parts].count(extreme) == 1 else []


def _conclude_extreme(word: str, parts: Parts) -> tuple[str, str]:
    choose = max if word == "largest" else min
    colour = choose(parts, key=lambda part: part["level"])["colour"]
    return f"{word} : {colour}", colour


def _conclude_larger(arguments: Arguments, parts: Parts) -> tuple[str, str]:
    first, second = (_level(colour, parts) for colour in arguments)
    return f"{arguments[0]} : {first} , {arguments[1]} : {second}", "yes" if first > second else "no"


def _conclude_level(arguments: Arguments, parts: Parts) -> tuple[str, str]:
    level = str(_level(arguments[0], parts))
    return f"{arguments[0]} : {level}", level


_READ, _COMPARE = ("recognition", "ocr"), ("recognition", "comparison")
KINDS = {
    "largest_colour": Kind(
        _COMPARE,
        "which colour is largest ?",
        lambda parts: _unique(parts, max(part["level"] for part in parts)),
        lambda arguments, parts: _conclude_extreme("largest", parts),
    ),
    "smallest_colour": Kind(
        _COMPARE,
        "which colour is smallest ?",
        lambda parts: _unique(parts, min(part["level"] for part in parts)),
        lambda arguments, parts: _conclude_extreme("smallest", parts),
        tuple(COLOURS),
    ),
    "larger_colour": Kind(_COMPARE, "is {} larger than {} ?", _pairs, _conclude_larger, both=True),
    "level": Kind(_READ, "what is the level of {} ?", _colours, _conclude_level),
}


def ask(parts: Parts, rng: Random, avoid: Collection[str] = ()) -> Question:
    """Ask a question about the chart."""
    return questions.ask(KINDS, parts, rng, avoid)


def solve(question: Question, parts: Parts) -> tuple[str, str]:
    """Return the reasoning path and the answer."""
    return questions.solve(KINDS, describe(parts), question, parts)
