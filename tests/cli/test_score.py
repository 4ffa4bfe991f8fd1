"""`wethink score` gives one verdict per line, in order, whatever the line holds."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINES = [
    {"gold": "7", "answer": "seven"},
    {"gold": "B", "answer": "(b)", "problem": "Which? A red B blue", "category": "MC"},
    {"gold": "3", "response": "<think>x</think><answer>3</answer>", "id": 5},
    {"gold": "3", "response": "3"},
    {"gold": 3, "answer": 3.0},
    {"gold": "red circle, blue star", "answer": "a red circle", "category": "DES", "reward": "model"},
    {"gold": "3"},
    {"gold": "3", "answer": None},
    [1],
]
OUTCOMES = ["correct", "correct", "correct", "wrong", "correct", "wrong", "unknown", "unknown", "unknown", "unknown"]


def run(*arguments: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wethink", "score", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, input=stdin, capture_output=True, text=True)


def test_every_line_has_a_verdict_in_its_place_from_a_file_and_from_standard_input(tmp_path: Path) -> None:
    text = "\n".join([*map(json.dumps, LINES), "no JSON", ""])
    (tmp_path / "lines.jsonl").write_text(text, encoding="utf-8-sig")
    for done in (run("lines.jsonl", cwd=tmp_path), run("-", cwd=tmp_path, stdin=text)):
        verdicts = [json.loads(line) for line in done.stdout.splitlines()]
        assert [verdict["outcome"] for verdict in verdicts] == OUTCOMES
        assert all(set(verdict) == {"outcome", "score", "kind", "reason"} for verdict in verdicts)
        assert verdicts[5]["score"] == 0.5 and verdicts[6]["score"] is None
        assert done.returncode == 1 and done.stderr.startswith("wethink score: 4 of 10 lines cannot be read")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    done = run("nowhere.jsonl", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("wethink score: nowhere.jsonl does not exist")
    assert "Traceback" not in done.stderr
