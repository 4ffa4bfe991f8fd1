"""Tests of the quick training invariants and their mutants; `make laws` checks all of them."""

import pytest

from tests.invariants import laws_gradient, laws_objective, laws_resume, laws_sampler
from tests.invariants.invariant import Law

QUICK = [law for room in (laws_objective, laws_gradient, laws_resume, laws_sampler) for law in room.LAWS if law.quick]


@pytest.mark.parametrize("law", QUICK, ids=lambda law: law.name)
def test_the_law_holds_and_catches_its_mutant(law: Law) -> None:
    assert not law.holds()
    assert law.caught(), f"not seen: {law.mutant}"
