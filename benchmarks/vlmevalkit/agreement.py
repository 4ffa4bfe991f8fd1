"""`make kit-agreement`: agreement of wethink's scoring with VLMEvalKit, item by item.

2,000 generated predictions per family are scored by both, and generated tables of yes/no and short-answer benchmarks
are aggregated by both (benchmarks/vlmevalkit/aggregates.py). Under VLMEvalKit's protocol (`KIT`) wethink must agree on
every item, except for options that the kit draws at random after a useless judge reply. Then each departure from that
protocol is enabled alone and the changed items are counted. Both sides use one scripted judge on loopback. Writes
reports/kit_agreement.json; `--record` rewrites the tests' fixture.
"""

import hashlib
import http.server
import json
import subprocess
import sys
import tempfile
import threading
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from benchmarks.vlmevalkit.aggregates import TABLES, compare, ours, rows_of
from benchmarks.vlmevalkit.predictions import FAMILIES, mmmu_open_rows, predictions
from wethink.common.jsonl import write_json
from wethink.data.benchmark_table import Item
from wethink.evaluation.benchmarks.aggregate import all_right
from wethink.evaluation.benchmarks.answer_extraction import KIT, Protocol, option, yes_no
from wethink.evaluation.benchmarks.registry import Benchmark
from wethink.evaluation.benchmarks.scoring import opened, score
from wethink.evaluation.benchmarks.short_answers import mmmu_open

PYTHON = Path(".venv-vlmeval/bin/python")
FIXTURE = Path("tests/fixtures/kit_verdicts.json")
REPORT = Path("reports/kit_agreement.json")
SAME_NUMBER = 1e-6  # percentage points or points
JUDGED = 240  # rows of a family that the judge scores too; the same as in verdicts.py
ENTRIES = {
    "choice": Benchmark("choice", "choice", "choice"),
    "circular": Benchmark("circular", "circular", "choice", circular=True),
    "open": Benchmark("open", "open", "choice", interleave=True),
    "yes_no": Benchmark("yes_no", "yes_no", "yes_no"),
    "ocr": Benchmark("ocr", "ocr", "ocr"),
}


def item_of(row: dict[str, str]) -> Item:
    """Convert a generated row to an item as the TSV reader does, without empty cells."""
    return Item(row["index"], {name: cell for name, cell in row.items() if cell and name != "prediction"}, "")


def verdicts(family: str, rows: list[dict[str, str]], protocol: Protocol) -> dict[str, bool]:
    """Score rows with wethink; return hits by item, or by circular group."""
    hits = {
        row["index"]: score(item_of(row), row["prediction"], ENTRIES[family], protocol).verdict.outcome == "correct"
        for row in rows
    }
    return _by_unit(family, hits)


def _by_unit(family: str, hits: dict[str, bool]) -> dict[str, bool]:
    if family != "circular":
        return hits
    groups: dict[str, list[bool]] = {}
    for index, hit in hits.items():
        groups.setdefault(str(int(index) % 10**6), []).append(hit)
    return {name: bool(all_right(found)) for name, found in groups.items()}


def scripted(prompt: str) -> str:
    """Derive the judge's reply from the answer in the prompt; some are useless."""
    answer = prompt.rpartition("Answer: ")[2].partition("\nYour output")[0]
    place = hashlib.sha256(answer.encode()).digest()[0]
    if "Yes / No" in prompt:
        return ("Yes", "No", "Unknown", "perhaps")[place % 4]
    return ("A", "B", "C", "D", "Z", "none of these can be told apart")[place % 6]


