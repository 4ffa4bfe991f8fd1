"""`make peers`: the rules beside math-verify and mathruler, on constructed pairs and on the pairs of peers' own tests.

    python -m benchmarks.rewards.peers [--seed N] [--pairs N] [--source NAME=FOLDER …]

The default seed follows from the commit, so that no seed was used while the rules were written. The peers' test files
are cloned at pinned commits into `.cache/peers/`, or read from the folders given. A disagreement with them counts as a
fault of ours unless `disagreements.json` says otherwise of the hash of its gold and answer, with the reason: `policy`
(docs/rewards.md states it), `peer_wrong`, or `artefact` (of reading a pair out of a test of something else).

Writes reports/peers.json. Exit status 1: a wrong answer is called right, more than 3 % of the right ones are called
wrong, more than 1 % of the peers' pairs are faults of ours, or fewer than five peers could be read.
"""

import argparse
import hashlib
import json
import re
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.rewards.constructed import EXAM_SEEDS, held_out, ours, pairs
from benchmarks.rewards.extraction import SOURCES, Case, extract, texts
from benchmarks.rewards.values.kinds import Pair
from wethink.common.jsonl import write_json
from wethink.common.statistics import Estimate, wilson

REPORT = Path("reports/peers.json")
PYTHON = Path(".venv-peers/bin/python")
GRADERS = Path("benchmarks/rewards/graders.py")
JUDGED = Path("benchmarks/rewards/disagreements.json")
PEERS = ("math-verify", "mathruler")
SIDES = ("policy", "peer_wrong", "artefact")
FEWEST_PEERS, MOST_WRONG, MOST_FAULTS = 5, 0.03, 0.01
Texts = Sequence[tuple[str, str]]  # (gold, answer)


def key(gold: str, answer: str) -> str:
    """The name of a pair in `disagreements.json`, from which its text cannot be read."""
    return hashlib.sha256(f"{gold}\0{answer}".encode()).hexdigest()[:16]


def judgements() -> dict[str, tuple[str, str]]:
    """Read `disagreements.json`: key → side and reason."""
    return {name: (side, why) for name, (side, why) in json.loads(JUDGED.read_text(encoding="utf-8")).items()}


def graded(grader: str, wanted: Texts) -> list[bool]:
    """Ask a peer's grader, in its own environment, whether each answer is right."""
    command = [str(PYTHON), "-P", str(GRADERS), grader]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None and child.stdout is not None
        stdin = child.stdin

        def send() -> None:
            for gold, answer in wanted:
                stdin.write(json.dumps({"gold": gold, "answer": answer}) + "\n")
            stdin.close()

        sender = threading.Thread(target=send)
        sender.start()
        found = [bool(json.loads(line)["equal"]) for line in child.stdout]
        sender.join()
    if len(found) != len(wanted):
        raise RuntimeError(f"{grader} answered {len(found)} of {len(wanted)} questions")
    return found


def as_pair(case: Case) -> Pair:
    """Make a peer's case a row: a gold that is one letter is an option's."""
    category = "MC" if re.fullmatch(r"\(?[A-J]\)?", case.gold) else "FIB"
    return Pair(case.peer, "", case.gold, case.answer, category, case.equal, None, None)


def by_kind(drawn: Sequence[Pair], said: Sequence[bool]) -> dict[str, dict[str, Any]]:
    """Count both errors of each kind, with Wilson's intervals, and of all kinds together as `all`."""
    counts: Counter[tuple[str, bool, bool]] = Counter()
    for pair, verdict in zip(drawn, said, strict=True):
        for name in (pair.kind, "all"):
            counts[name, pair.equal, verdict] += 1
    return {
        name: {
            "n": sum(counts[name, equal, verdict] for equal in (True, False) for verdict in (True, False)),
            "wrong_called_right": asdict(share(counts[name, False, True], counts[name, False, False])),
            "right_called_wrong": asdict(share(counts[name, True, False], counts[name, True, True])),
            "held_out": name in held_out(),
        }
        for name in dict.fromkeys([pair.kind for pair in drawn] + ["all"])
    }


def share(errors: int, others: int) -> Estimate:
    n = errors + others
    return Estimate(errors / n, *wilson(errors / n, n), n) if n else Estimate(0.0, 0.0, 1.0, 0)


def by_peer(
    cases: Sequence[Case], said: Sequence[bool], judged: dict[str, tuple[str, str]]
) -> dict[str, dict[str, int]]:
    """Put every pair of every peer under agreement or one reason for disagreement: counts in are counts out."""
    counts: dict[str, Counter[str]] = {}
    for case, verdict in zip(cases, said, strict=True):
        side = "agree" if verdict == case.equal else judged.get(key(case.gold, case.answer), ("ours_wrong", ""))[0]
        counts.setdefault(case.peer, Counter())[side] += 1
    return {
        peer: {"n": count.total(), **{side: count[side] for side in ("agree", "ours_wrong", *SIDES)}}
        for peer, count in counts.items()
    }


