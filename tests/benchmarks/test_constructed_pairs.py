"""Pairs of gold and answer by construction: true by their objects, the same for a seed, held-out kinds kept back."""

import math
import re
from collections import Counter

import pytest

from benchmarks.rewards.constructed import EXAM_SEEDS, KINDS, held_out, pairs, pairs_of
from benchmarks.rewards.values.kinds import Pair

BY_NAME = {kind.name: kind for kind in KINDS}


@pytest.fixture(scope="module")
def drawn() -> list[Pair]:
    return pairs(EXAM_SEEDS + 7, 80)


def test_there_are_at_least_twenty_kinds_and_each_has_right_and_wrong_pairs(drawn: list[Pair]) -> None:
    sizes = Counter((pair.kind, pair.equal) for pair in drawn)
    assert len(KINDS) == len(BY_NAME) >= 20
    assert all(sizes[name, equal] >= 10 for name in BY_NAME for equal in (True, False)), sizes.most_common()[-4:]


def test_a_pair_is_right_exactly_if_its_two_objects_are_equal(drawn: list[Pair]) -> None:
    assert [pair for pair in drawn if (pair.value == pair.other) != pair.equal] == []


def test_values_of_wrong_pairs_are_further_apart_than_a_rounding(drawn: list[Pair]) -> None:
    compared = 0
    for pair in drawn:
        number = BY_NAME[pair.kind].number
        if pair.equal or number is None or type(pair.other) is not type(pair.value):
            continue
        compared += 1
        mine, theirs = number(pair.value), number(pair.other)
        assert abs(mine - theirs) >= 1 if isinstance(pair.value, int) else abs(mine - theirs) > 0.005 * abs(mine), pair
    assert compared > 300


def test_no_text_is_both_right_and_wrong(drawn: list[Pair]) -> None:
    truths: dict[tuple[str, str, str], set[bool]] = {}
    for pair in drawn:
        truths.setdefault((pair.problem, pair.gold, pair.answer), set()).add(pair.equal)
    assert [texts for texts, truth in truths.items() if len(truth) > 1] == []


# Of these kinds another parser reads most dialects (not √, π, × and {a \\over b}), so the texts can be evaluated again.
@pytest.mark.parametrize("name", ["fractions", "radicals", "multiples of pi", "powers of e", "scientific notation"])
def test_texts_evaluate_to_the_values_that_they_were_written_from(name: str) -> None:
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    read = 0
    for pair in pairs_of(BY_NAME[name], EXAM_SEEDS + 8, 200):
        if (
            pair.kind != name
            or type(pair.other) is not type(pair.value)
            or re.search(r"[x*]|[^ -~]|nswer|[0-9][eE][-+0-9]", pair.answer)
        ):
            continue
        text = pair.answer if "$" in pair.answer or "boxed" in pair.answer else f"${pair.answer}$"
        found = parse(text, [LatexExtractionConfig(), ExprExtractionConfig()], parsing_timeout=None)
        if not found or not getattr(found[0], "is_number", False):
            continue
        number = BY_NAME[name].number
        assert number is not None
        read += 1
        assert math.isclose(float(found[0].evalf()), number(pair.other), rel_tol=1e-6), (pair, found[0])
    assert read >= 15


def test_a_seed_gives_the_same_pairs_and_another_seed_gives_others() -> None:
    assert pairs(EXAM_SEEDS, 6) == pairs(EXAM_SEEDS, 6) != pairs(EXAM_SEEDS + 1, 6)


def test_seeds_for_tuning_never_draw_from_the_held_out_kinds() -> None:
    hidden = held_out()
    assert len(hidden) >= 5
    assert not hidden & {pair.kind for pair in pairs(EXAM_SEEDS - 1, 2)}
    assert hidden <= {pair.kind for pair in pairs(EXAM_SEEDS, 2)}
