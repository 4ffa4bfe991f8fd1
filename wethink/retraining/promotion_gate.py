"""Promotion gate: paired test of a challenger against the champion on the same items.

It is a pure function of both models' verdicts. The challenger is promoted only if everything holds: both were asked the
same items; few verdicts are unknown; on the declared mix of old and new items the challenger is better, at the level
that this look has left; no group (the old items, the new ones, each source, each category) is worse than its margin;
and on the old and on the new items the challenger uses the images (wethink/retraining/image_use.py).

The unit of chance is the scene, not the question (wethink.common.statistics). The gain is tested by the share of
cluster-bootstrap resamples in which it vanishes. A group must be shown to be no worse than its margin: the one-sided
lower bound of its difference lies above −margin. All groups must pass, so the tests of the groups need no correction
for their number (intersection–union test: R. L. Berger, Technometrics 24, 1982, 295–300); it makes the gate stricter,
never laxer.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id
from wethink.common.statistics import Floats, bootstrap_means
from wethink.config.retraining import Promotion
from wethink.evaluation.summary import VERDICTS
from wethink.retraining.alpha_spending import level
from wethink.retraining.image_use import image_use
from wethink.retraining.promotion_rules import RULES, Change, Evidence, Group, ImageUse, shown_gain

PARTS = ("old", "new")  # held-out items of the champion's sources, and of the sources that the challenger adds
MODELS = ("champion", "challenger")
BY = ("source", "category")
REST = "rest"  # groups with too few scenes to judge alone, judged together


@dataclass(frozen=True)
class Decision:
    """The gate's decision with its reasons and its evidence."""

    promoted: bool
    reasons: tuple[str, ...]  # every reason of a refusal; of a promotion, the evidence
    look: int
    level: float  # significance level of this look
    p: float | None  # share of resamples in which the gain of the mix vanishes; None: not tested
    gain: Change | None  # of the declared mix
    weights: dict[str, float]  # part → its weight in the mix
    items: dict[str, int]  # part → items whose verdicts are known of both models
    accuracy: dict[str, dict[str, float]]  # model → part → accuracy over its known verdicts
    unknown: dict[str, float]  # model → share of its verdicts
    groups: tuple[Group, ...] = field(default=())
    image_use: tuple[ImageUse, ...] = field(default=())  # per part

    def as_record(self) -> Record:
        """Return plain JSON values, rounded: equal decisions have equal bytes."""
        return dict(_rounded(asdict(self)))


@dataclass(frozen=True)
class Pair:
    """One item and both models' scores: 1 right, 0 wrong, None unknown."""

    item: str
    part: str
    scene: str
    names: tuple[str, ...]  # of the groups to which it belongs
    champion: float | None
    challenger: float | None


def decide(
    champion: Sequence[Record],
    challenger: Sequence[Record],
    new_sources: Iterable[str],
    look: int,
    config: Promotion,
    seed: int,
) -> Decision:
    """Compare two evaluations of the same items under the declared rule.

    Args:
        champion: its greedy evaluation records (docs/data.md); those of the true pixels count, one per item.
        challenger: its own of the very same items in any order, with the true, the blank and the shuffled pixels.
        new_sources: names of the sources that the challenger adds; their items are the new part.
        look: the number of this decision in the programme, from 1.
        config: the declared rule.
        seed: of the resamples.

    Raises:
        UserError: an item occurs twice, is missing in one of the two or in a control, or has an unknown kind of
            verdict; or there is no item.
    """
    new = frozenset(new_sources)
    true = [[record for record in side if record["pixels"] == "true"] for side in (champion, challenger)]
    pairs = _pairs(true[0], true[1], new)
    found = _evidence(pairs, new, look, config, seed)
    if found.gain is not None:
        found = replace(found, image_use=_image_use(pairs, true[0], challenger, found, seed))
    refusals = tuple(reason for rule in RULES for reason in rule(found))
    return Decision(
        promoted=not refusals,
        reasons=refusals or (shown_gain(found),),
        look=look,
        level=found.level,
        p=found.p,
        gain=found.gain,
        weights=found.weights,
        items=found.items,
        accuracy=found.accuracy,
        unknown=found.unknown,
        groups=found.groups,
        image_use=found.image_use,
    )


def _image_use(
    pairs: Sequence[Pair], champion: Sequence[Record], challenger: Sequence[Record], found: Evidence, seed: int
) -> tuple[ImageUse, ...]:
    """Measure the challenger's use of the images on each part of the mix."""
    before = {str(record["id"]): record for record in champion}
    known = {
        part: [p.item for p in pairs if p.part == part and None not in (p.champion, p.challenger)]
        for part in found.weights
    }
    return tuple(image_use(part, items, before, challenger, found.rule, seed) for part, items in known.items())