def read_peers(folders: dict[str, Path]) -> list[Case]:
    cases: list[Case] = []
    for source in SOURCES:
        try:
            cases += extract(source, texts(source, folders.get(source.name)))
        except OSError as error:
            print(f"not read: {error}")
    return cases


def commit_seed() -> int:
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    return EXAM_SEEDS + int(head[:8], 16)


def table(rows: Iterable[tuple[str, ...]]) -> str:
    lines = list(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]

    def aligned(line: tuple[str, ...]) -> str:
        right = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        return "  ".join((line[0].ljust(widths[0]), *right))

    return "\n".join(map(aligned, lines))


def kinds_table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Errors of each kind and grader: wrong called right of wrong, right called wrong of right."""

    def cell(estimate: dict[str, Any]) -> str:
        return f"{round(estimate['value'] * estimate['n'])}/{estimate['n']}"

    errors = ("wrong_called_right", "right_called_wrong")
    head = ("kind (* held out)", *(f"{grader} {sort}" for grader in results for sort in ("w→r", "r→w")))
    rows = []
    for name, row in results["ours"].items():
        cells = (cell(one[name][error]) for one in results.values() for error in errors)
        rows.append((name + (" *" if row["held_out"] else ""), *cells))
    return table([head, *rows])


def peers_table(results: dict[str, dict[str, dict[str, int]]]) -> str:
    rows = [
        (grader, peer, *(str(row[name]) for name in ("n", "agree", "ours_wrong", *SIDES)))
        for grader, peers in results.items()
        for peer, row in peers.items()
    ]
    return table([("grader", "peer", "n", "agree", "its own fault", "policy", "peer wrong", "artefact"), *rows])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The rules beside their peers, on pairs of known truth and on theirs.")
    parser.add_argument("--seed", type=int, default=None, help=f"from {EXAM_SEEDS} on; default: from the commit")
    parser.add_argument("--pairs", type=int, default=60, help="constructed pairs of each kind")
    parser.add_argument("--source", action="append", default=[], metavar="NAME=FOLDER", help="a peer's repository here")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    seed = commit_seed() if given.seed is None else given.seed
    drawn = pairs(seed, given.pairs)
    cases = read_peers({name: Path(folder) for name, _, folder in (one.partition("=") for one in given.source)})
    judged = judgements()
    rows = [*drawn, *map(as_pair, cases)]
    with ThreadPoolExecutor() as pool:
        waiting = {name: pool.submit(graded, name, [(pair.gold, pair.answer) for pair in rows]) for name in PEERS}
        said = {"ours": [ours(pair) == "correct" for pair in rows]}
        said |= {name: future.result() for name, future in waiting.items()}
    kinds = {name: by_kind(drawn, found[: len(drawn)]) for name, found in said.items()}
    peers = {name: by_peer(cases, found[len(drawn) :], judged) for name, found in said.items()}
    faults = [
        {**asdict(case), "key": key(case.gold, case.answer)}
        for case, verdict in zip(cases, said["ours"][len(drawn) :], strict=True)
        if verdict != case.equal and key(case.gold, case.answer) not in judged
    ]
    failures = [
        {"kind": pair.kind, "equal": pair.equal, "problem": pair.problem, "gold": pair.gold, "answer": pair.answer}
        for pair, verdict in zip(drawn, said["ours"], strict=False)
        if verdict != pair.equal
    ]
    theirs = {name: {"pairs": kinds[name], "peers": peers[name]} for name in said if name != "ours"}
    listed = {"failures": failures, "faults": faults}
    write_json(REPORT, {"seed": seed, "pairs": kinds["ours"], "peers": peers["ours"], **listed, **theirs})
    print(f"constructed pairs, seed {seed}\n{kinds_table(kinds)}\n\npairs of peers' own tests\n{peers_table(peers)}")
    for one in failures:
        said_so = "right called wrong" if one["equal"] else "wrong called right"
        print(f"{one['kind']}, {said_so}: gold {one['gold']!r}, answer {one['answer']!r}")
    for one in faults:
        said_so = f"{one['peer']} holds for {'right' if one['equal'] else 'wrong'}"
        print(f"fault {one['key']}: {said_so}: gold {one['gold']!r}, answer {one['answer'][:90]!r}")
    errors = kinds["ours"]["all"]
    held = errors["wrong_called_right"]["value"] == 0 and errors["right_called_wrong"]["value"] <= MOST_WRONG
    held = held and len(faults) <= MOST_FAULTS * len(cases) and len(peers["ours"]) >= FEWEST_PEERS
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
