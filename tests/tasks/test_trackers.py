"""W&B's offline runs and TensorBoard's event files, read back: every step once, whatever the stage went through.

The tests that write need the libraries: `pip install 'wandb>=0.31,<0.32' 'tensorboard>=2.21,<3'`.
"""

import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tasks.execution import stage, summary
from tasks.tracking import tensorboard_events, trackers, wandb_runs
from tests.flows.test_pipeline import publish, tracked_runs, write_live
from wethink.common.errors import UserError
from wethink.config.params import load_params

STEPS = list(range(1, 10))
T = TypeVar("T")


def needs(library: str) -> pytest.MarkDecorator:
    missing = importlib.util.find_spec(library) is None
    return pytest.mark.skipif(missing, reason=f"{library} is not installed; it is an extra")


@pytest.fixture(
    params=[pytest.param("tensorboard", marks=needs("tensorboard")), pytest.param("wandb", marks=needs("wandb"))]
)
def tracker(request: pytest.FixtureRequest, project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The tracker that the project reports to, in place of MLflow."""
    report_to(project, request.param)
    for name in ("WANDB_API_KEY", "WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return str(request.param)


def report_to(project: Path, names: str) -> None:
    text = (project / "params.yaml").read_text(encoding="utf-8")
    (project / "params.yaml").write_text(text.replace("report_to: [mlflow]", f"report_to: [{names}]"), encoding="utf-8")


def logged(tracker: str, name: str) -> list[tuple[int, float]]:
    """Every (step, value) of a metric of the `sft` stage's run with the fingerprint 'key', in the order of writing."""
    return list(events(name) if tracker == "tensorboard" else history(name))


def settled(read: Callable[[], T], wanted: T) -> T:
    """What `read` returns once it is `wanted`, or after 30 s: W&B's own process writes on after a run has ended."""
    until = time.monotonic() + 30
    while (found := read()) != wanted and time.monotonic() < until:
        time.sleep(0.2)
    return found


def events(name: str) -> Iterator[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    read = EventAccumulator(".wethink/tensorboard/test/sft-key", size_guidance={"scalars": 0})
    read.Reload()
    yield from ((event.step, event.value) for event in read.Scalars(name))


def history(name: str) -> Iterator[tuple[int, float]]:
    for record in wandb_records():
        items = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        if name in items:
            yield items["_step"], items[name]


def run_ids() -> list[str]:
    return [record.run.run_id for record in wandb_records() if record.WhichOneof("record_type") == "run"]


def wandb_records() -> Iterator[Any]:
    """The records of all offline runs: LevelDB's log format (blocks of 32 KiB, records cut into parts)."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted(Path(".wethink/wandb").glob("offline-run-*/*.wandb")):
        data, at, whole = path.read_bytes(), 7, b""
        while at + 7 <= len(data):
            if 32768 - at % 32768 < 7:
                at += 32768 - at % 32768
                continue
            _, length, part = struct.unpack("<IHB", data[at : at + 7])
            whole, at = whole + data[at + 7 : at + 7 + length], at + 7 + length
            if part in (1, 4):  # the whole of a record, or its last part
                record, whole = Record.FromString(whole), b""
                yield record


def test_after_a_resume_the_curve_goes_on_and_no_step_is_repeated(tracker: str) -> None:
    with trackers.follow("sft", "test") as watch:
        write_live("key", range(1, 6))
        watch()
    with trackers.follow("sft", "test") as watch:  # the stage was killed after step 5; its checkpoint is of step 3
        write_live("key", range(1, 4))
        watch()
        write_live("key", range(1, 8))
        watch()
    publish(9, "key")
    trackers.catch_up("sft", "test")
    trackers.catch_up("sft", "test")
    expected = [(step, pytest.approx(1 / step)) for step in STEPS]
    assert settled(lambda: logged(tracker, "loss"), expected) == expected
    if tracker == "tensorboard":
        assert logged(tracker, "result.samples") == [(1, 7.0)]
    else:
        runs = [record.run for record in wandb_records() if record.WhichOneof("record_type") == "run"]
        assert {(run.run_id, run.display_name, run.project) for run in runs} == {("sft-key", "sft", "test")}
        assert "sft" in {item.key for run in runs for item in run.config.update}
        kept = {item.key: item.value_json for record in wandb_records() for item in record.summary.update}
        assert kept["result.samples"] == "7.0"
    assert not tracked_runs()  # MLflow is not named


KILLED = """
import os, signal, sys, time
from tasks.tracking import trackers
from tests.tasks.test_trackers import logged
from tests.flows.test_pipeline import write_live
with trackers.follow("sft", "test") as watch:
    for last in range(2, 6):
        write_live("key", range(1, last + 1))
        watch()
    until = time.monotonic() + 60
    while len(logged(sys.argv[1], "loss")) < 5 and time.monotonic() < until:  # W&B writes every second
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_flow_that_is_killed_leaves_every_step_once(tracker: str, project: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("WANDB_SERVICE", None)  # W&B's process of this one, which would outlive the kill
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tracker], cwd=project, env=environment, stderr=subprocess.PIPE, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    publish(9, "key")
    trackers.catch_up("sft", "test")
    expected = [(step, pytest.approx(1 / step)) for step in STEPS]
    assert settled(lambda: logged(tracker, "loss"), expected) == expected


def test_a_stage_of_another_fingerprint_has_a_curve_of_its_own(tracker: str) -> None:
    for key in ("other", "key"):
        publish(9 if key == "key" else 4, key)
        trackers.catch_up("sft", "test")
    if tracker == "tensorboard":
        assert [step for step, _ in logged(tracker, "loss")] == STEPS
    else:
        both, steps = ["sft-key", "sft-other"], sorted([*range(1, 5), *STEPS])
        assert settled(lambda: sorted(run_ids()), both) == both
        assert settled(lambda: sorted(step for step, _ in logged(tracker, "loss")), steps) == steps


@needs("wandb")
def test_no_file_of_an_offline_run_holds_a_secret(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report_to(project, "wandb")
    secrets = {"WANDB_API_KEY": "k" * 40, "HF_TOKEN": "hf_planted_secret"}
    for name, value in {**secrets, "WANDB_MODE": "offline"}.items():
        monkeypatch.setenv(name, value)
    remote = "https://me:planted_password@127.0.0.1/project.git"
    subprocess.run(["git", "remote", "add", "origin", remote], cwd=project, check=True)
    publish(2, "key")
    trackers.catch_up("sft", "test")
    files = [path for path in Path(".wethink/wandb").rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    for path in files:
        data = path.read_bytes()
        assert not [word for word in (*secrets.values(), "planted_password") if word.encode() in data], path


def test_all_trackers_stand_beside_each_other_and_one_that_fails_stops_none(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> Any:
        raise OSError("no room")

    report_to(project, "tensorboard, mlflow")
    monkeypatch.setitem(trackers.CURVES, "tensorboard", trackers.curves.Tracker("tensorboard", "TensorBoard", fail))
    with trackers.follow("sft", "test") as watch:
        write_live("key", range(1, 6))
        watch()
        watch()
    publish(5, "key")
    trackers.catch_up("sft", "test")
    assert [run.data.metrics["loss"] for run in tracked_runs() if run.data.tags.get("stage")] == [0.2]
    assert caplog.text.count("TensorBoard: OSError: no room; the run goes on") == 2


@pytest.mark.parametrize("library", ["tensorboard", "wandb"])
def test_a_tracker_that_is_not_installed_is_a_sentence_with_the_command(
    library: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_to(project, f"mlflow, {library}")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=f"names {library}, which is not installed: pip install '{library}>="):
        stage.prepare("test")


def test_wandb_without_its_key_is_refused_before_a_stage_runs_unless_it_is_offline(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    report_to(project, "wandb")
    with pytest.raises(UserError, match="WANDB_API_KEY is not set: set it, or set WANDB_MODE=offline"):
        stage.prepare("test")
    monkeypatch.setenv("WANDB_MODE", "offline")
    trackers.require(load_params().launch)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    trackers.require(load_params().launch)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("comet", r"key 'launch.report_to.0': input should be 'mlflow', 'wandb' or 'tensorboard' \(found 'comet'\)"),
        ("mlflow, mlflow", "key 'launch.report_to': names a tracker twice"),
    ],
)
def test_an_unknown_or_repeated_tracker_is_a_sentence(project: Path, names: str, told: str) -> None:
    report_to(project, names)
    with pytest.raises(UserError, match=told):
        load_params()


def test_no_tracker_at_all_logs_nothing_and_the_default_is_mlflow_alone(project: Path) -> None:
    assert load_params().launch.report_to == ("mlflow",)
    report_to(project, "")
    with trackers.follow("sft", "test") as watch:
        write_live("key", range(1, 6))
        watch()
    publish(5, "key")
    trackers.catch_up("sft", "test")
    assert not tracked_runs()


def test_the_last_lines_of_a_run_name_the_page_of_each_tracker(project: Path) -> None:
    assert list(summary.tracker_pages(Path("bin"))) == ["MLflow"]
    report_to(project, "mlflow, wandb, tensorboard")
    pages = summary.tracker_pages(Path("bin"))
    assert pages["TensorBoard"] == f"bin/tensorboard --logdir {tensorboard_events.FOLDER}"
    assert pages["W&B"].startswith(f"bin/wandb sync {wandb_runs.runs_folder()}/wandb/offline-run-*")
