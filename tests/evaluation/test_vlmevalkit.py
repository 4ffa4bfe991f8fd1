"""The official harness: a child that sees only what it must; what its result files hold comes into the report."""

import os
import stat
from pathlib import Path

import pytest

from tests.evaluation.test_benchmark_tables import cell, png, write_table
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, write_json
from wethink.evaluation.benchmarks.registry import BENCHMARKS
from wethink.evaluation.benchmarks.results import board
from wethink.evaluation.benchmarks.vlmevalkit import official_row, run_official

HARNESS = """#!{python}
import json, os, pathlib, sys
if "-c" in sys.argv:
    print("0.0"); sys.exit()
work = pathlib.Path(sys.argv[sys.argv.index("--work-dir") + 1]) / "served"
work.mkdir(parents=True, exist_ok=True)
(pathlib.Path(os.environ["LMUData"]).parent / "seen.json").write_text(json.dumps([sys.argv, dict(os.environ)]))
print("API Key:", os.environ["LMDEPLOY_API_KEY"])
if os.environ["LMDEPLOY_API_KEY"] == "hang":
    sys.stdout.flush()
    import time; time.sleep(60)
if os.environ["LMDEPLOY_API_KEY"] == "fail":
    sys.exit(3)
table = next(pathlib.Path(os.environ["LMUData"]).glob("*.tsv"))
assert "Which?" in table.read_text()
(work / ("served_" + table.stem + "_exact_matching_result.tsv")).write_text("index\\thit\\n1\\t1\\n2\\t0\\n")
(work / ("served_" + table.stem + "_x.pkl")).write_bytes(b"never copied")
"""


@pytest.fixture
def harness(tmp_path: Path) -> Path:
    import sys

    path = tmp_path / "python"
    path.write_text(HARNESS.format(python=sys.executable), encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    row = {"image": cell(png("red")), "question": "Which?", "A": "cat", "B": "dog", "answer": "A"}
    return write_table(tmp_path / "MMStar.tsv", [row | {"index": "1"}, row | {"index": "2"}])


def test_keys_reach_the_harness_by_environment_only_and_leave_its_log(
    tmp_path: Path, harness: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    monkeypatch.setenv("OTHER_SECRET", "not for the harness")
    home = tmp_path / "out"
    found = run_official("grpo", "http://127.0.0.1:1/v1", "served", [table], home, key_env="MY_KEY", python=harness)
    assert found == {"MMStar": ["served_MMStar_exact_matching_result.tsv"]}
    arguments, environment = read_json(home / ".vlmevalkit" / "grpo" / "seen.json")
    assert "sk-very-secret" not in " ".join(arguments) and environment["LMDEPLOY_API_KEY"] == "sk-very-secret"
    assert "OTHER_SECRET" not in environment and environment["https_proxy"] == "http://127.0.0.1:9"
    everything = "".join(p.read_text() for p in home.rglob("*") if p.is_file() and p.name != "seen.json")
    assert "sk-very-secret" not in everything and "<MY_KEY>" in everything
    (row,) = next(entry for entry in board(home)["benchmarks"] if entry["name"] == "MMStar")["rows"]
    assert row["figures"]["accuracy"]["value"] == 0.5 and row["official"]


def test_a_harness_that_is_stopped_leaves_no_key_in_its_log(
    tmp_path: Path, harness: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "hang")
    with pytest.raises(UserError, match="was stopped after 5 s"):
        run_official(
            "g", "http://127.0.0.1:1/v1", "served", [table], tmp_path, key_env="MY_KEY", python=harness, deadline=5
        )
    assert (tmp_path / ".vlmevalkit" / "g" / "log.txt").read_text().strip() == "API Key: <MY_KEY>"


def test_an_endpoint_elsewhere_keeps_its_way_out(tmp_path: Path, harness: Path, table: Path) -> None:
    run_official("grpo", "https://example.org/v1", "served", [table], tmp_path / "out", python=harness)
    _, environment = read_json(tmp_path / "out" / ".vlmevalkit" / "grpo" / "seen.json")
    assert "https_proxy" not in environment


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"python": Path("nowhere/python")}, "sets VLMEvalKit up"),
        ({"tables": [Path("none.tsv")]}, "without checking who answers"),
        ({"key_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE is not set"),
        ({"key_env": "BAD"}, "ended with code 3"),
    ],
)
def test_what_cannot_run_is_said_in_one_sentence(
    tmp_path: Path, harness: Path, table: Path, change: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAD", "fail")
    given = {"tables": [table], "python": harness} | change
    tables = given.pop("tables")
    with pytest.raises(UserError, match=said):
        run_official("g", "http://127.0.0.1:1/v1", "served", tables, tmp_path / "out", **given)  # type: ignore[arg-type]


def official(tmp_path: Path, name: str, files: dict[str, str]) -> dict[str, object]:
    folder = tmp_path / name / "vlmevalkit-grpo"
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(text, encoding="utf-8")
    write_json(folder / "about.json", {"label": "grpo", "table": os.devnull})
    return official_row(folder, BENCHMARKS[name], 0)


def test_dynamath_s_board_number_is_the_worst_case_of_the_kit_s_items(tmp_path: Path) -> None:
    lines = [f"{n}\t{n // 3}\t{n % 3 + 1}\t{n != 4}" for n in range(9)]
    row = official(tmp_path, "DynaMath", {"m_DynaMath_judge.tsv": "index\tqid\tvarid\tcorrect\n" + "\n".join(lines)})
    figures = row["figures"]
    assert figures["worst case"]["value"] == pytest.approx(2 / 3)  # type: ignore[index]
    assert figures["average"]["value"] == pytest.approx(8 / 9)  # type: ignore[index]


def test_wemath_s_board_number_is_the_strict_score_of_the_kit_s_items(tmp_path: Path) -> None:
    text = "index\tID\tkey\thit\n1\t1\t2steps_1\t1\n2\t1\t2steps_2\t1\n3\t1\t2steps_multi\t0\n"
    row = official(tmp_path, "WeMath", {"m_WeMath_judge.tsv": text})
    assert row["figures"]["strict"]["value"] == 0.5  # type: ignore[index]


def test_where_the_kit_leaves_no_verdict_per_item_its_own_number_stands_without_an_interval(tmp_path: Path) -> None:
    files = {
        "m_MathVista_MINI.tsv": "index\tprediction\n1\tx\n",
        "m_MathVista_MINI_j_score.csv": "Task&Skill,tot,prefetch,hit,prefetch_rate,acc\nOverall,10,2,4,20.0,40.0\n",
    }
    figure = official(tmp_path, "MathVista_MINI", files)["figures"]["accuracy"]  # type: ignore[index]
    assert (figure["value"], figure["low"]) == (0.4, None)


def test_predictions_without_a_score_say_so(tmp_path: Path) -> None:
    row = official(tmp_path, "MMBench_TEST_EN_V11", {"m_MMBench_TEST_EN_V11.tsv": "index\tprediction\n1\tA\n"})
    assert "no score" in str(row["missing"]) and "figures" not in row
