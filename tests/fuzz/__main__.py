"""`make fuzz`: ten minutes of hostile input for every reader → reports/fuzz.json.

No input may end in a traceback or be lost: it is accounted for or refused in a sentence. Each reader runs in a process
of its own, so that a crash of a decoder is a finding as well. Findings lie in reports/fuzz/, input and traceback.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

from tasks import ROOT
from tests.fuzz.campaign import NAMES, Campaign, check_of, inputs_of
from tests.fuzz.readers import Lost
from wethink.common.jsonl import write_json

REPORT, FINDINGS = Path("reports/fuzz.json"), Path("reports/fuzz")
INPUT_SECONDS = 30  # an input that takes longer hangs its reader
KEPT = 20  # findings of a reader


class Hang(Exception):
    """An input took too long."""


def _alarm(*_: object) -> None:
    raise Hang(f"over {INPUT_SECONDS} s")


def attempt(check: Callable[[bytes, Path], None], data: bytes, folder: Path) -> tuple[str, str] | None:
    """Give one input to a reader; return the kind of failure and its account, or None."""
    signal.signal(signal.SIGALRM, _alarm)
    signal.alarm(INPUT_SECONDS)
    try:
        check(data, folder)
    except Lost as error:
        return "lost", str(error)
    except Exception:
        return "tracebacks", traceback.format_exc()
    finally:
        signal.alarm(0)
    return None


def campaign(name: str, seconds: float, seed: int, findings: Path) -> Campaign:
    """Fuzz one reader for some seconds; equal seeds try the inputs in the same order."""
    check, count = check_of(name), Campaign(name)
    findings.mkdir(parents=True, exist_ok=True)
    current = findings / f"{name}.current"
    end = time.monotonic() + seconds
    seen: set[str] = set()
    with tempfile.TemporaryDirectory() as place:
        for data in inputs_of(name, Random(f"{seed} {name}")):
            if time.monotonic() > end:
                break
            current.write_bytes(data)
            count.inputs += 1
            if failed := attempt(check, data, Path(place)):
                kind, account = failed
                setattr(count, kind, getattr(count, kind) + 1)
                last = account.strip().splitlines()[-1][:60]
                if last not in seen and len(seen) < KEPT:
                    seen.add(last)
                    (findings / f"{name}-{len(seen)}.bin").write_bytes(data)
                    (findings / f"{name}-{len(seen)}.txt").write_text(account, encoding="utf-8", errors="replace")
    current.unlink()
    return count


def _in_a_process(name: str, seconds: float, seed: int) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--reader", name, "--seconds", str(seconds), "--seed", str(seed)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    if ran.returncode == 0:
        found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
        print(f"  {name}: {found['inputs']:,} inputs, {found['tracebacks']} tracebacks, {found['lost']} lost")
        return found
    print(f"  {name}: the process died ({ran.returncode}); reports/fuzz/{name}.current is its last input")
    (FINDINGS / f"{name}-died.txt").write_text(ran.stderr, encoding="utf-8")
    return Campaign(name, inputs=1, tracebacks=1).record()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reader", choices=NAMES, help="one reader, in this process")
    args = parser.parse_args()
    if args.reader:
        print(json.dumps(campaign(args.reader, args.seconds, args.seed, FINDINGS).record()))
        return 0
    FINDINGS.mkdir(parents=True, exist_ok=True)
    for path in FINDINGS.iterdir():
        path.unlink()
    began, workers = time.monotonic(), 2
    share = args.seconds * workers / len(NAMES)
    with ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(lambda name: _in_a_process(name, share, args.seed), NAMES))
    write_json(REPORT, {"readers": found, "seed": args.seed, "seconds": round(time.monotonic() - began)})
    failures = sum(reader["tracebacks"] + reader["lost"] for reader in found)
    inputs = sum(reader["inputs"] for reader in found)
    print(f"{inputs:,} inputs, {failures} failures: {REPORT}{f'; {FINDINGS}/ has them' if failures else ''}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
