"""Official benchmark numbers: VLMEvalKit run on a served model, and its result files.

The harness runs in .venv-vlmeval as a child process and is never imported here: it turns off TLS verification at import
and pins its own packages. It gets only the tables that are given to it and, if model and judge are on this machine,
proxies that lead nowhere.
"""

import contextlib
import csv
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, file_sha256, read_json, write_json
from wethink.common.keys import read_key
from wethink.common.loopback import is_loopback
from wethink.common.processes import GROUPS
from wethink.data.benchmark_table import MAX_CELL, Table
from wethink.evaluation.benchmarks.aggregate import Unit, dyna_math, estimate, figures, grouped, truth, we_math
from wethink.evaluation.benchmarks.registry import Benchmark

PYTHON = Path(".venv-vlmeval/bin/python")
FOLDER = "vlmevalkit-"  # of a benchmark's folder; the label follows
RESAMPLES = 2000
VERDICTS = ("hit", "correct", "score")  # columns in which the kit's files hold a verdict per item
NOWHERE = "http://127.0.0.1:9"  # the discard port: every request through this proxy fails at once


def run_official(
    label: str,
    url: str,
    served: str,
    tables: Sequence[Path],
    home: Path,
    judge: str = "exact_matching",
    judge_url: str | None = None,
    key_env: str | None = None,
    judge_key_env: str | None = None,
    max_new_tokens: int = 2048,  # the authors' (VLMEvalKit's wrapper of WeThink)
    python: Path = PYTHON,
    deadline: float = 24 * 3600.0,
) -> dict[str, Any]:
    """Evaluate a served model with VLMEvalKit; copy its result files to `home`.

    Returns the names of the copied files by table.

    Raises:
        UserError: the harness is not installed, a table or a key is missing, or it ends with an error.
    """
    if not python.exists():
        raise UserError(f"{python} does not exist; `make .venv-vlmeval/.installed` sets VLMEvalKit up.")
    work = (home / ".vlmevalkit" / label).resolve()
    data = work / "LMUData"
    data.mkdir(parents=True, exist_ok=True)
    for path in tables:
        if not path.is_file():
            raise UserError(f"{path} does not exist; VLMEvalKit would try to fetch it without checking who answers.")
        link = data / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
    names = [path.stem for path in tables]
    command = [str(python.absolute()), "-m", "vlmeval.run", "--model", served, "--base-url", url, "--data", *names]
    command += ["--work-dir", str(work / "out"), "--judge", judge, "--reuse"]
    command += ["--max-tokens", str(max_new_tokens), "--temperature", "0", "--retry", "3"]
    command += ["--judge-base-url", judge_url] if judge_url else []
    log = work / "log.txt"
    environment = _environment(data, [url, *([judge_url] if judge_url else [])], key_env, judge_key_env)
    try:
        code = _run(command, work, environment, log, deadline)
    finally:
        _redact(log, [key_env, judge_key_env])
    if code != 0:
        raise UserError(f"VLMEvalKit ended with code {code}; see the end of {log}.")
    found: dict[str, Any] = {}
    for path in tables:
        target = home / path.stem / f"{FOLDER}{label}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        files = sorted(f for f in (work / "out").rglob(f"{served.split('/')[-1]}_{path.stem}*") if f.suffix != ".pkl")
        for file in files:
            shutil.copyfile(file, target / file.name)
        about = {"benchmark": path.stem, "label": label, "served": served, "judge": judge, "table": str(path.resolve())}
        write_json(target / "about.json", about | {"table_sha256": file_sha256(path), "kit": _version(python)})
        found[path.stem] = sorted(file.name for file in files)
    return found


def _run(command: Sequence[str], work: Path, environment: dict[str, str], log: Path, deadline: float) -> int:
    """Run the child and return its exit code; kill its process group in any case.

    Raises:
        UserError: the deadline passed.
    """
    with (
        log.open("w", encoding="utf-8") as sink,
        subprocess.Popen(
            command, cwd=work, env=environment, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
        ) as child,
    ):
        GROUPS.add(child.pid)
        try:
            return child.wait(timeout=deadline)
        except subprocess.TimeoutExpired:
            raise UserError(f"VLMEvalKit was stopped after {deadline:g} s ({log}); the same command goes on.") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            GROUPS.discard(child.pid)


