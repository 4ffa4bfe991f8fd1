"""Boards of coloured shapes: four cells, each with one shape or empty."""

import math
from collections.abc import Collection, Sequence
from itertools import permutations
from random import Random

from PIL import Image, ImageDraw

from wethink.common.jsonl import content_id
from wethink.data.drawn import questions
from wethink.data.drawn.palette import CANVAS, COLOURS, NEAR_COLOURS, SUPERSAMPLE, tint
from wethink.data.drawn.questions import CELLS, Arguments, Kind, Part, Parts, Question, Truth

SHAPES = ("circle", "square", "triangle", "cross")
PLURALS = {"circles": "circle", "squares": "square", "triangles": "triangle", "crosses": "cross"}
NEAR_SHAPES = {
    "circle": ("square",),
    "square": ("circle", "triangle"),
    "triangle": ("square", "cross"),
    "cross": ("triangle", "square"),
}
EMPTY = 0.15  # share of empty cells
NOTHING: Part = {"colour": "none", "shape": "none"}


def material() -> dict[str, str]:
    """Return no material: scenes are synthetic and split by their hash alone."""
    return {}


def sample(rng: Random, pool: Sequence[str]) -> Truth:
    """Sample four cells from few colours and shapes, so that counts vary."""
    colours = rng.sample(sorted(COLOURS), k=rng.randint(2, 4))
    shapes = rng.sample(SHAPES, k=rng.randint(2, 4))
    parts = [
        dict(NOTHING) if rng.random() < EMPTY else {"colour": rng.choice(colours), "shape": rng.choice(shapes)}
        for _ in CELLS
    ]
    return {"parts": parts, "style": "board", "made_of": []}


def scene(truth: Truth) -> str:
    """Hash the four cells in order."""
    return content_id("scenes", truth["parts"])


def render(truth: Truth, rng: Random, size: int) -> Image.Image:
    """Draw the board with shapes jittered in position, angle, size and tint."""
    image = Image.new("RGB", (size * SUPERSAMPLE, size * SUPERSAMPLE), CANVAS)
    pen = ImageDraw.Draw(image)
    cell = size * SUPERSAMPLE / 2
    for index, part in enumerate(truth["parts"]):
        radius = cell * rng.uniform(0.32, 0.36)
        slack = cell / 2 - 1.2 * radius  # a turned square's corners reach farthest
        x = cell * (index % 2 + 0.5) + rng.uniform(-slack, slack)
        y = cell * (index // 2 + 0.5) + rng.uniform(-slack, slack)
        turn, colour = rng.uniform(-0.08, 0.08), rng.random()
        if part != NOTHING:
            _shape(pen, part["shape"], x, y, radius, turn, tint(part["colour"], Random(colour)))
    return image.reduce(SUPERSAMPLE)


def _shape(
    pen: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, turn: float, colour: tuple[int, int, int]
) -> None:
    def corners(angles: Sequence[float], radii: Sequence[float]) -> list[tuple[float, float]]:
        return [
            (x + r * math.sin(math.tau * a + turn), y - r * math.cos(math.tau * a + turn))
            for a, r in zip(angles, radii, strict=True)
        ]

    if shape == "circle":
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    elif shape == "square":
        pen.polygon(corners([(i + 0.5) / 4 for i in range(4)], [radius * 1.25] * 4), fill=colour)
    elif shape == "triangle":
        pen.polygon(corners([i / 3 for i in range(3)], [radius * 1.2] * 3), fill=colour)
    else:  # cross: two bars
        wide = 0.055  # half the angle that a bar's end takes
        for quarter in (0.0, 0.25):
            ends = [quarter - wide, quarter + wide, quarter + 0.5 - wide, quarter + 0.5 + wide]
            pen.polygon(corners(ends, [radius * 1.1] * 4), fill=colour)


def _name(part: Part) -> str:
    # Two words for every cell: a tiny model writes lists of equally long items much more reliably.
    return "no thing" if part["shape"] == "none" else f"{part['colour']} {part['shape']}"


def describe(parts: Parts) -> str:
    """List the cells, e.g. `red circle , no thing , blue cross , red circle`."""
    return " , ".join(map(_name, parts))


def misread(part: Part, rng: Random) -> Part:
    """Return the part in a near colour or shape; an empty cell gets a shape."""
    if part["shape"] == "none":
        return {"colour": rng.choice(sorted(COLOURS)), "shape": rng.choice(SHAPES)}
    if rng.random() < 0.5:
        return {"colour": rng.choice(NEAR_COLOURS[part["colour"]]), "shape": part["shape"]}
    return {"colour": part["colour"], "shape": rng.choice(NEAR_SHAPES[part["shape"]])}


def _count(word: str, parts: Parts) -> int:
    """Count the parts of a colour (`red`) or a shape (`crosses`)."""
    return sum(part["colour"] == word or part["shape"] == PLURALS.get(word) for part in parts)


def _conclude_count(arguments: Arguments, parts: Parts) -> tuple[str, str]:
    count = str(_count(arguments[0], parts))
    return f"{arguments[0]} : {count}", count


def _pairs(parts: Parts) -> list[Arguments]:
    # If neither word occurs in the picture, the answer is trivially 'no'.
    words = [*permutations(sorted(COLOURS), 2), *permutations(PLURALS, 2)]
    return [(a, b) for a, b in words if _count(a, parts) or _count(b, parts)]


def _conclude_more(arguments: Arguments, parts: Parts) -> tuple[str, str]:
    first, second = (_count(word, parts) for word in arguments)
    return f"{arguments[0]} : {first} , {arguments[1]} : {second}", "yes" if first > second else "no"


def _conclude_cell(arguments: Arguments, parts: Parts) -> tuple[str, str]:
    name = _name(parts[CELLS.index(arguments[0])])
    return f"{arguments[0]} : {name}", name


_COUNT = ("recognition", "counting")
_COUNTS = {"0": 0.8, "1": 1.0, "2": 1.2, "3": 2.0, "4": 3.0}
KINDS = {
    "count_colour": Kind(
        _COUNT,
        "how many things are {} ?",
        lambda parts: [(c,) for c in sorted(COLOURS)],
        _conclude_count,
        weights=_COUNTS,
    ),
    "count_shape": Kind(
        _COUNT, "how many {} are there ?", lambda parts: [(s,) for s in PLURALS], _conclude_count, weights=_COUNTS
    ),
    "more": Kind((*_COUNT, "comparison"), "are there more {} than {} ?", _pairs, _conclude_more, both=True),
    "which_thing": Kind(
        ("recognition", "spatial"),
        "which thing is {} ?",
        lambda parts: [(c,) for c in CELLS],
        _conclude_cell,
    ),
}


def ask(parts: Parts, rng: Random, avoid: Collection[str] = ()) -> Question:
    """Ask a question about the board."""
    return questions.ask(KINDS, parts, rng, avoid)


def solve(question: Question, parts: Parts) -> tuple[str, str]:
    """Return the reasoning path and the answer."""
    return questions.solve(KINDS, describe(parts), question, parts)
