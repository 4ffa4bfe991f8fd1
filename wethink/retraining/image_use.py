"""Image use of a challenger: its accuracy against blank and swapped images and the best constant answer.

A champion that has never met a source is beaten by whoever knows the form of its answers, for example by always
answering 'no'. So on every part the challenger's answers to the true images are compared, item by item, with its own
answers to a blank image and to the image of another scene, and with the best constant answer; and no single answer may
be given much more often than it is right. The unit of chance is the scene, as in the rest of the gate.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id
from wethink.common.statistics import bootstrap_means
from wethink.config.retraining import Promotion
from wethink.data.schema import row_images
from wethink.evaluation.answers import best_constant, distance, shares
from wethink.evaluation.summary import VERDICTS
from wethink.retraining.promotion_rules import Change, Comparison, FrequentAnswer, ImageUse

CONTROLS = {"blank": "blank", "swapped": "shuffled"}  # name of the control → `pixels` of its records

ById = Mapping[str, Record]


def image_use(
    part: str, items: Sequence[str], champion: ById, challenger: Sequence[Record], config: Promotion, seed: int
) -> ImageUse:
    """Measure what the challenger's accuracy on one part comes from.

    Args:
        part: its name.
        items: ids of the part's items whose verdicts are known of both models.
        champion: its records of the true images, by item.
        challenger: all of its greedy records: `pixels` true, blank, shuffled.
        config: the declared rule.
        seed: of the resamples.

    Raises:
        UserError: a control lacks items that it could have been asked, or has one twice.
    """
    true = _of(challenger, "true")
    asked = [true[item] for item in sorted(items)]
    alone = _with_one_scene(list(true.values()))
    constant = best_constant(asked)
    controls: dict[str, dict[str, float | None]] = {}
    for name, pixels in CONTROLS.items():
        given = _of(challenger, pixels)
        lacking = [
            r["id"]
            for r in asked
            if r["id"] not in given and row_images(r) and not (name == "swapped" and _like(r) in alone)
        ]
        if lacking:
            raise UserError(
                f"the challenger's evaluation has no answer to the {pixels} image of {len(lacking)} {part} items "
                f"({lacking[0]} is one); evaluate it again with `python -m wethink retrain versus`."
            )
        controls[name] = {r["id"]: _right(given[r["id"]]) for r in asked if r["id"] in given}
    controls["constant"] = {r["id"]: float(right) for r, right in zip(asked, constant.right, strict=True)}
    return ImageUse(
        part=part,
        items=len(asked),
        accuracy=float(np.mean([_right(record) or 0.0 for record in asked])),
        constant=constant.answer,
        not_swapped=len(asked) - len(controls["swapped"]),
        distance=distance(shares(asked)),
        comparisons=tuple(_compared(part, name, asked, found, config, seed) for name, found in controls.items()),
        answers=tuple(_frequent_answers(part, asked, champion, config)),
    )


def _compared(
    part: str, name: str, asked: Sequence[Record], control: Mapping[str, float | None], config: Promotion, seed: int
) -> Comparison:
    margin = float(getattr(config.image_use, name))
    pairs = [(record, right) for record in asked if (right := control.get(record["id"])) is not None]
    unknown = (len(control) - len(pairs)) / len(control) if control else 0.0
    if not pairs:
        return Comparison(name, None, None, None, margin, unknown, None)
    differences = [(_right(record) or 0.0) - right for record, right in pairs]
    scenes = [str(record["scene"]) for record, _ in pairs]
    own = int(content_id("image use", seed, part, name), 16)
    draws = bootstrap_means(differences, scenes, config.resamples, own)
    bound, low, high = np.percentile(draws, [100 * config.image_use.alpha, 2.5, 97.5])
    change = Change(float(np.mean(differences)), float(low), float(high), len(pairs), len(set(scenes)))
    accuracy = float(np.mean([right for _, right in pairs]))
    enough = change.scenes >= config.min_scenes
    return Comparison(name, accuracy, change, float(bound), margin, unknown, bool(bound > margin) if enough else None)


def _frequent_answers(part: str, asked: Sequence[Record], champion: ById, config: Promotion) -> list[FrequentAnswer]:
    """Return of the part, and of each of its categories, the gold that is answered too often by most.

    On old items a bias that the champion has as well is none that the challenger has learned.
    """
    members: dict[str, list[Record]] = defaultdict(list)
    for record in asked:
        members[f"{part} {record['category']}"].append(record)
    large = {name: found for name, found in members.items() if len({r["scene"] for r in found}) >= config.min_scenes}
    found = []
    for name, records in {part: asked, **(large if len(members) > 1 else {})}.items():
        counted = [share for share in shares(records) if share.gold]  # one that is no gold wins nothing
        if not counted:
            continue
        most = max(counted, key=lambda share: share.excess)
        allowed = config.image_use.max_excess
        if part == "old":
            before = {share.answer: share.excess for share in shares([champion[r["id"]] for r in records])}
            allowed = max(allowed, before.get(most.answer, 0.0))
        found.append(FrequentAnswer(name, most.answer, most.given, most.items, most.excess, most.excess <= allowed))
    return found


def _with_one_scene(records: Sequence[Record]) -> set[tuple[str, int]]:
    """Return the kinds of items (`_like`) that show one scene only: there is no other to swap with."""
    scenes: dict[tuple[str, int], set[str]] = defaultdict(set)
    for record in records:
        scenes[_like(record)].add(record["scene"])
    return {like for like, found in scenes.items() if len(found) == 1}


def _like(record: Record) -> tuple[str, int]:
    """Return an item's source and number of images: it is shown those of another item like it."""
    return record["source"], len(row_images(record))


def _of(records: Sequence[Record], pixels: str) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for record in records:
        if record["pixels"] == pixels:
            if record["id"] in found:
                raise UserError(f"item {record['id']} occurs twice among the challenger's {pixels} images.")
            if record["verdict"] not in VERDICTS:
                raise UserError(f"item {record['id']}: verdict {record['verdict']!r} is none of {', '.join(VERDICTS)}.")
            found[str(record["id"])] = record
    return found


def _right(record: Mapping[str, Any]) -> float | None:
    return None if record["verdict"] == "unknown" else float(record["verdict"] == "correct")