class Judge(http.server.BaseHTTPRequestHandler):
    """Scripted chat-completions endpoint."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        content = body["messages"][-1]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        reply = json.dumps({"choices": [{"message": {"content": scripted(text)}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        pass


def judged(family: str, rows: list[dict[str, str]]) -> tuple[dict[str, bool], set[str]]:
    """Score rows with wethink and the scripted judge for undecided answers.

    Returns:
        Hits by unit, and the units with a useless judge reply, for which the kit draws an option at random.
    """
    hits: dict[str, bool] = {}
    useless: set[str] = set()
    for row in rows:
        item, said = item_of(row), row["prediction"]
        hits[row["index"]] = score(item, said, ENTRIES[family], KIT).verdict.outcome == "correct"
        if family == "yes_no":
            if yes_no(said, KIT).value is None:
                answer = scripted(f"Yes / No Answer: {said}\nYour output: ")
                hits[row["index"]] = yes_no(answer, KIT).value == row["answer"]
            continue
        options, gold = item.options(keep_not_available=False), row["answer"]
        if family == "open":
            options, gold = opened(options, gold)
        if option(said, options, KIT).value is None:
            found = option(scripted(f"Answer: {said}\nYour output: "), options, KIT).value
            hits[row["index"]] = found == gold
            if found is None:
                useless.add(row["index"] if family != "circular" else str(int(row["index"]) % 10**6))
    return _by_unit(family, hits), useless


def kit_verdicts(given: dict[str, Any], python: Path = PYTHON) -> dict[str, Any]:
    """Return VLMEvalKit's verdicts and aggregates, computed by a child process in its environment."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1/chat/completions"
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name) / "in.json", Path(name) / "out.json"
        source.write_text(json.dumps(given), encoding="utf-8")
        log = Path(name) / "log.txt"
        with log.open("w") as sink:
            ended = subprocess.run(
                [str(python), "benchmarks/vlmevalkit/verdicts.py", str(source), str(target), url],
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        server.shutdown()
        if ended.returncode:
            print(log.read_text()[-2000:], file=sys.stderr)
            raise SystemExit("VLMEvalKit's functions failed; see above")
        return dict(json.loads(target.read_text(encoding="utf-8")))


def main() -> int:
    rows = {family: predictions(family) for family in FAMILIES}
    tables = {name: rows_of(name) for name in TABLES}
    open_rows = mmmu_open_rows()
    kit_found = kit_verdicts({"families": rows, "tables": tables, "mmmu_open": open_rows})
    theirs = kit_found["families"]
    report: dict[str, Any] = {}
    read = [
        mmmu_open(r["prediction"], r["answer"] if isinstance(r["answer"], list) else [r["answer"]]) for r in open_rows
    ]
    failed = sum(bool(hit) != mine for hit, mine in zip(kit_found["mmmu_open"], read, strict=True))
    report["mmmu_open"] = {"units": len(read), "hits": sum(read), "disagree": failed}
    print(f"MMMU's evaluator on open questions: {report['mmmu_open']}")
    with tempfile.TemporaryDirectory() as home:
        for name, given in tables.items():
            report[name] = compare(name, ours(name, given, Path(home)), kit_found["tables"][name])
            failed += report[name]["largest_difference"] > SAME_NUMBER
            print(f"{name}: {report[name]}")
    for family, given in rows.items():
        kit = {index: bool(hit) for index, (hit, _) in theirs[family]["no judge"].items()}
        mine = verdicts(family, given, KIT)
        differ = sorted(index for index in kit if kit[index] != mine[index])
        entry: dict[str, Any] = {"units": len(kit), "disagree": len(differ), "hits": sum(kit.values())}
        if "judge" in theirs[family]:
            asked = {row["index"] for row in given[:JUDGED]}
            with_judge = {index: bool(hit) for index, (hit, _) in theirs[family]["judge"].items()}
            by_judge, drawn = judged(family, [row for row in given if row["index"] in asked])
            beyond = sorted(i for i in with_judge if with_judge[i] != by_judge[i] and i not in drawn)
            entry |= {"judge_disagree": len(beyond), "random_options": len(drawn)}
            differ += beyond
        entry["departures"] = {
            field.name: sum(
                mine[index] != changed
                for index, changed in verdicts(family, given, replace(KIT, **{field.name: True})).items()
            )
            for field in fields(Protocol)
        }
        report[family] = entry
        failed += len(differ)
        print(f"{family}: {entry}")
        by_index = {row["index"]: row for row in given}
        for index in differ[:5]:
            print("  differs:", by_index.get(index), theirs[family]["no judge"].get(index))
    write_json(REPORT, report)
    if "--record" in sys.argv[1:]:
        bits = {
            family: "".join(str(found["no judge"][index][0]) for index in sorted(found["no judge"]))
            for family, found in theirs.items()
        }
        write_json(FIXTURE, {"kit": "ms-vlmeval 0.0.20", "verdicts": bits})
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
