"""The Prefect door: DVC decides what runs, failures are sentences, and nothing outlives the flow."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows import pipeline as main_job
from tasks.execution.stage import Plan, draw, ingest
from tasks.processes import child_process
from tasks.tracking import mlflow_runs
from tasks.versioning import dvc_status
from wethink.common.errors import UserError
from wethink.common.jsonl import write_json
from wethink.dag.main_stages import STAGES
from wethink.dag.publishing import write_manifest

ALL = frozenset(STAGES)


def states_of(state: Any, runs_at_least: int = 1) -> dict[str, str]:
    """Stage → the name of its state, of a finished flow run; the server hears of task runs a little later."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    until = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            runs = client.read_task_runs(
                flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
            )
            heard = len(runs) >= runs_at_least and all(run.state and run.state.is_final() for run in runs)
            if heard or time.monotonic() > until:
                return {run.name: run.state_name for run in runs}
            time.sleep(0.5)


@flow(persist_result=False)
def only_draw(deadline_minutes: float = 5) -> Any:
    return draw(Plan(ALL, deadline_minutes, "test"))


def test_every_stage_runs_once_then_all_are_cached_without_a_child(
    project: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = main_job.pipeline(return_state=True)
    assert first.is_completed(), first.message
    assert states_of(first, len(STAGES)) == dict.fromkeys(STAGES, "Completed")
    summary = json.loads(Path("reports/summary.json").read_text(encoding="utf-8"))
    assert summary["grpo_minus_sft"]["low"] == 0.05
    assert set(summary["seconds"]) == set(STAGES)
    assert summary["peak_pss_mb"] > 0
    main_job.results.show_on_terminal(summary)
    shown = capsys.readouterr().out
    assert "SFT + GRPO" in shown and summary["start"] == "sft"
    alone = main_job.results.accuracies(summary | {"start": "base"})
    assert [line[0] for line in alone][-1] == "GRPO from base", "what was passed on is no SFT"
    assert "0.500" in shown and "reports/index.html" in shown and "mlflow ui" in shown

    started = Path("pids/draw").stat().st_mtime_ns
    monkeypatch.setattr(child_process, "run", lambda *args, **kwargs: pytest.fail("a child was started for nothing"))
    second = main_job.pipeline(return_state=True)
    assert second.is_completed()
    assert states_of(second, len(STAGES)) == dict.fromkeys(STAGES, "Cached")
    assert Path("pids/draw").stat().st_mtime_ns == started
    assert json.loads(Path("reports/summary.json").read_text(encoding="utf-8")) == summary
    assert len(tracked_runs()) == 1 + len(STAGES), "a run that did nothing adds nothing to MLflow"


def test_a_stage_whose_inputs_came_out_the_same_is_cached(project: Path, prefect_server: None) -> None:
    @flow(persist_result=False)
    def twice() -> Any:
        plan = Plan(ALL, 5, "test")  # as if DVC could not be asked: every stage may have to run
        return [ingest(plan, draw(plan)), draw(plan)]

    ran, unchanged = twice()
    assert ran.name == "Completed"
    assert unchanged.name == "Cached"
    assert unchanged.result() == "data/drawn"


def test_a_refused_input_is_the_flows_message_and_is_not_tried_again(
    project: Path, prefect_server: None, caplog: pytest.LogCaptureFixture
) -> None:
    Path("orders/draw").write_text("refuse")
    state = main_job.pipeline(return_state=True)
    assert state.is_failed()
    assert state.message == "draw: params.yaml, draw.optim: too much; use less."
    assert states_of(state) == {"draw": "Failed"}
    assert "Traceback" not in caplog.text
    assert Path(".wethink/logs/draw.log").read_text(encoding="utf-8").count("too much") == 1, "it was tried again"


def test_a_defect_is_told_by_its_last_line_and_is_not_tried_again(project: Path, prefect_server: None) -> None:
    Path("orders/draw").write_text("crash")
    state = only_draw(return_state=True)
    assert state.is_failed()
    assert "RuntimeError: a defect" in str(state.message)
    assert Path(".wethink/logs/draw.log").read_text(encoding="utf-8").count("Traceback") == 1


def test_a_killed_stage_is_tried_again_and_goes_on(project: Path, prefect_server: None) -> None:
    Path("orders/draw").write_text("die once")
    state = only_draw(return_state=True)
    assert state.is_completed(), state.message
    log = Path(".wethink/logs/draw.log").read_text(encoding="utf-8")
    assert "exited with -9" in log or "exited with 137" in log  # what DVC says depends on the shell between


def test_a_failed_run_can_be_retried_from_the_ui(project: Path, prefect_server: None) -> None:
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.states import AwaitingRetry

    Path("orders/ingest").write_text("refuse")
    failed = main_job.pipeline(return_state=True)
    assert failed.is_failed()
    Path("orders/ingest").unlink()
    Path("orders/synthesize").write_text("refuse")
    with get_client(sync_client=True) as client:  # what the Retry button does, and then what a worker does
        client.set_flow_run_state(failed.state_details.flow_run_id, AwaitingRetry(), force=True)
        run = client.read_flow_run(failed.state_details.flow_run_id)
    again = run_flow(main_job.pipeline, flow_run=run, return_type="state")
    assert again.message == "synthesize: params.yaml, synthesize.optim: too much; use less."
    assert Path("data/images/manifest.json").is_file()


def test_nothing_held_out_is_told_before_anything_is_trained(project: Path, prefect_server: None) -> None:
    assert main_job.pipeline(return_state=True).is_completed()
    write_json(Path("data/images/metrics.json"), {"images": 5, "splits": {"train": 5, "reporting": 0}})
    with pytest.raises(UserError, match=r"none of the 5 images is held out .*raise reporting of a source of your own"):
        main_job.refuse_unmeasurable(Path("data/images"), "reporting")
    write_json(Path("data/images/metrics.json"), {"images": 5, "splits": {"train": 4, "reporting": 1}})
    main_job.refuse_unmeasurable(Path("data/images"), "reporting")


def test_a_stage_past_its_deadline_is_stopped_and_says_so(project: Path, prefect_server: None) -> None:
    Path("orders/draw").write_text("sleep")
    begin = time.monotonic()
    state = only_draw(deadline_minutes=4 / 60, return_state=True)
    assert state.is_failed()
    assert "launch.deadline_minutes" in state.message
    assert time.monotonic() - begin < 30
    if Path("pids/draw").exists():
        assert not alive(int(Path("pids/draw").read_text()))


FRONT_END = """
import sys
from tasks.versioning import dvcfile
dvcfile.update = lambda params: False
from flows import pipeline
sys.exit(pipeline.main())
"""
NOISE = ("git add dvc.lock", "dvc push", "Task run", "Flow run", "Running stage")


def front_end(project: Path) -> tuple[list[str], dict[str, str]]:
    """The command of `make demo` for a project of stand-ins, and its environment."""
    root = str(main_job.__file__).removesuffix("/flows/pipeline.py")
    environment = os.environ | {"PYTHONPATH": root, "PREFECT_HOME": str(project / "prefect"), "TERM": "xterm"}
    environment.pop("PREFECT_API_URL", None)
    return [sys.executable, "-c", FRONT_END], environment


def test_a_pipe_gets_a_line_per_start_and_end_and_a_failure_with_the_last_lines_of_its_log(project: Path) -> None:
    Path("orders/ingest").write_text("crash")
    command, environment = front_end(project)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    stages = [line.split()[1:3] for line in done.stdout.splitlines() if line[:2].isdigit()]
    assert stages == [["draw", "started"], ["draw", "completed"], ["ingest", "started"], ["ingest", "failed"]]
    sentence, *lines = done.stderr.splitlines()
    assert sentence.startswith("wethink: ingest: ") and "RuntimeError: a defect" in sentence
    assert lines[0] == f"The last lines of {project}/.wethink/logs/ingest.log:"
    assert any("RuntimeError: a defect" in line for line in lines[1:])
    assert lines[-1].endswith(f"{project}/.wethink/logs/pipeline.log")
    log = Path(".wethink/logs/pipeline.log").read_text(encoding="utf-8")
    assert [noise for noise in NOISE if noise in done.stdout or (noise not in log and "git add" not in noise)] == []


def test_a_terminal_gets_one_table_that_is_drawn_in_place(project: Path) -> None:
    import pty

    Path("orders/ingest").write_text("refuse")
    command, environment = front_end(project)
    terminal, inner = pty.openpty()
    with subprocess.Popen(command, env=environment, stdin=inner, stdout=inner, stderr=inner) as flow_:
        os.close(inner)
        text = b""
        with contextlib.suppress(OSError):  # Linux says so when the other end is closed
            while block := os.read(terminal, 65536):
                text += block
    os.close(terminal)
    assert flow_.returncode == 2
    shown = text.decode()
    assert "what it made" in shown and "\x1b[1A" in shown  # the cursor goes up: the table is drawn over itself
    assert "completed" in shown and "failed" in shown and "params.yaml, ingest.optim: too much; use less." in shown
    assert [noise for noise in NOISE if noise in shown.split("The last lines of")[0]] == []


STARTER = """
import sys
from pathlib import Path
from tasks.processes import child_process
from tasks.versioning import dvc_status
child_process.run(dvc_status.repro("draw"), Path("draw.log"), 60, every=0.5)
"""


@pytest.mark.parametrize("victim", ["the flow", "DVC", "the flow, by Ctrl-C"])
def test_nothing_outlives_a_killed_process(project: Path, victim: str) -> None:
    Path("orders/draw").write_text("sleep")
    environment = os.environ | {"PYTHONPATH": str(main_job.__file__).removesuffix("/flows/pipeline.py")}
    with subprocess.Popen([sys.executable, "-c", STARTER], env=environment) as starter:
        wait_until(lambda: Path("pids/draw").exists() and Path("pids/draw").read_text() != "")
        stage = int(Path("pids/draw").read_text())
        family = descendants(starter.pid)
        assert stage in family
        parent = next(pid for pid in family if stage in descendants(pid))
        kill = {"the flow": (starter.pid, signal.SIGKILL), "DVC": (parent, signal.SIGKILL)}
        os.kill(*kill.get(victim, (starter.pid, signal.SIGINT)))
        starter.wait(timeout=30)
    wait_until(lambda: not any(alive(pid) for pid in family), seconds=10)
    assert not Path("data/drawn").exists()


SERVER = """
import sys, time
from tasks.orchestration.local_server import local_server
with local_server():
    from prefect.settings import PREFECT_API_URL
    print(PREFECT_API_URL.value(), flush=True)
    time.sleep(60)
"""


def test_two_flows_that_start_together_get_a_server_each_whose_pages_ask_it_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    root = str(main_job.__file__).removesuffix("/flows/pipeline.py")
    flows = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        environment = os.environ | {"PYTHONPATH": root, "PREFECT_HOME": str(tmp_path / name / "prefect")}
        command = [sys.executable, "-c", SERVER]
        flows.append(subprocess.Popen(command, cwd=tmp_path / name, env=environment, stdout=subprocess.PIPE, text=True))
    try:
        apis = [flow_.stdout.readline().strip() for flow_ in flows if flow_.stdout is not None]
        assert len(set(apis)) == 2
        for api in apis:
            with urllib.request.urlopen(api.removesuffix("/api") + "/ui-settings", timeout=30) as answer:
                assert json.load(answer)["api_url"] == api
    finally:
        for flow_ in flows:
            flow_.kill()
            flow_.communicate()


def test_the_local_prefect_server_dies_with_a_killed_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    root = str(main_job.__file__).removesuffix("/flows/pipeline.py")
    environment = os.environ | {"PYTHONPATH": root, "PREFECT_HOME": str(tmp_path / "prefect")}
    with subprocess.Popen([sys.executable, "-c", SERVER], env=environment, stdout=subprocess.PIPE, text=True) as flow_:
        assert flow_.stdout is not None
        assert flow_.stdout.readline().startswith("http://127.0.0.1:")
        family = descendants(flow_.pid)
        assert family
        flow_.kill()
    wait_until(lambda: not any(alive(pid) for pid in family), seconds=5)


def test_the_deadline_and_the_output_of_a_child(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs" / "child.log"
    ended = child_process.run(["sh", "-c", "echo über; echo broken >&2; exit 3"], log, 30)
    assert (ended.code, ended.late) == (3, False)
    assert ended.output == log.read_text(encoding="utf-8") == "über\nbroken\n"
    late = child_process.run(["sh", "-c", "trap '' INT; sleep 60 & wait; sleep 60"], log, 0.5, every=0.1, grace=0.5)
    assert late.late


def test_a_full_disk_under_the_log_stops_no_child_and_loses_no_word(tmp_path: Path) -> None:
    ended = child_process.run(["sh", "-c", "seq 200000; echo the disk is full; exit 2"], Path("/dev/full"), 60)
    assert (ended.code, ended.late) == (2, False) and ended.output.endswith("the disk is full\n")


def tracked_runs() -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient()
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def publish(steps: int, fingerprint: str, stage: str = "sft") -> None:
    """What a finished training stage leaves behind."""
    out = Path("models", stage)
    out.mkdir(parents=True, exist_ok=True)
    (out / "weights").write_text(fingerprint)
    write_manifest(out)
    log = Path(f".wethink/runs/{stage}.metrics.jsonl")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    log.write_text("".join(json.dumps({"step": step, "loss": 1 / step}) + "\n" for step in range(1, steps + 1)))
    record = {"fingerprint": fingerprint, "metrics": {"samples": 7}, "seconds": 1.0, "peak_pss_mb": 2.0}
    write_json(Path(f".wethink/runs/{stage}.run.json"), record)


def write_live(key: str, steps: range, stage: str = "sft") -> None:
    """What an unfinished stage writes: a log in scratch and a link to it."""
    scratch = Path(".wethink/scratch", stage, key)
    scratch.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": step, "loss": 1 / step}) + "\n" for step in steps]
    (scratch / "metrics.jsonl").write_text("".join(lines) + '{"step": 99, "lo')  # the last line is half written
    link = Path(f".wethink/runs/{stage}.metrics.jsonl")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to((scratch / "metrics.jsonl").resolve())


def test_after_a_resume_the_same_run_goes_on_and_nothing_is_logged_twice(project: Path) -> None:
    from mlflow import MlflowClient

    with mlflow_runs.follow("sft", "test") as watch:
        write_live("key", range(1, 6))
        watch()
    mlflow_runs.close(finished=False)  # the flow is interrupted after step 5; the last checkpoint is of step 3
    with mlflow_runs.follow("sft", "test") as watch:
        write_live("key", range(1, 4))
        watch()
        write_live("key", range(1, 8))
        watch()
    publish(9, "key")
    mlflow_runs.catch_up("sft", "test")
    mlflow_runs.catch_up("sft", "test")
    mlflow_runs.close(finished=True)
    stages = [run for run in tracked_runs() if run.data.tags.get("stage") == "sft"]
    assert [run.info.status for run in tracked_runs()] == ["FINISHED", "FINISHED"]
    history = MlflowClient().get_metric_history(stages[0].info.run_id, "loss")
    assert sorted(metric.step for metric in history) == list(range(1, 10))
    assert stages[0].data.metrics["result.samples"] == 7
    assert stages[0].data.params["sft.optim.lr"]
    assert stages[0].data.tags["mlflow.parentRunId"] in {run.info.run_id for run in tracked_runs()}


def test_sampled_completions_are_shown_at_intervals_once_and_after_the_run_too(project: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from mlflow import MlflowClient

    rollouts = [
        {"step": step, "row": f"{step}-{i // 2}", "text": f"{step} {i}", "reward": 1.0, "advantage": 0.5}
        for step in range(1, 66)
        for i in range(12)
    ]
    with mlflow_runs.follow("grpo", "test") as watch:
        for steps in (range(1, 25), range(1, 45)):
            write_live("key", steps, "grpo")
            lines = [json.dumps(rollout) + "\n" for rollout in rollouts if rollout["step"] in steps]
            Path(".wethink/scratch/grpo/key/rollouts.jsonl").write_text("".join(lines))
            watch()
    (run,) = [run for run in tracked_runs() if run.data.tags.get("stage") == "grpo"]
    names = [Path(entry.path).name for entry in MlflowClient().list_artifacts(run.info.run_id, "rollouts")]
    assert names == ["step-00020.json", "step-00040.json"]
    folder = Path(MlflowClient().download_artifacts(run.info.run_id, "rollouts", str(project)))
    shown = json.loads((folder / "step-00040.json").read_text())["rollouts"]
    assert [rollout["text"] for rollout in shown] == [f"40 {i}" for i in range(8)]
    publish(65, "key", "grpo")
    pq.write_table(pa.Table.from_pylist(rollouts), "models/grpo/rollouts.parquet")
    write_manifest(Path("models/grpo"))
    mlflow_runs.catch_up("grpo", "test")
    names = [Path(entry.path).name for entry in MlflowClient().list_artifacts(run.info.run_id, "rollouts")]
    assert names == ["step-00020.json", "step-00040.json", "step-00060.json"]


def test_a_checkpoint_is_one_version_with_its_hashes_however_often_it_is_registered(project: Path) -> None:
    from mlflow import MlflowClient

    for key in ("first", "same weights", "other"):
        publish(2, key)
        if key == "same weights":
            Path("models/sft/weights").write_text("first")
            (Path("models/sft") / "manifest.json").unlink()
            write_manifest(Path("models/sft"))
        mlflow_runs.catch_up("sft", "test")
    versions_found = MlflowClient().search_model_versions("name = 'wethink'")
    assert len(versions_found) == 2
    tags = versions_found[0].tags
    assert tags["stage"] == "sft" and len(tags["manifest_sha256"]) == 64
    assert tags["git_commit"] == dvc_status.git("rev-parse", "HEAD")
    assert versions_found[0].source.endswith("models/sft")


def test_a_checkpoint_that_was_changed_after_publishing_is_not_registered(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from mlflow import MlflowClient

    publish(2, "key")
    Path("models/sft/weights").write_text("tampered")
    mlflow_runs.catch_up("sft", "test")
    assert "was changed after publishing" in caplog.text
    assert not MlflowClient().search_model_versions("name = 'wethink'")


def test_a_tracker_that_is_down_stops_nothing_and_is_caught_up_later(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    working = os.environ["MLFLOW_TRACKING_URI"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # the discard port: nobody listens
    begin = time.monotonic()
    with mlflow_runs.follow("sft", "test") as watch:
        write_live("key", range(1, 6))
        watch()
        watch()
    publish(5, "key")
    mlflow_runs.catch_up("sft", "test")
    mlflow_runs.close(finished=True)
    assert time.monotonic() - begin < 30
    assert "the run goes on" in caplog.text

    monkeypatch.setenv("MLFLOW_TRACKING_URI", working)
    mlflow_runs.catch_up("sft", "test")
    assert [run.data.metrics["loss"] for run in tracked_runs() if run.data.tags.get("stage")] == [0.2]


def alive(pid: int) -> bool:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def descendants(pid: int) -> list[int]:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def test_a_configured_service_that_is_not_there_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows import promote
    from tasks.orchestration import local_server

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(UserError, match=f"nothing answers at 127.0.0.1:{port}, where PREFECT_API_URL points to"):
        local_server.require(f"http://127.0.0.1:{port}/api", "PREFECT_API_URL", patience=0)
    for elsewhere in ("sqlite:////tmp/mlflow.db", "postgresql://db.example/mlflow", "databricks://profile"):
        local_server.require(elsewhere, "MLFLOW_TRACKING_URI", patience=0)
    with pytest.raises(UserError, match="is no address"):
        local_server.require("http://localhost:abc", "PREFECT_API_URL", patience=0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://wethink@127.0.0.1:{port}/mlflow")
    monkeypatch.setattr(promote, "require", lambda url, name, patience: local_server.require(url, name, 0))
    monkeypatch.setattr(sys, "argv", ["promote", "list"])
    assert promote.main() == 2
    assert "where MLFLOW_TRACKING_URI points to" in capsys.readouterr().err


def test_without_the_stacks_environment_its_registry_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows import promote

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(promote, "run", lambda args: "no checkpoint is registered")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", promote.tasks.ENVIRONMENT["MLFLOW_TRACKING_URI"])
    monkeypatch.setattr(sys, "argv", ["promote", "list"])
    assert promote.main() == 0 and capsys.readouterr().err == ""
    promote.STACK.mkdir(parents=True)
    assert promote.main() == 0 and "tasks.stack env" in capsys.readouterr().err
