"""Scans of handwritten digits (scikit-learn's load_digits, 8 × 8 pixels), four to an image."""

from collections.abc import Collection, Sequence
from functools import cache
from itertools import permutations
from random import Random

from PIL import Image

from wethink.common.jsonl import content_id
from wethink.data.drawn import questions
from wethink.data.drawn.palette import CANVAS
from wethink.data.drawn.questions import CELLS, Arguments, Kind, Part, Parts, Question, Truth

NEAR_DIGITS = {
    0: (6, 8),
    1: (7, 4),
    2: (3, 7),
    3: (8, 5),
    4: (9, 1),
    5: (3, 6),
    6: (0, 8),
    7: (1, 9),
    8: (3, 9),
    9: (4, 7),
}


@cache
def _scans() -> tuple[list[list[int]], list[int]]:
    """Load the ink (0 to 16, row by row) and the digit of every scan."""
    from sklearn.datasets import load_digits

    scans = load_digits()
    return scans.data.astype(int).tolist(), scans.target.tolist()


@cache
def material() -> dict[str, str]:
    """Return scans (`17`) with their pixels."""
    return {str(index): str(ink) for index, ink in enumerate(_scans()[0])}


def sample(rng: Random, pool: Sequence[str]) -> Truth:
    """Sample four different scans."""
    scans = rng.sample(pool, k=len(CELLS))
    return {"parts": [{"digit": _scans()[1][int(scan)]} for scan in scans], "style": "scans", "made_of": scans}


def scene(truth: Truth) -> str:
    """Hash the scans in order."""
    return content_id("digits", truth["made_of"])


def render(truth: Truth, rng: Random, size: int) -> Image.Image:
    """Draw bright ink on grey, each scan jittered in position, size and tint."""
    image = Image.new("RGB", (size, size), CANVAS)
    cell = size // 2
    for index, scan in enumerate(truth["made_of"]):
        ink = Image.new("L", (8, 8))
        ink.putdata([min(255, value * 16) for value in _scans()[0][int(scan)]])
        framed = Image.new("L", (10, 10))  # an empty rim, so that strokes end softly
        framed.paste(ink, (1, 1))
        edge = round(cell * rng.uniform(0.96, 1.08))
        left = cell * (index % 2) + (cell - edge) // 2 + rng.randint(-1, 1)
        top = cell * (index // 2) + (cell - edge) // 2 + rng.randint(-1, 1)
        bright = (rng.randint(225, 255), rng.randint(225, 255), rng.randint(225, 255))
        image.paste(bright, (left, top), framed.resize((edge, edge), Image.Resampling.BICUBIC))
    return image


def describe(parts: Parts) -> str:
    """List the digits, e.g. `3 , 7 , 1 , 4`."""
    return " , ".join(str(part["digit"]) for part in parts)


def misread(part: Part, rng: Random) -> Part:
    """Return a digit of similar shape."""
    return {"digit": rng.choice(NEAR_DIGITS[part["digit"]])}


def _digits(parts: Parts) -> list[int]:
    return [part["digit"] for part in parts]


def _conclude_largest(arguments: Arguments, parts: Parts) -> tuple[str, str]:
    digit = str(max(_digits(parts)))
    return f"largest : {digit}", digit


def _one_smallest(parts: Parts) -> list[Arguments]:
    digits = _digits(parts)
    return [()] if digits.count(min(digits)) == 1 else []


def _conclude_smallest(arguments: Arguments, parts: Parts) -> tuple[str, str]:
    digits = _digits(parts)
    place = CELLS[digits.index(min(digits))]
    return f"smallest : {min(digits)} , {place}", place


def _conclude_above(arguments: Arguments, parts: Parts) -> tuple[str, str]:
    found = [str(digit) for digit in _digits(parts) if digit > int(arguments[0])]
    return f"larger : {' , '.join(found) or 'none'}", str(len(found))


def _conclude_larger(arguments: Arguments, parts: Parts) -> tuple[str, str]:
    first, second = (_digits(parts)[CELLS.index(cell)] for cell in arguments)
    return f"{arguments[0]} : {first} , {arguments[1]} : {second}", "yes" if first > second else "no"


_READ = ("ocr", "recognition")
KINDS = {
    "largest_digit": Kind(
        (*_READ, "comparison"),
        "which digit is largest ?",
        lambda parts: [()],
        _conclude_largest,
    ),
    "smallest_place": Kind(
        (*_READ, "comparison", "spatial"),
        "where is the smallest digit ?",
        _one_smallest,
        _conclude_smallest,
        CELLS,
    ),
    "above": Kind(
        (*_READ, "counting", "comparison"),
        "how many digits are larger than {} ?",
        lambda parts: [(str(limit),) for limit in range(1, 9)],
        _conclude_above,
    ),
    "larger_digit": Kind(
        (*_READ, "spatial", "comparison"),
        "is the {} digit larger than the {} digit ?",
        lambda parts: list(permutations(CELLS, 2)),
        _conclude_larger,
        both=True,
    ),
}


def ask(parts: Parts, rng: Random, avoid: Collection[str] = ()) -> Question:
    """Ask a question about the scans."""
    return questions.ask(KINDS, parts, rng, avoid)


def solve(question: Question, parts: Parts) -> tuple[str, str]:
    """Return the reasoning path and the answer."""
    return questions.solve(KINDS, describe(parts), question, parts)