def _environment(data: Path, urls: Sequence[str], key: str | None, judge_key: str | None) -> dict[str, str]:
    """Build the minimal environment of the child process.

    API keys are named by variable and never stand on its command line.

    Raises:
        UserError: a key's variable is not set.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    for name in (key, judge_key):
        if name and not read_key(name):
            raise UserError(f"the environment variable {name} is not set; it should hold the endpoint's key.")
    kept |= {"LMUData": str(data), "PRED_FORMAT": "tsv", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    kept["LMDEPLOY_API_KEY"] = read_key(key) if key else "none"
    kept["OPENAI_API_KEY"] = read_key(judge_key) if judge_key else "none"
    if all(is_loopback(urlsplit(url).hostname) for url in urls):
        proxies = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "no_proxy": "127.0.0.1,localhost,::1"}
        kept |= proxies | {name.upper(): value for name, value in proxies.items()}
    return kept


def _redact(log: Path, names: Sequence[str | None]) -> None:
    """Replace API keys in the log: VLMEvalKit writes those that it uses."""
    text = log.read_text(encoding="utf-8", errors="replace")
    for name in names:
        if name and (key := read_key(name)):
            text = text.replace(key, f"<{name}>")
    log.write_text(text, encoding="utf-8")


def _version(python: Path) -> str:
    code = "import importlib.metadata as m; print(m.version('ms-vlmeval'))"
    return subprocess.run(
        [str(python), "-c", code], capture_output=True, encoding="utf-8", errors="replace"
    ).stdout.strip()


def official_figures(folder: Path, entry: Benchmark, seed: int) -> list[dict[str, Any]]:
    """Return a row for every model that VLMEvalKit has evaluated on a benchmark."""
    return [official_row(path.parent, entry, seed) for path in sorted(folder.glob(f"{FOLDER}*/about.json"))]


def official_row(folder: Path, entry: Benchmark, seed: int) -> dict[str, Any]:
    """Build a model's row from VLMEvalKit's result files.

    Figures have intervals if the files hold a verdict per item; else the row has VLMEvalKit's own number without any.
    """
    about = read_json(folder / "about.json")
    row: dict[str, Any] = {"run": folder.name, "label": about["label"], "about": about, "folder": str(folder)}
    row |= {"official": True, "groups": {}, "controls": {}}
    items = judged_items(folder)
    if items is None:
        number = printed_number(folder, entry)
        if number is None:
            return row | {"missing": "VLMEvalKit left predictions but no score (its answers may not be public)"}
        return row | {"figures": {entry.figures[0]: number}}
    if entry.name == "DynaMath":
        every, worst, questions = dyna_math(items)
        worst_units = [Unit(right, name) for right, name in zip(worst, questions, strict=True)]
        of_item = [Unit(truth(item["correct"]), str(item["qid"])) for item in items]
        assert len(every) == len(of_item)
        return row | {
            "figures": {
                "worst case": estimate(worst_units, RESAMPLES, seed),
                "average": estimate(of_item, RESAMPLES, seed),
            }
        }
    if entry.name == "WeMath":
        return row | {"figures": {"strict": we_math_figure(items, seed)}}
    shown = _clusters(about)
    records: list[Record] = [
        {
            "index": item["index"],
            "verdict": "correct" if truth(item["verdict"]) else "wrong",
            "cluster": shown.get(item["index"], item["index"]),
            "cells": {name.lower(): cell for name, cell in item.items() if cell},
        }
        for item in items
    ]
    if entry.family == "yes_no":
        return row | {"figures": figures(records, entry, RESAMPLES, seed)}
    # A circular benchmark's file has one line per group already.
    return row | {"figures": {"accuracy": estimate(grouped(records, lambda r: str(r["index"])), RESAMPLES, seed)}}


def we_math_figure(items: Sequence[dict[str, str]], seed: int) -> dict[str, Any]:
    """Estimate Score (Strict); the bootstrap resamples composed problems.

    Half points count.
    """
    from wethink.common.statistics import cluster_bootstrap

    found = we_math(items)
    points = found["points"]
    if not points:
        return {"value": None, "low": None, "high": None, "n": 0, "unknown": 0.0, "withheld": "no composed problem"}
    result = cluster_bootstrap(points, list(range(len(points))), RESAMPLES, seed)
    entry = {"value": result.value, "low": result.low, "high": result.high, "n": result.n, "unknown": 0.0}
    return entry | {"counts": found["counts"]}


def judged_items(folder: Path) -> list[dict[str, str]] | None:
    """Read the rows of the file with a verdict per item; None if there is none.

    Each row gets its `verdict`.
    """
    for path in sorted(folder.glob("*.tsv"), key=lambda path: (-len(path.name), path.name)):
        csv.field_size_limit(MAX_CELL)
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle, delimiter="\t"))
        column = next((name for name in VERDICTS if rows and name in rows[0]), None)
        if column:
            return [row | {"verdict": row[column]} for row in rows]
    return None


def printed_number(folder: Path, entry: Benchmark) -> dict[str, Any] | None:
    """Read VLMEvalKit's own overall figure as a share in [0, 1], None if absent."""
    for path in sorted(folder.glob("*_score.json")):
        score = read_json(path)
        if "Final Score" in score:
            hits = float(score["Final Score"])
            return {"value": hits / 1000, "low": None, "high": None, "n": 1000, "unknown": 0.0, "hits": hits}
    for path in sorted([*folder.glob("*_acc.csv"), *folder.glob("*_score.csv")]):
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        for row in rows:
            if row.get("Overall"):
                return _printed(float(row["Overall"]))
            if "Overall" in row.values():  # one line per task or subject
                share = next((row[name] for name in ("acc", "Overall", "accuracy") if row.get(name)), None)
                if share is not None and re.fullmatch(r"[\d.]+", share):
                    return _printed(float(share))
    return None


def _printed(value: float) -> dict[str, Any]:
    share = value / 100 if value > 1 else value
    return {"value": share, "low": None, "high": None, "n": None, "unknown": 0.0, "note": "VLMEvalKit's own number"}


def _clusters(about: dict[str, Any]) -> dict[str, str]:
    path = Path(about["table"])
    if not path.is_file():
        return {}
    return {item.index: item.get("scene") or item.shown for item in Table(path).items.values()}
