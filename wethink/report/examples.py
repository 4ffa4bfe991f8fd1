"""Example cards of the run report: held-out items before and after GRPO.

Per source, items are taken in turn from the four outcomes (fixed, broke, both right, both wrong); within an outcome,
a hash decides the order. The page states the true proportions beside the examples.
"""

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from wethink.common.jsonl import Record, content_id
from wethink.config.response_format import ResponseFormat
from wethink.data.schema import row_images
from wethink.rewards.format import parse

OUTCOMES = {
    "fixed": "wrong before, right after",
    "broke": "right before, wrong after",
    "both right": "right before and after",
    "both wrong": "wrong before and after",
    "unknown": "a verdict is unknown",
}
LARGEST = 512  # pixels of the longer side: a larger image is scaled down for the page
PIXELATED = 128  # an image up to this side is enlarged with hard pixels

Pair = tuple[Record, Record]


@dataclass(frozen=True)
class Picture:
    """An image for the page; a `pixelated` one is enlarged without smoothing."""

    uri: str
    pixelated: bool


def pairs(records: Sequence[Record], start: str) -> list[Pair]:
    """Pair each item's greedy records before (`start`: sft or base) and after GRPO.

    Only answers to the true images count. The pairs are sorted by item id.
    """
    greedy = [record for record in records if record["temperature"] == 0 and record["pixels"] == "true"]
    before = {record["id"]: record for record in greedy if record["checkpoint"] == start}
    after = {record["id"]: record for record in greedy if record["checkpoint"] == "grpo"}
    return [(before[item], after[item]) for item in sorted(before.keys() & after.keys())]


def outcome(pair: Pair) -> str:
    """Classify a pair as one of `OUTCOMES`."""
    match pair[0]["verdict"], pair[1]["verdict"]:
        case ("wrong", "correct"):
            return "fixed"
        case ("correct", "wrong"):
            return "broke"
        case ("correct", "correct"):
            return "both right"
        case ("wrong", "wrong"):
            return "both wrong"
    return "unknown"


def proportions(found: Sequence[Pair]) -> dict[str, dict[str, Any]]:
    """Count the outcomes, with shares; 'unknown' is listed only where it occurs."""
    outcomes = [outcome(pair) for pair in found]
    counts = {name: outcomes.count(name) for name in OUTCOMES}
    return {
        name: {"count": count, "share": count / max(1, len(found))}
        for name, count in counts.items()
        if count or name != "unknown"
    }


def choose(found: Sequence[Pair], per_source: int, seed: int) -> list[Pair]:
    """Choose `per_source` pairs of each source: outcomes in turn, no scene twice.

    A hash of `seed` and item id decides the order.
    """
    chosen: list[Pair] = []
    for source in sorted({pair[0]["source"] for pair in found}):
        mine = [pair for pair in found if pair[0]["source"] == source]
        mine.sort(key=lambda pair: content_id("gallery", seed, pair[0]["id"]))
        queues = {name: [pair for pair in mine if outcome(pair) == name] for name in OUTCOMES if name != "unknown"}
        scenes: set[str] = set()
        taken: list[Pair] = []
        while len(taken) < per_source and any(queues.values()):
            for queue in queues.values():
                while queue and queue[0][0]["scene"] in scenes:
                    queue.pop(0)
                if queue and len(taken) < per_source:
                    scenes.add(queue[0][0]["scene"])
                    taken.append(queue.pop(0))
        chosen += sorted(taken, key=lambda pair: list(OUTCOMES).index(outcome(pair)))
    return chosen


def cards(
    chosen: Sequence[Pair], names: tuple[str, str], load: Callable[[str], bytes], form: ResponseFormat
) -> list[Mapping[str, Any]]:
    """Build the cards of the chosen items, as plain text that the template escapes."""
    return [
        {
            "item": before,
            "outcome": outcome((before, after)),
            "pictures": [picture(load(image)) for image in row_images(before)],
            "answers": [
                {"name": name, **_shown(record, form)} for name, record in zip(names, (before, after), strict=True)
            ],
        }
        for before, after in chosen
    ]


def _shown(record: Record, form: ResponseFormat) -> dict[str, str]:
    parsed = parse(record["response"], form)
    raw = record["response"] if parsed.fault else ""
    return {"think": parsed.think, "answer": parsed.answer, "raw": raw, "verdict": record["verdict"]}


def picture(data: bytes, largest: int = LARGEST) -> Picture:
    """Encode an image as a data URI, at most `largest` pixels on its longer side.

    A small PNG keeps its bytes. Every other image is encoded anew, so that nothing but pixels reaches the page.
    """
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        small = max(image.size) <= PIXELATED
        if image.format == "PNG" and small:
            return Picture(_uri("png", data), True)
        image.thumbnail((largest, largest))
        buffer = io.BytesIO()
        if small or image.mode in ("P", "LA", "RGBA"):
            image.save(buffer, "PNG", optimize=True)
            return Picture(_uri("png", buffer.getvalue()), small)
        image.convert("RGB").save(buffer, "JPEG", quality=85)
        return Picture(_uri("jpeg", buffer.getvalue()), False)


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
