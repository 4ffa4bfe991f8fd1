"""Unanswerable questions, made by swapping images: rows and held-out items that are rightly refused.

A hash chooses `validate.unanswerable` of the rows. Each is asked again about an image that cannot answer it; the row
itself stays, so that its words alone do not tell whether there is an answer. The rule by which no image is used that
might answer:

* the question is about one image and checked by rules, and its answer names something: no count, no yes or no, nothing
  that can be asked of any image as a whole, no option that declines;
* the other image is of another source and shows another scene, and no row of that source asks the same question.

A chosen row that the rule leaves without an image is counted with its reason.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from wethink.common.errors import UserError
from wethink.common.jsonl import content_id
from wethink.data.schema import Item, row_images
from wethink.rewards.rules.normalize import word_form
from wethink.rewards.rules.options import options
from wethink.rewards.rules.yes_no import GOLDS
from wethink.rewards.unanswerable import GOLD, KIND, refuses

ANY_IMAGE = re.compile(
    r"\b(?:how (?:many|much)|number of|count(?:s|ed|ing)?|(?:is|are) there|background|overall|mainly|main|style|mood|"
    r"describe|caption|title|shown? in (?:the|this) (?:image|picture|photo|figure))\b",
    re.IGNORECASE,
)
_DECLINES = re.compile(r"(?:none|neither|all|both|any|other|n/a)\b", re.IGNORECASE)
T = TypeVar("T", bound=Item)


@dataclass(frozen=True)
class Swapped(Generic[T]):
    """The questions made, and the outcome of every chosen row: `made`, or why there is none."""

    made: list[T]
    counts: dict[str, int]


def swap(rows: Sequence[T], share: float, seed: int) -> Swapped[T]:
    """Make unanswerable questions from a share of rows or items; a pure function of its arguments.

    Raises:
        UserError: rows were chosen, and no question could be made of any.
    """
    chosen = [row for row in rows if _number("chosen", seed, row["id"]) < share * 2**64]
    single = [row for row in rows if len(row_images(row)) == 1]
    shown = {row["image"]: row for row in reversed(single)} if chosen else {}
    images: dict[str, list[T]] = {}
    for image in sorted(shown):
        images.setdefault(shown[image]["source"], []).append(shown[image])
    pools = _Pools(images)
    asked = {(row["source"], word_form(row["problem"])) for row in rows} if chosen else set()
    made: dict[str, T] = {}
    outcomes = Counter[str]()
    for row in chosen:
        fault = _fault(row)
        other = None if fault else _image(row, pools, asked, seed)
        if other is None:
            outcomes[fault or "no image of another source and scene"] += 1
            continue
        swapped = _swapped(row, other)
        outcomes["the same question about the same image" if swapped["id"] in made else "made"] += 1
        made.setdefault(swapped["id"], swapped)
    if chosen and not made:
        most = "; ".join(f"{reason} ({count})" for reason, count in outcomes.most_common(3))
        raise UserError(
            f"params.yaml, validate.unanswerable is {share:g}, and none of {len(chosen)} chosen questions could be "
            f"made unanswerable: {most}. It needs images of two sources; set it to 0 if there is one only."
        )
    return Swapped(list(made.values()), dict(sorted(outcomes.items())))


def _fault(row: Item) -> str | None:
    """Return why another image might answer the question, or None."""
    problem, answer = row["problem"], row["answer"]
    if len(row_images(row)) != 1:
        return "not about one image"
    listed = options(problem) if row["category"] == "MC" else {}
    if row["reward"] != "rule" or row["category"] not in ("MC", "FIB"):
        return "not checked by rules"
    if word_form(listed.get(answer, answer)) in GOLDS or {word_form(text) for text in listed.values()} & GOLDS:
        return "answered by yes or no"
    if "counting" in row["abilities"] or ANY_IMAGE.search(problem):
        return "can be asked of any image"
    if refuses(answer) or any(refuses(text) or _DECLINES.match(text) for text in listed.values()):
        return "can be declined already"
    return None


class _Pools(dict[tuple[str, ...], list[T]]):
    """Rows, one per image, of several sources together; each union is made once."""

    def __init__(self, images: dict[str, list[T]]) -> None:
        super().__init__()
        self.images = images

    def __missing__(self, sources: tuple[str, ...]) -> list[T]:
        self[sources] = [other for source in sources for other in self.images[source]]
        return self[sources]


def _image(row: T, pools: _Pools[T], asked: set[tuple[str, str]], seed: int) -> T | None:
    """Return a row about an image that cannot answer, the first from a place that a hash chooses."""
    words = word_form(row["problem"])
    there = pools[tuple(s for s in sorted(pools.images) if s != row["source"] and (s, words) not in asked)]
    start = _number("image", seed, row["id"])
    tried = (there[(start + step) % len(there)] for step in range(len(there)))
    return next((other for other in tried if other["scene"] != row["scene"]), None)


def _swapped(row: T, other: T) -> T:
    """Return the question about the other image, with a refusal as its answer."""
    problem = row["problem"]
    made: dict[str, Any] = {key: value for key, value in row.items() if key != "columns"}
    made |= {key: other[key] for key in ("image", "source", "scene")}
    made |= {"id": content_id(other["image"], problem, KIND), "kind": KIND, "answer": GOLD}
    made |= {"category": "FIB", "reward": "rule"}  # a refusal is no letter
    if "refined_cot" in row:
        given = cast(dict[str, Any], other)
        made |= {"refined_cot": "", "image_path": given["image_path"], "split": given["split"]}
        made |= {"provenance": {"annotator": "swap", "row": row["id"], "image": row["image"]}, "decisions": {}}
    return cast(T, made)


def _number(what: str, seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"unanswerable {what} {seed} {name}".encode()).digest()[:8])
