"""Rules of the promotion gate: each yields its reasons to refuse a challenger; one that yields none is kept."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from wethink.config.retraining import Promotion


@dataclass(frozen=True)
class Change:
    """Challenger minus champion on the same items: mean, 95 % interval, items, scenes."""

    mean: float
    low: float
    high: float
    items: int
    scenes: int


@dataclass(frozen=True)
class Group:
    """A group's change, its one-sided lower bound, and its margin (bound > −margin)."""

    name: str
    change: Change
    bound: float
    margin: float
    passed: bool | None  # None: too few scenes to decide


@dataclass(frozen=True)
class Evidence:
    """All that the rules read: the declared rule, and what both models' verdicts show."""

    rule: Promotion
    new_sources: frozenset[str]
    look: int
    level: float
    weights: dict[str, float]
    scenes: dict[str, int]  # part of the mix → scenes with known verdicts
    unknown: dict[str, float]
    accuracy: dict[str, dict[str, float]]
    gain: Change | None = None  # None: a part has too few scenes
    p: float | None = None
    groups: tuple[Group, ...] = ()


def _known_verdicts(found: Evidence) -> Iterator[str]:
    for name, share in found.unknown.items():
        if share > found.rule.max_unknown:
            yield f"{share:.1%} of the {name}'s verdicts are unknown; the limit is {found.rule.max_unknown:.1%}."


def _unspent_looks(found: Evidence) -> Iterator[str]:
    if found.level == 0:
        yield (
            f"the {found.rule.looks} looks of programme '{found.rule.programme}' are spent: its held-out items have "
            "been used too often; draw new ones and name a new programme."
        )


def _old_items_asked(found: Evidence) -> Iterator[str]:
    if "old" not in found.weights:
        yield "no old item was asked, so nothing is known about what may have been forgotten."


def _new_items_asked(found: Evidence) -> Iterator[str]:
    if "new" not in found.weights and found.new_sources:
        yield f"no new item was asked, so nothing is known about {', '.join(sorted(found.new_sources))}."


def _enough_scenes(found: Evidence) -> Iterator[str]:
    least = found.rule.min_scenes
    for part, scenes in found.scenes.items():
        if scenes < least:
            yield f"the {part} items show {scenes} scenes; at least {least} are needed to decide."


def _better_on_the_mix(found: Evidence) -> Iterator[str]:
    if found.gain is not None and found.p is not None and found.p > found.level > 0:
        yield (
            f"not shown to be better: {_interval(found.gain)} on the declared mix; p = {found.p:.2g}, "
            f"look {found.look} of {found.rule.looks} allows {found.level:.2g}."
        )


def _no_group_worse(found: Evidence) -> Iterator[str]:
    for group in found.groups:
        if group.passed is False:
            yield (
                f"{group.name}: may be worse by {_points(group.bound)[1:]}, the margin is {_points(group.margin)[1:]} "
                f"(change {_points(group.change.mean)} on {group.change.items} items)."
            )


RULES: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    _known_verdicts,
    _unspent_looks,
    _old_items_asked,
    _new_items_asked,
    _enough_scenes,
    _better_on_the_mix,
    _no_group_worse,
)


def shown_gain(found: Evidence) -> str:
    """Return the reason of a promotion."""
    assert found.gain is not None, "too few scenes are a refusal"
    return (
        f"better by {_interval(found.gain)} on the declared mix (p = {found.p:.2g}, look {found.look} of "
        f"{found.rule.looks} allows {found.level:.2g}), and no group is worse than its margin."
    )


def _interval(change: Change) -> str:
    return f"{_points(change.mean)} [{_points(change.low)}, {_points(change.high)}]"


def _points(value: float) -> str:
    return f"{100 * value:+.1f} points".replace("-", "−")
