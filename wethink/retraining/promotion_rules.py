"""Rules of the promotion gate: each yields its reasons to refuse a challenger; one that yields none is kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from wethink.config.retraining import Promotion

NAMED = {"blank": "a blank image", "swapped": "another scene's image", "constant": "the best constant answer"}
LONGEST = 40  # characters of an answer in a reason


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
class Comparison:
    """The challenger's accuracy with the true images minus that of a control, on the same items."""

    control: str  # blank, swapped, constant
    accuracy: float | None  # of the control; None: nothing could be compared
    change: Change | None
    bound: float | None  # one-sided lower bound of the change
    margin: float
    unknown: float  # share of the compared verdicts that are unknown
    passed: bool | None  # None: too few scenes to decide


@dataclass(frozen=True)
class FrequentAnswer:
    """The answer of the challenger that is most above its share of the golds."""

    group: str  # the part, or one of its categories
    answer: str
    given: int
    items: int
    excess: float  # share of the answers minus share of the golds
    passed: bool


@dataclass(frozen=True)
class ImageUse:
    """What the challenger's accuracy on one part comes from (wethink/retraining/image_use.py)."""

    part: str
    items: int
    accuracy: float
    constant: str  # the best constant answer
    not_swapped: int  # items whose source shows one scene only, so that no other image could be shown
    distance: float  # total variation distance between its answers and the golds
    comparisons: tuple[Comparison, ...]
    answers: tuple[FrequentAnswer, ...]


@dataclass(frozen=True)
class Evidence:
    """All that the rules read: the declared rule, and what both models' verdicts show."""

    rule: Promotion
    new_sources: frozenset[str]
    look: int
    level: float
    weights: dict[str, float]
    items: dict[str, int]  # part of the mix → items with known verdicts
    scenes: dict[str, int]  # part of the mix → scenes with known verdicts
    unknown: dict[str, float]
    accuracy: dict[str, dict[str, float]]
    gain: Change | None = None  # None: a part has too few scenes
    p: float | None = None
    groups: tuple[Group, ...] = ()
    image_use: tuple[ImageUse, ...] = ()  # per part


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


def _controls_known(found: Evidence) -> Iterator[str]:
    for use in found.image_use:
        for compared in use.comparisons:
            if compared.unknown > found.rule.max_unknown:
                yield (
                    f"{compared.unknown:.1%} of the verdicts on the {use.part} items with {NAMED[compared.control]} "
                    f"are unknown; the limit is {found.rule.max_unknown:.1%}."
                )
            elif compared.passed is None:
                scenes = compared.change.scenes if compared.change else 0
                yield (
                    f"the {use.part} items with {NAMED[compared.control]} show {scenes} scenes; at least "
                    f"{found.rule.min_scenes} are needed to decide whether the challenger looks at the images."
                )


def _source_learned(found: Evidence) -> Iterator[str]:
    for use in found.image_use:
        beaten = [c for c in use.comparisons if c.passed is False]
        frequent = [answer for answer in use.answers if not answer.passed]
        if beaten or frequent:
            yield f"{use.part} items: learned the form, not the source: {_what_was_learned(use, beaten, frequent)}"


def _what_was_learned(use: ImageUse, beaten: Sequence[Comparison], frequent: Sequence[FrequentAnswer]) -> str:
    """Give the accuracies of the controls, and what the challenger is not shown to beat."""
    controls = [
        f"{c.accuracy:.1%} "
        + (f"by always answering '{_short(use.constant)}'" if c.control == "constant" else f"with {NAMED[c.control]}")
        for c in use.comparisons
        if c.accuracy is not None
    ]
    said = [f"right {use.accuracy:.1%} with the true image, {', '.join(controls)}"]
    said += [
        f"not shown to be above {NAMED[c.control]} by more than {_points(c.margin)[1:]}: {_interval(c.change)}"
        for c in beaten
        if c.change is not None
    ]
    said += [
        f"'{_short(a.answer)}' is {a.given} of its {a.items} answers ({a.group}), {_points(a.excess)[1:]} more than of "
        "the golds"
        for a in frequent
    ]
    return "; ".join(said) + "."


def _short(answer: str) -> str:
    return answer if len(answer) <= LONGEST else f"{answer[: LONGEST - 2]} …"


RULES: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    _known_verdicts,
    _unspent_looks,
    _old_items_asked,
    _new_items_asked,
    _enough_scenes,
    _better_on_the_mix,
    _no_group_worse,
    _controls_known,
    _source_learned,
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
