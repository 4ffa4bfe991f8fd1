"""What MLflow gets beside curves and figures: the report as a page, how busy the machine was, a sample of the calls."""

import time
from pathlib import Path

import pytest

from tasks.tracking import mlflow_runs, traces
from tests.flows.test_pipeline import publish, tracked_runs, write_live
from wethink.clients.response_store import Answer, Call, ResponseStore
from wethink.common.jsonl import write_json


def test_how_busy_the_machine_was_stands_with_the_curves_of_a_stage_that_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")  # ten seconds, where nothing is said
    with mlflow_runs.follow("sft", "test") as watch:
        write_live("key", range(1, 4))
        watch()
        time.sleep(2)
    publish(3, "key")
    mlflow_runs.catch_up("sft", "test")
    (run,) = [run for run in tracked_runs() if run.data.tags.get("stage") == "sft"]
    assert run.data.metrics["loss"] and "system/cpu_utilization_percentage" in run.data.metrics


def test_the_report_is_an_artifact_of_the_pipelines_run_and_nothing_large_is(project: Path) -> None:
    from mlflow import MlflowClient

    Path("reports").mkdir()
    Path("reports/index.html").write_text("<p>a page</p>", encoding="utf-8")
    record = {"fingerprint": "key", "metrics": {}, "seconds": 1.0, "peak_pss_mb": 2.0}
    write_json(Path(".wethink/runs/report.run.json"), record)
    publish(2, "key")
    for stage in ("sft", "report"):
        assert mlflow_runs.catch_up(stage, "test")
    kept = {run.info.run_name: MlflowClient().list_artifacts(run.info.run_id, "report") for run in tracked_runs()}
    assert [[item.path for item in items] for items in kept.values() if items] == [["report/index.html"]]
    assert not any(MlflowClient().list_artifacts(run.info.run_id) for run in tracked_runs() if "stage" in run.data.tags)


def test_a_sample_of_the_paid_calls_is_logged_once_and_says_who_was_asked_and_what_it_said(project: Path) -> None:
    from mlflow import MlflowClient

    with ResponseStore(Path(".wethink/answers.sqlite")) as store:
        for number in range(30):
            call = Call(f"{number:04x}", "judge" if number % 3 == 0 else "describe", "vision", "model", "answered", 0.5)
            store.put(Answer(f"said {number}", "stop"), call)
        store.failed(Call("ffff", "describe", "vision", "model", "timeout", 9.0))
    client = MlflowClient()
    home = client.create_experiment("calls")
    synthesis, judged = (client.create_run(home).info.run_id for _ in range(2))
    assert traces.log(client, synthesis, "synthesize") == 20 == traces.log(client, synthesis, "synthesize")
    assert traces.log(client, judged, "grpo") == 10 and traces.log(client, judged, "sft") == 0
    found = client.search_traces(locations=[home], filter_string=f"tags.stage_run = '{synthesis}'", max_results=50)
    assert len(found) == 20
    spans = [trace.data.spans[0] for trace in found]
    assert {span.inputs["role"] for span in spans} == {"describe"}
    assert all(span.outputs["text"] == f"said {int(span.inputs['key'], 16)}" for span in spans)
