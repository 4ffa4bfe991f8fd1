"""Graded scores of bounding boxes (IoU) and points (distance).

A box scores its intersection over union with the gold. A point scores 1 − distance / radius, at least 0, where
the radius is a twentieth of the scale: 1 if the gold's coordinates are shares of the image (all at most 1), else
1000 (pixels of a usual image, or thousandths, as Qwen's models write them). Scores from 0.5 count as correct.
Coordinates are compared as written; shares and pixels are not converted into each other.
"""

import math
import re
from functools import lru_cache
from typing import Literal

from wethink.rewards.verdict import Verdict, graded, wrong

RADIUS = 0.05  # of the scale

_BOX = re.compile(r"\bbounding box|\bbbox", re.IGNORECASE)
_POINT = re.compile(r"\bpixel coordinates|\bpoint_2d|\bclick\b|\bpoint (?:to|at)\b", re.IGNORECASE)
_NAMES = re.compile(
    r"\"?(?:bbox_2d|point_2d)\"?|\b[xy](?:[12]|_?min|_?max)?\s*[=:]|</?(?:box|point)>|```(?:json)?", re.IGNORECASE
)
_NUMBER = re.compile(r"-?[0-9]{1,7}(?:\.[0-9]{1,12})?(?![0-9.])")
_LEFT_OVER = re.compile(
    r"(?:[\s\[\](){},;:=*`.]|\b(?:the|bounding|box|bbox|point|coordinates|is|are|at|click|answer|final)\b)*",
    re.IGNORECASE,
)


def kind(problem: str, gold: str) -> Literal["box", "point"] | None:
    """Return whether a row asks for a box or a point, or None.

    The gold must have that form, and the problem or the gold must name it.

    >>> kind("Give the bounding box of the car.", "[1, 2, 3, 4]"), kind("Name the numbers.", "[1, 2, 3, 4]")
    ('box', None)
    """
    if (_BOX.search(problem) or _BOX.search(gold)) and _box(gold):
        return "box"
    if (_POINT.search(problem) or _POINT.search(gold)) and _numbers(gold, 2):
        return "point"
    return None


@lru_cache(maxsize=4096)
def _numbers(text: str, count: int) -> tuple[float, ...] | None:
    """Parse a whole text as `count` coordinates in a usual notation, else None."""
    if len(text) > 400:
        return None
    text = _NAMES.sub(" ", text)
    found = tuple(float(number) for number in _NUMBER.findall(text))
    if len(found) != count or not _LEFT_OVER.fullmatch(_NUMBER.sub(" ", text)):
        return None
    return found


def _box(text: str) -> tuple[float, ...] | None:
    found = _numbers(text, 4)
    return found if found and found[0] < found[2] and found[1] < found[3] else None


def verify_box(answer: str, gold: str) -> Verdict:
    """Score a box by its intersection over union with the gold, a box by `kind`.

    >>> verify_box("[0, 0, 10, 5]", "[0, 0, 10, 10]").score
    0.5
    """
    mine, theirs = _box(answer), _box(gold)
    if mine is None or theirs is None:
        return wrong("not one box (left < right, top < bottom)")
    score = iou(mine, theirs)
    return graded(score, f"overlap {score:.2f}")


def iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the intersection over union of two boxes (left, top, right, bottom)."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    common = max(0.0, wide) * max(0.0, high)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return common / (sum(areas) - common)


def verify_point(answer: str, gold: str) -> Verdict:
    """Score a point by 1 − distance / radius to the gold, a point by `kind`.

    >>> verify_point("(420, 320)", "[420, 310]").score
    0.8
    """
    mine, theirs = _numbers(answer, 2), _numbers(gold, 2)
    if mine is None or theirs is None:
        return wrong("not one point")
    radius = RADIUS * (1.0 if max(theirs) <= 1 else 1000.0)
    score = max(0.0, 1.0 - math.dist(mine, theirs) / radius)
    return graded(score, f"distance {math.dist(mine, theirs):.3g}")
