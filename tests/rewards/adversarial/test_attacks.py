"""No trick is rewarded and right answers are: the whole suite, as `make attacks` runs it."""

import pytest

from tests.rewards.adversarial.__main__ import Tally, report, run
from tests.rewards.adversarial.equivalent import equivalent
from tests.rewards.adversarial.hostile import hostile


@pytest.fixture(scope="module")
def tally() -> Tally:
    return run(hostile(), equivalent())


def test_the_suite_is_as_large_as_it_claims() -> None:
    assert len(set(hostile())) >= 1000 and len(set(equivalent())) >= 2000


def test_nothing_hostile_is_called_correct_and_nothing_crashes(tally: Tally) -> None:
    assert not tally.failed.get("false_correct"), tally.failed["false_correct"][:5]
    assert not tally.failed.get("crashes"), tally.failed["crashes"][:5]


def test_no_answer_makes_a_sound_row_unknown(tally: Tally) -> None:
    assert not tally.failed.get("unknown_on_hostile"), tally.failed["unknown_on_hostile"][:5]


def test_right_answers_in_other_forms_are_called_correct(tally: Tally) -> None:
    figures = report(tally)
    assert figures["false_wrong"] <= 0.02, tally.failed["false_wrong"][:20]
    assert figures["unknown_on_gold"] <= 0.02, tally.failed["unknown_on_gold"][:20]


def test_no_response_takes_long(tally: Tally) -> None:
    """Seconds of processor time, the child's included; its deadline for one comparison is 2."""
    assert 0 < tally.worst < 5, tally.slowest
