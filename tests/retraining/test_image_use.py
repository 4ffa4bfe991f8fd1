"""A challenger that learned the form of a source's answers is refused; one that uses the images is promoted."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tasks import ROOT
from wethink.common.errors import UserError
from wethink.config.params import load_params
from wethink.config.retraining import Promotion
from wethink.report.decision import decision_page
from wethink.retraining import promotion_gate, promotion_rules
from wethink.retraining.image_use import image_use
from wethink.retraining.promotion_gate import Decision, decide
from wethink.retraining.promotion_rules import RULES

Record = dict[str, Any]
Answer = Callable[[Record, np.random.Generator], str]
RULE: Promotion = load_params(ROOT / "profiles/tiny.yaml").promotion.model_copy(update={"resamples": 4000, "looks": 20})
FORM = "learned the form, not the source"
OTHER = ("circle", "square", "triangle", "red", "teal", "3", "4")


def items(golds: list[str], source: str, per_scene: int = 3, **fields: Any) -> list[Record]:
    return [
        {
            "id": f"{source}-{n}",
            "scene": f"{source}-{n // per_scene}",
            "source": source,
            "image": f"{source}-{n}",
            "kind": f"imported {fields.get('category', 'FIB')}",
            "category": "FIB",
            "reward": "rule",
            "problem": f"what about number {n % 5} ?",
            "answer": gold,
        }
        | fields
        for n, gold in enumerate(golds)
    ]


def mixed(count: int, seed: int = 0) -> list[str]:
    """Golds of a source of plain pairs: a quarter yes, a quarter no, the rest shapes, colours and numbers."""
    rng = np.random.default_rng(seed)
    yes, no = round(0.261 * count), round(0.255 * count)
    golds = ["yes"] * yes + ["no"] * no + [OTHER[int(n)] for n in rng.integers(0, len(OTHER), count - yes - no)]
    return [golds[int(n)] for n in rng.permutation(count)]


OLD = items([str(n % 9) for n in range(1500)], "scenes", per_scene=2)
NEW = items(mixed(326), "easy")


def chance(share: float, otherwise: str = "nothing") -> Answer:
    """Right with this chance, and else the same wrong answer."""
    return lambda item, rng: item["answer"] if rng.random() < share else otherwise


def asked(model: Answer, about: list[Record], pixels: str, seed: int) -> list[Record]:
    rng = np.random.default_rng([seed, len(pixels)])
    said = [(item, model(item, rng)) for item in about]
    return [
        item | {"pixels": pixels, "extracted": answer, "verdict": "correct" if answer == item["answer"] else "wrong"}
        for item, answer in said
    ]


def evaluated(true: Answer, blank: Answer, swapped: Answer, about: list[Record], seed: int) -> list[Record]:
    return [
        *asked(true, about, "true", seed),
        *asked(blank, about, "blank", seed),
        *asked(swapped, about, "shuffled", seed),
    ]


def old_part(true: float = 0.5, blank: float = 0.15, swapped: float = 0.2, seed: int = 0) -> list[Record]:
    """Drawn sources, on which a model is right far more often with the image than without."""
    return evaluated(chance(true), chance(blank), chance(swapped), OLD, seed)


CHAMPION = [*old_part(0.45, seed=1), *evaluated(chance(0.117), chance(0.05), chance(0.05), NEW, 1)]


def judged(new: list[Record], old: list[Record] | None = None, **changed: Any) -> Decision:
    improved = old_part(0.6, seed=2) if old is None else old
    return decide(CHAMPION, [*improved, *new], ["easy"], 1, RULE.model_copy(update=changed), 0)


def says_no(item: Record, rng: np.random.Generator) -> str:
    return "yes" if item["id"] == "easy-77" else "no"


def says_no_less(item: Record, rng: np.random.Generator) -> str:
    """Blank images get the same answer, but for a few."""
    return "7" if item["id"].endswith("11") else "no"


def test_a_challenger_that_answers_no_to_325_of_326_questions_is_refused_in_words_and_numbers() -> None:
    new = evaluated(says_no, says_no_less, says_no, NEW, 3)
    found = judged(new)
    assert found.gain is not None and found.gain.low > 0 and not any(g.passed is False for g in found.groups)
    assert not found.promoted
    [reason] = found.reasons
    assert reason.startswith(f"new items: {FORM}: right 25.")
    for part in (
        "with a blank image",
        "with another scene's image",
        "by always answering 'yes'",
        "'no' is 325 of its 326",
    ):
        assert part in reason


def test_that_challenger_would_be_promoted_if_nobody_looked_at_the_controls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    new = evaluated(says_no, chance(0.0), chance(0.0), NEW, 3)
    blind = RULE.image_use.model_copy(update={"max_excess": 1.0})
    assert FORM in judged(new, image_use=blind).reasons[0], "the best constant answer alone stops it"
    with monkeypatch.context() as mutant:
        mutant.setattr(
            promotion_gate, "RULES", tuple(rule for rule in RULES if rule is not promotion_rules._source_learned)
        )
        assert judged(evaluated(says_no, says_no_less, says_no, NEW, 3)).promoted


def test_a_useful_challenger_is_promoted_with_its_figures() -> None:
    found = judged(evaluated(chance(0.5), chance(0.2, "no"), chance(0.25, "no"), NEW, 3))
    assert found.promoted, found.reasons
    new = next(use for use in found.image_use if use.part == "new")
    assert new.items == 326 and new.constant == "yes" and new.not_swapped == 0
    assert {c.control: c.passed for c in new.comparisons} == {"blank": True, "swapped": True, "constant": True}


def per_kind(item: Record, rng: np.random.Generator) -> str:
    """Return the answer that the question's words give away, whatever the image shows."""
    return {"0": "yes", "1": "no", "2": "circle", "3": "yes", "4": "red"}[item["problem"][-3]]