def _evidence(pairs: Sequence[Pair], new: frozenset[str], look: int, config: Promotion, seed: int) -> Evidence:
    known = {part: [p for p in pairs if p.part == part and None not in (p.champion, p.challenger)] for part in PARTS}
    asked = [part for part in PARTS if any(p.part == part for p in pairs)]
    weights = {"old": 1 - config.new_weight, "new": config.new_weight} if len(asked) == 2 else {asked[0]: 1.0}
    found = Evidence(
        rule=config,
        new_sources=new,
        look=look,
        level=level(look, config.looks, config.alpha, config.spending),
        weights=weights,
        items={part: len(known[part]) for part in weights},
        scenes={part: _scenes(known[part]) for part in weights},
        unknown={name: sum(getattr(p, name) is None for p in pairs) / len(pairs) for name in MODELS},
        accuracy={
            name: {part: float(np.mean([getattr(p, name) for p in known[part]])) for part in PARTS if known[part]}
            for name in MODELS
        },
    )
    if min(found.scenes.values()) < config.min_scenes:
        return found
    draws = np.asarray(sum(weight * _draws(known[part], part, config, seed) for part, weight in weights.items()))
    return replace(
        found,
        gain=_mixed(known, weights, draws),
        p=float((1 + np.count_nonzero(draws <= config.min_gain)) / (1 + config.resamples)),
        groups=tuple(_groups([p for part in PARTS for p in known[part]], config, seed)),
    )


def held_out(records: Iterable[Record]) -> str:
    """Return a content id of the evaluated items, to compare decisions by."""
    return content_id(sorted({str(record["id"]) for record in records}))


def _pairs(champion: Sequence[Record], challenger: Sequence[Record], new: frozenset[str]) -> list[Pair]:
    """Join both evaluations by item id, sorted by it."""
    first, second = _by_id(champion, "champion"), _by_id(challenger, "challenger")
    alone = sorted(first.keys() ^ second.keys())
    if alone:
        raise UserError(
            f"champion and challenger were asked different items ({len(alone)} lack a counterpart, {alone[0]} is one); "
            "evaluate both on the same ones."
        )
    if not first:
        raise UserError("there is no held-out item to decide on; raise draw.reporting, or hold out some of the source.")
    return [
        Pair(
            item=item,
            part="new" if record["source"] in new else "old",
            scene=str(record["scene"]),
            names=("new" if record["source"] in new else "old", *(f"{by} {record[by]}" for by in BY)),
            champion=_right(record),
            challenger=_right(second[item]),
        )
        for item, record in sorted(first.items())
    ]


def _by_id(records: Sequence[Record], who: str) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for record in records:
        if record["id"] in found:
            raise UserError(f"item {record['id']} occurs twice in the evaluation of the {who}; give one setting only.")
        if record["verdict"] not in VERDICTS:
            raise UserError(
                f"item {record['id']} of the {who}: verdict {record['verdict']!r} is none of {', '.join(VERDICTS)}."
            )
        found[str(record["id"])] = record
    return found


def _right(record: Record) -> float | None:
    return None if record["verdict"] == "unknown" else float(record["verdict"] == "correct")


def _difference(pairs: Sequence[Pair]) -> Floats:
    return np.array([float(p.challenger or 0) - float(p.champion or 0) for p in pairs], dtype=np.float64)


def _scenes(pairs: Sequence[Pair]) -> int:
    return len({p.scene for p in pairs})


def _draws(pairs: Sequence[Pair], name: str, config: Promotion, seed: int) -> Floats:
    """Resample mean differences [resamples], with random numbers by `name`."""
    own = int(content_id("promotion", seed, name), 16)
    return bootstrap_means(_difference(pairs), [p.scene for p in pairs], config.resamples, own)


def _mixed(known: dict[str, list[Pair]], weights: dict[str, float], draws: Floats) -> Change:
    mean = sum(weight * float(_difference(known[part]).mean()) for part, weight in weights.items())
    low, high = np.percentile(draws, [2.5, 97.5])
    items, scenes = (sum(count(known[part]) for part in weights) for count in (len, _scenes))
    return Change(float(mean), float(low), float(high), items, scenes)


def _groups(pairs: Sequence[Pair], config: Promotion, seed: int) -> list[Group]:
    """Test every group with enough scenes, and the others together as one."""
    members: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        for name in pair.names:
            members[name].append(pair)
    small = {name for name, found in members.items() if _scenes(found) < config.min_scenes}
    rest = [pair for pair in pairs if small.intersection(pair.names)]
    named = [(name, members[name]) for name in sorted(members) if name not in small]
    return [_group(name, found, config, seed) for name, found in (*named, *([(REST, rest)] if rest else []))]


def _group(name: str, pairs: Sequence[Pair], config: Promotion, seed: int) -> Group:
    draws = _draws(pairs, f"group {name}", config, seed)
    bound, low, high = np.percentile(draws, [100 * config.regression_alpha, 2.5, 97.5])
    margin = config.margins.get(name, config.margin)
    change = Change(float(_difference(pairs).mean()), float(low), float(high), len(pairs), _scenes(pairs))
    enough = change.scenes >= config.min_scenes
    return Group(name, change, float(bound), margin, bool(bound > -margin) if enough else None)


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list | tuple) else value
