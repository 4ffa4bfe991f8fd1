"""Batches of answers: questions for math-verify are asked together, and every verdict is the one of a single answer."""

import pytest

from wethink.rewards.rules import verify
from wethink.rewards.rules.math_client import COMPARER, Question

SUMS = [
    (rf"\sum_{{j=1}}^{{n}} j^{power}", rf"\sum_{{k=1}}^{{n}} k^{wanted}", f"Sum {power}", "FIB", 0.001)
    for power in (2, 3, 4)
    for wanted in (2, 3)
]
MIXED = [
    ("7", "7", "", "FIB", 0.001),
    *SUMS,
    ("no idea", "no", "", "FIB", 0.001),
    (r"\int_0^1 t^5 dt, 3", r"\int_0^1 x^5 dx, 3", "", "FIB", 0.001),
    SUMS[0],
    ("x" * 2000, "7", "", "FIB", 0.001),
    ("B", "", "", "MC", 0.001),
]


def test_a_batch_has_the_verdicts_of_its_answers_one_by_one_in_order() -> None:
    alone = [verify.verify(*question) for question in MIXED]
    verify._remembered.cache_clear()
    assert verify.verify_all(MIXED) == alone
    assert {verdict.outcome for verdict in alone} == {"correct", "wrong", "unknown"}


def test_questions_of_a_batch_are_asked_together_and_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    verify._remembered.cache_clear()
    together: list[list[Question]] = []
    ask = COMPARER.ask_together
    monkeypatch.setattr(COMPARER, "ask_together", lambda questions: (together.append(list(questions)), ask(questions)))
    questions = [
        (rf"\lim_{{x \to 0}} \frac{{\sin {n}x}}{{x}}", rf"\lim_{{y \to 0}} \frac{{{m} \sin y}}{{y}}", "", "FIB", 0.001)
        for n, m in ((3, 31), (4, 41), (3, 31))
    ]
    verify.verify_all(questions)
    assert max(map(len, together)) >= 2
    assert all(len(set(questions)) == len(questions) for questions in together)


def test_outside_of_a_batch_nothing_is_deferred() -> None:
    verify.verify_all(SUMS[:2])
    assert COMPARER.ask("x", "x") == {"equal": True}
