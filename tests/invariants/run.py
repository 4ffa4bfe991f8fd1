"""`make laws`: all training invariants and their mutants; writes reports/laws.json.

Arguments select the laws whose names contain all of them.
"""

import sys
import time
from pathlib import Path

from tests.invariants import laws_engine, laws_gradient, laws_objective, laws_resume, laws_sampler, laws_trl
from wethink.common.jsonl import read_json, write_json

REPORT = Path("reports/laws.json")
LAWS = [
    law
    for room in (laws_objective, laws_gradient, laws_resume, laws_sampler, laws_trl, laws_engine)
    for law in room.LAWS
]


def main(words: list[str]) -> int:
    """Check the laws that match, keep the report's results of the others, and print both."""
    names = {law.name for law in LAWS}
    known = read_json(REPORT)["laws"] if words and REPORT.exists() else []
    results = {entry["name"]: entry for entry in known if entry["name"] in names}
    REPORT.parent.mkdir(exist_ok=True)
    wanted = [law for law in LAWS if all(word in law.name for word in words)]
    for law in wanted:
        start = time.monotonic()
        failure = law.holds()
        caught = law.caught()
        results[law.name] = {"name": law.name, "passed": not failure, "mutant_caught": caught, "mutant": law.mutant}
        print(
            f"{'passed' if not failure else 'BROKEN'}  mutant {'caught' if caught else 'MISSED'}  "
            f"{time.monotonic() - start:6.1f} s  {law.name}",
            flush=True,
        )
        if failure:
            print(f"        {failure[-1500:]}", flush=True)
        write_json(REPORT, {"laws": [results[law.name] for law in LAWS if law.name in results]})
    good = {name for name, entry in results.items() if entry["passed"] and entry["mutant_caught"]}
    print(f"{len(good)} of {len(LAWS)} laws are known to hold and to catch their mutant ({REPORT})")
    return int(not wanted or any(law.name not in good for law in wanted))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