def letter(item: Record, rng: np.random.Generator) -> str:
    return "A"


def guesses(item: Record, rng: np.random.Generator) -> str:
    """Guess with the right frequencies."""
    return str(NEW[int(rng.integers(0, len(NEW)))]["answer"])


def mostly_no(item: Record, rng: np.random.Generator) -> str:
    """Mostly 'no', and right on some of the others: the image is used a little."""
    return item["answer"] if rng.random() < 0.25 else "no"


CHOICES = items(
    [("B", "C", "A", "D")[n % 4] for n in range(240)],
    "easy",
    category="MC",
    problem="Which? A) red B) blue C) teal D) grey",
)
SHAPES: dict[str, tuple[Answer, Answer, Answer, list[Record]]] = {
    "a constant per kind of question": (per_kind, per_kind, per_kind, NEW),
    "one letter": (letter, letter, letter, CHOICES),
    "one letter, nothing to a blank image": (letter, chance(0.0), letter, CHOICES),
    "the same score with another's image": (chance(0.4), chance(0.0), chance(0.4), NEW),
    "the same score with a blank image": (chance(0.4), chance(0.4), chance(0.0), NEW),
    "guesses of the right frequencies": (guesses, guesses, guesses, NEW),
    "the image used, but less often right than 'yes'": (chance(0.2), chance(0.0), chance(0.0), NEW),
    "nearly always no": (mostly_no, says_no, says_no, NEW),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_whatever_can_be_answered_without_the_image_is_no_reason_for_a_promotion(shape: str) -> None:
    true, blank, swapped, about = SHAPES[shape]
    champion = [*old_part(0.45, seed=1), *evaluated(chance(0.05), chance(0.05), chance(0.05), about, 1)]
    challenger = [*old_part(0.6, seed=2), *evaluated(true, blank, swapped, about, 2)]
    found = decide(champion, challenger, ["easy"], 1, RULE, 0)
    assert not found.promoted and any(f"new items: {FORM}" in reason for reason in found.reasons)
    assert all("old items" not in reason for reason in found.reasons)


def test_a_letter_bias_is_seen_in_multiple_choice_even_where_the_other_questions_are_answered_well() -> None:
    about = [*items(mixed(200), "easy"), *(item | {"id": f"c{item['id']}"} for item in CHOICES)]

    def biased(item: Record, rng: np.random.Generator) -> str:
        return "A" if item["category"] == "MC" else chance(0.8)(item, rng)

    champion = [*old_part(0.45, seed=1), *evaluated(chance(0.1), chance(0.0), chance(0.0), about, 1)]
    challenger = [*old_part(0.6, seed=2), *evaluated(biased, chance(0.1), chance(0.1), about, 2)]
    [reason] = decide(champion, challenger, ["easy"], 1, RULE, 0).reasons
    assert FORM in reason and "'A' is 240 of its 240 answers (new MC)" in reason


def test_the_old_part_is_held_to_the_same_law() -> None:
    forgot = old_part(0.6, blank=0.6, swapped=0.6, seed=2)
    good = evaluated(chance(0.5), chance(0.2, "no"), chance(0.25, "no"), NEW, 3)
    found = judged(good, forgot)
    assert not found.promoted and any(f"old items: {FORM}" in reason for reason in found.reasons)


def test_an_old_bias_of_the_champion_is_none_that_the_challenger_learned() -> None:
    good = evaluated(chance(0.5), chance(0.2, "no"), chance(0.25, "no"), NEW, 3)
    biased = [evaluated(chance(share, "8"), chance(0.1), chance(0.1), OLD, 2) for share in (0.4, 0.6)]
    champion = [*biased[0], *CHAMPION[len(biased[0]) :]]
    assert decide(champion, [*biased[1], *good], ["easy"], 1, RULE, 0).promoted
    assert FORM in " ".join(judged(good, biased[1]).reasons), "but one that it alone has is"


def test_a_part_with_too_few_scenes_is_undecided() -> None:
    few = {item["id"] for item in NEW[:60]}
    pair = [
        [r for r in side if r["source"] != "easy" or r["id"] in few]
        for side in (CHAMPION, [*old_part(0.6), *evaluated(says_no, says_no, says_no, NEW, 3)])
    ]
    found = decide(pair[0], pair[1], ["easy"], 1, RULE, 0)
    assert not found.promoted and found.image_use == ()
    assert found.reasons == ("the new items show 20 scenes; at least 30 are needed to decide.",)


def test_items_that_could_not_be_swapped_are_counted_and_too_few_swapped_ones_are_undecided() -> None:
    extra = items(["yes", "no", "3"] * 20, "one", per_scene=60)
    champion = [*CHAMPION, *evaluated(chance(0.1), chance(0.0), chance(0.0), extra, 1)]
    good = evaluated(chance(0.5), chance(0.2, "no"), chance(0.25, "no"), NEW, 3)
    alone = [r for r in evaluated(chance(0.5), chance(0.0), chance(0.0), extra, 2) if r["pixels"] != "shuffled"]
    found = decide(champion, [*old_part(0.6, seed=2), *good, *alone], ["easy", "one"], 1, RULE, 0)
    assert [use.not_swapped for use in found.image_use] == [0, 60] and found.promoted, found.reasons
    lacking = [r for r in good if r["pixels"] != "shuffled" or r["id"] != "easy-5"]
    with pytest.raises(UserError, match="no answer to the shuffled image of 1 new items"):
        judged(lacking)
    kept = {f"easy-{n}" for n in range(60)}
    unknown = [r | {"verdict": "unknown"} if r["pixels"] == "shuffled" and r["id"] not in kept else r for r in good]
    said = " ".join(judged(unknown, max_unknown=1.0).reasons)
    assert "with another scene's image show 20 scenes; at least 30" in said
    assert "verdicts on the new items with another scene's image are unknown" in " ".join(judged(unknown).reasons)


def test_the_page_shows_the_controls_above_all_else_and_warns_where_nobody_looked() -> None:
    found = judged(evaluated(says_no, says_no_less, says_no, NEW, 3)).as_record()
    page = decision_page(found, {"label check": "nobody checked"})
    top = page[: page.index("On the declared mix")]
    for part in ("326", "1,500", "Blank", "Another", "yes", "No one but their author has checked the rows"):
        assert part in top
    for unread in ("nobody checked, 9 rows only a judge can check", "it could read none of 7 rows, 9 rows only a …"):
        assert "has checked the rows" in decision_page(found, {"label check": unread})
    assert "has checked the rows" not in decision_page(found, {"label check": "reader contradicted 3 of 600 rows"})


def test_items_about_none_are_in_no_control_and_those_without_another_like_them_are_not_swapped() -> None:
    """`evaluate` asks neither; a control that lacks an item which it could have is refused."""
    five, none = (items(["yes"] * 3, "easy", images=images) for images in (list("abcde"), []))
    for name, part in (("five", five), ("none", none)):
        part[:] = [item | {"id": f"{name}-{n}", "scene": name} for n, item in enumerate(part)]
    about = [*NEW, *five, *none]
    true, blank = asked(chance(0.9), about, "true", 3), asked(chance(0.1), [*NEW, *five], "blank", 3)
    swapped = asked(chance(0.1), NEW, "shuffled", 3)
    part = [item["id"] for item in about]
    found = image_use("new", part, {}, [*true, *blank, *swapped], RULE, 0)
    assert found.items == len(about) and found.not_swapped == len(five) + len(none)
    with pytest.raises(UserError, match="no answer to the blank image of 1 new items"):
        image_use("new", part, {}, [*true, *blank[1:], *swapped], RULE, 0)
