"""`make laws`: all training invariants and their mutants; writes reports/laws.json.

Arguments select the laws whose names contain all of them. Results of the others are kept if they are of this code.
"""

import sys
import time
from types import ModuleType
from typing import Any

from tests.invariants import (
    laws_engine,
    laws_gradient,
    laws_memory,
    laws_objective,
    laws_resize,
    laws_resume,
    laws_sampler,
    laws_trl,
    results,
)
from tests.invariants.invariant import Law

ROOMS: tuple[ModuleType, ...] = (
    laws_objective,
    laws_memory,
    laws_gradient,
    laws_resize,
    laws_resume,
    laws_sampler,
    laws_trl,
    laws_engine,
)
LAWS: list[Law] = [law for room in ROOMS for law in room.LAWS]


def main(words: list[str]) -> int:
    """Check the laws that match, and print how many of all are known to hold by this code."""
    code = {law.name: results.code_of(room.__name__) for room in ROOMS for law in room.LAWS}
    commit, entries = results.commit(), results.known(code)
    wanted = [law for law in LAWS if all(word in law.name for word in words)]
    for law in wanted:
        entries[law.name] = checked(law) | {"code": code[law.name], "commit": commit}
        results.write(entries, list(code))
    good = {name for name, entry in entries.items() if entry["passed"] and entry["mutant_caught"]}
    print(f"{len(good)} of {len(LAWS)} laws of this code hold and catch all their mutants ({results.REPORT})")
    return int(not wanted or any(law.name not in good for law in wanted))


def checked(law: Law) -> dict[str, Any]:
    """Check a law on the code and on each of its planted defects, print the outcome and return it."""
    start = time.monotonic()
    outcome, missed = law.holds(), law.missed()
    print(
        f"{'BROKEN' if outcome.failure else 'passed'}  {len(law.mutants) - len(missed)} of {len(law.mutants)} mutants "
        f"caught  {time.monotonic() - start:6.1f} s  {law.name}"
        + "".join(f"  {name} {value:.3g}" for name, value in outcome.figures.items()),
        flush=True,
    )
    for text in ([outcome.failure[-1500:]] if outcome.failure else []) + [f"MISSED: {mutant}" for mutant in missed]:
        print(f"        {text}", flush=True)
    return {
        "name": law.name,
        "passed": not outcome.failure,
        "mutant_caught": not missed,
        "mutants": {mutant: mutant not in missed for mutant in law.mutants},
        "figures": outcome.figures,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
