"""The terminal of the main flow: what a stage's row shows, what a pipe is given, and what a failure leaves behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tasks import ROOT
from tasks.execution import summary, terminal
from tasks.execution.stage import StageEvent
from tasks.execution.terminal import Progress, Row, next_row, parse_progress, plain_line, stage_table
from wethink.cli import main
from wethink.common.jsonl import write_json
from wethink.dag.main_stages import STAGES

FINISHED = {
    "draw": ({"images": {"charts": {"train": 2000, "tuning": 50}}, "items": {"tuning": {"count": 50}}}, "2,050 images"),
    "synthesize": ({"kept": 464, "candidates": 480}, "464 rows of 480 candidates"),
    "base": ({"model": "Qwen/Qwen3-VL-8B"}, "models/base"),  # resolved, not trained
}


def shown(renderable: object, width: int = 100) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(renderable)
    return console.export_text()


@pytest.mark.parametrize("stage", FINISHED)
def test_what_a_stage_made_is_told_from_its_metrics(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    metrics, sentence = FINISHED[stage]
    assert summary.made(stage) == ""
    write_json(summary.run_record(stage), {"metrics": metrics})
    assert sentence in summary.made(stage)


def test_a_stage_starts_ends_and_is_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    running = next_row(Row(), StageEvent("draw", "Running"), 10.0)
    assert plain_line("draw", running).endswith("started")
    fetched = next_row(running, StageEvent("draw", "Completed", "draw: another machine has run it"), 12.0)
    assert plain_line("draw", fetched).endswith("completed after 2 s: another machine has run it")
    write_json(summary.run_record("draw"), {"metrics": FINISHED["draw"][0]})
    cached = next_row(Row(), StageEvent("draw", "Cached", "nothing has changed"), 12.0)
    assert plain_line("draw", cached).endswith("cached: 2,050 images, 50 held-out items")
    killed = next_row(running, StageEvent("sft", "Interrupted", "sft: it was killed"), 13.0)
    assert plain_line("sft", killed).endswith("interrupted after 3 s: sft: it was killed")
    assert next_row(running, StageEvent("draw", "Failed", "the sentence stands below"), 13.0).made == ""


def test_the_latest_progress_line_is_read_from_a_stages_output() -> None:
    text = "sft:   0%|      | 0/900 [00:00<?, ?it/s]\rsft:   8%|8      | 74/900 [00:15<02:48,  4.92it/s]"
    assert parse_progress(text) == Progress("sft", 74, 900, "00:15<02:48,  4.92it/s")
    assert parse_progress("To track the changes with git, run:\n\n\tgit add dvc.lock\n") is None


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_has_a_row_per_stage_and_one_progress_line(width: int) -> None:
    rows = dict.fromkeys(STAGES, Row()) | {"draw": Row("completed", 0.0, 9.4, "2,050 images"), "sft": Row("running", 5)}
    text = shown(stage_table(rows, Progress("sft", 74, 900, "00:15<02:48,  4.92it/s"), 17.0, width), width)
    lines = text.splitlines()
    assert len(lines) <= 4 + len(STAGES) + 1 + 1
    assert all(len(line) <= width for line in lines)
    assert [name for name in STAGES if f"│ {name} " not in text] == []
    assert "9 │ 2,050 images" in text and "12 │" in text
    assert "74/900" in lines[-1] and "left 02:48" in lines[-1]


def test_a_failure_shows_its_sentence_the_last_lines_and_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = Path(".wethink/logs/sft.log")
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"line {i}\n" for i in range(100)) + "sft: 0%\rsft: 100%\n\nRuntimeError: a defect\n")
    text = terminal.failure("sft: RuntimeError: a defect", {"draw": Row("cached"), "sft": Row("failed")})
    lines = text.splitlines()
    assert lines[0] == "wethink: sft: RuntimeError: a defect"
    assert lines[1] == f"The last lines of {tmp_path / log}:" and lines[-2] == "    RuntimeError: a defect"
    assert "    sft: 100%" in lines and "line 0" not in lines and len(lines) == 3 + terminal.LAST_LINES
    assert lines[-1].endswith(str(tmp_path / terminal.RUN_LOG))
    elsewhere = terminal.failure("git: no remote", {"draw": Row("completed")})
    assert f"The last lines of {tmp_path / terminal.RUN_LOG}:" in elsewhere and "cannot be read" in elsewhere


def test_help_lists_each_command_once_in_its_group_and_no_internal_one() -> None:
    text = main.parser().format_help()
    assert text.startswith("usage: wethink COMMAND") and "other commands" not in text and "python -m" not in text
    listed = [line.split()[0] for line in text.splitlines() if line[:2] == "  " and line[2:3].isalpha()]
    assert len(listed) == len(set(listed)) and set(STAGES) | {"ask", "benchmark"} <= set(listed)
    assert "rank" not in listed
    assert main.grouped({"draw": "pictures", "new": "a command"}).count("other commands:\n  new ") == 1


PROBE = """
import logging, os, sys, subprocess
from pathlib import Path
from prefect.logging.handlers import APILogHandler
from tasks.execution import terminal
from tasks.execution.stage import LISTENER, StageEvent
from tasks.processes import child_process
with terminal.display(Path("run.log")) as shown:
    shown.say("[draw] 1/2")
    for name in ("prefect.flow_runs", "prefect.task_runs"):  # what fills Prefect's pages stays as it is
        assert [type(handler) for handler in logging.getLogger(name).handlers] == [APILogHandler]
    LISTENER.get()(StageEvent("draw", "Running"))
    logging.getLogger("prefect.flow_runs").warning("of Prefect", extra={"send_to_api": False})
    print("of a library")
    subprocess.run(["sh", "-c", "echo of a child >&2"])
    child_process.run(["echo", "Use `dvc push` to send your updates"], Path("draw.log"), 30)
    LISTENER.get()(StageEvent("draw", "Completed", "draw: made"))
print("afterwards")
LISTENER.get()(StageEvent("ingest", "Running"))
"""


def test_in_a_pipe_stages_are_plain_lines_and_all_else_goes_to_the_log(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    words = [line.split(maxsplit=1)[-1] for line in done.stdout.splitlines()]
    assert words == ["1/2", "draw        started", "draw        completed after 0 s: made", "afterwards"]
    assert done.stderr == ""
    log = (tmp_path / "run.log").read_text(encoding="utf-8")
    for text in ("of Prefect", "of a library", "of a child", "Use `dvc push`"):
        assert text in log
    assert "\x1b" not in log
