"""MLflow logging from metrics files: a run per pipeline, a nested run per stage, model versions.

A stage writes its metrics to a file; this adapter reads it while the stage runs and once more when it has ended. A
stage's run id is kept with the stage's fingerprint in `.wethink/tracking/`, so a resumed stage continues its run from
the last logged step and nothing is logged twice. An unavailable tracker causes one warning and stops no stage; the
next start logs the rest from the files.
"""

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tasks.tracking import traces
from tasks.tracking.stage_log import (
    Memory,
    harmless,
    headlines,
    live_log,
    metrics_log,
    read_lines,
    read_record,
    recall,
    remember,
    until_failure,
)
from tasks.versioning import dvc_status
from wethink.common.jsonl import dumps, file_sha256
from wethink.config.params import load_params
from wethink.dag.main_stages import STAGES
from wethink.dag.publishing import MANIFEST, verify_manifest
from wethink.dag.runner import settings

MODEL = "wethink"  # the registered model; base, SFT and GRPO checkpoints are its versions
SAMPLES = 20  # steps between sampled completions that people can read in MLflow
GROUPS = 4  # prompts shown of such a step, with all their completions


@dataclass(frozen=True)
class Run:
    """A stage's MLflow run and the last logged step of every metric."""

    id: str
    logged: dict[str, int]

    @property
    def step(self) -> int:
        return max(self.logged.values(), default=0)


@contextlib.contextmanager
def follow(stage: str, experiment: str) -> Iterator[Callable[[], None]]:
    """Yield a function that logs a running stage's new metrics; call it repeatedly.

    From the first step on, MLflow's system monitor logs the use of CPU, memory, disk and GPU.
    """
    started = time.time()
    run: Run | None = None
    monitor: Any = None

    @harmless("MLflow")
    def log_new_steps() -> None:
        nonlocal run, monitor
        if log := live_log(stage, started):
            if run is None:
                run = _open_run(stage, log.parent.name, experiment)
                monitor = _monitor(run.id)
            before = run.step
            _log_steps(run, read_lines(log))
            if before // SAMPLES < run.step // SAMPLES:  # the rollouts are read only when there are some to show
                _log_samples(run, _rollouts(stage))

    watch = until_failure(log_new_steps)
    try:
        yield watch
        watch()
    finally:
        if monitor is not None:
            harmless("MLflow")(monitor.finish)()


@harmless("MLflow")
def catch_up(stage: str, experiment: str) -> None:
    """Log the rest of a stage's last finished run and register its checkpoint."""
    record = read_record(stage)
    memory = _memory(stage)
    if "metrics" not in record or (memory.get("key") == record["fingerprint"] and memory["status"] == "FINISHED"):
        return  # never finished, or fully logged
    run = _open_run(stage, record["fingerprint"], experiment)
    if metrics_log(stage).is_file():
        _log_steps(run, read_lines(metrics_log(stage)))
        _log_samples(run, _rollouts(stage))
    _log_steps(run, [{"step": 1, **headlines(record)}])
    if stage_is_checkpoint(stage):
        _register(stage, run.id)
    if stage == "report":  # the report page is uploaded; data and weights never are
        _client().log_artifact(_pipeline_run(experiment), STAGES[stage].out, "report")
    traces.log(_client(), run.id, stage)
    _client().set_terminated(run.id)
    _remember(stage, _memory(stage) | {"status": "FINISHED"})


@harmless("MLflow")
def close(finished: bool) -> None:
    """End the pipeline's run.

    The next start with the same parameters continues an interrupted run.
    """
    for name in ("pipeline", *STAGES):
        memory = _memory(name)
        if memory and memory["status"] == "RUNNING":
            status = "FINISHED" if finished and name == "pipeline" else "KILLED"
            _client().set_terminated(memory["run_id"], status)
            _remember(name, memory | {"status": status})


def stage_is_checkpoint(stage: str) -> bool:
    return STAGES[stage].out.startswith("models/")


def _open_run(stage: str, key: str, experiment: str) -> Run:
    """Continue the stage's nested run with this fingerprint, or create one."""
    client = _client()
    parent = _pipeline_run(experiment)
    memory = _memory(stage)
    if memory.get("key") == key:
        client.update_run(memory["run_id"], status="RUNNING")
        client.set_tag(memory["run_id"], "mlflow.parentRunId", parent)
        _remember(stage, memory | {"status": "RUNNING"})
        return Run(memory["run_id"], _logged(memory["run_id"]))
    own = settings(STAGES[stage], load_params())
    run = client.create_run(
        client.get_run(parent).info.experiment_id,
        run_name=stage,
        tags={"mlflow.parentRunId": parent, "stage": stage, "fingerprint": key},
    )
    _remember(stage, {"key": key, "run_id": run.info.run_id, "status": "RUNNING"})
    client.log_batch(run.info.run_id, params=_parameters(own))
    _log_inputs(stage, run.info.run_id)
    return Run(run.info.run_id, {})


def _logged(run_id: str) -> dict[str, int]:
    """Fetch the last logged step of every metric from the tracker.

    A file would be unreliable: a killed flow cannot record its last steps.
    """
    client = _client()
    names = client.get_run(run_id).data.metrics
    return {name: max(metric.step for metric in client.get_metric_history(run_id, name)) for name in names}


def _pipeline_run(experiment: str) -> str:
    """Continue the interrupted pipeline run with the same parameters, or create one."""
    params = load_params().model_dump(mode="json", by_alias=True)
    key = hashlib.sha256(dumps([experiment, params]).encode()).hexdigest()[:16]
    memory = _memory("pipeline")
    resumable = memory.get("key") == key and memory["status"] != "FINISHED"
    if resumable and memory["status"] == "RUNNING":
        return str(memory["run_id"])
    client = _client()
    if memory and memory["status"] != "FINISHED":
        status = "RUNNING" if resumable else "KILLED"
        client.update_run(memory["run_id"], status=status)
        _remember("pipeline", memory | {"status": status})
    if resumable:
        return str(memory["run_id"])
    found = client.get_experiment_by_name(experiment)
    home = found.experiment_id if found else client.create_experiment(experiment)
    tags = {"profile": params["profile"], "git_commit": dvc_status.git("rev-parse", "HEAD") or "none"}
    run = client.create_run(home, run_name=f"{params['profile']}, seed {params['seed']}", tags=tags)
    client.log_batch(run.info.run_id, params=_parameters(params))
    _remember("pipeline", {"key": key, "run_id": run.info.run_id, "status": "RUNNING"})
    return str(run.info.run_id)


def _log_steps(run: Run, records: list[dict[str, Any]]) -> None:
    """Log the steps after each metric's last logged step."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [
        Metric(name, float(value), now, int(record["step"]))
        for record in records
        for name, value in record.items()
        if name != "step" and value is not None and int(record["step"]) > run.logged.get(name, 0)
    ]
    for begin in range(0, len(metrics), 1000):  # MLflow's limit for one call
        part = metrics[begin : begin + 1000]
        _client().log_batch(run.id, metrics=part)
        run.logged.update({metric.key: metric.step for metric in part})


def _rollouts(stage: str) -> list[dict[str, Any]]:
    """Read the GRPO rollouts of the current or last finished run, if any."""
    live = metrics_log(stage).resolve().parent / "rollouts.jsonl"
    if live.is_file():
        return read_lines(live)
    finished = Path(STAGES[stage].out) / "rollouts.parquet"
    if not finished.is_file():
        return []
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(finished).to_pylist()
    return rows


def _log_samples(run: Run, rollouts: list[dict[str, Any]]) -> None:
    """Log the missing JSON artifacts: completions of every `SAMPLES`-th step."""
    client = _client()
    there = {Path(entry.path).name for entry in client.list_artifacts(run.id, "rollouts")}
    by_step: dict[int, list[dict[str, Any]]] = {}
    for rollout in rollouts:
        if rollout["step"] % SAMPLES == 0:
            by_step.setdefault(rollout["step"], []).append(rollout)
    for step, sampled in by_step.items():
        name = f"step-{step:05}.json"
        if name not in there:
            shown = list(dict.fromkeys(rollout["row"] for rollout in sampled))[:GROUPS]
            client.log_dict(run.id, {"rollouts": [r for r in sampled if r["row"] in shown]}, f"rollouts/{name}")


def _parameters(sections: dict[str, Any], prefix: str = "") -> list[Any]:
    from mlflow.entities import Param

    found: list[Any] = []
    for key, value in sections.items():
        name = f"{prefix}{key}"
        nested = isinstance(value, dict)
        found += _parameters(value, f"{name}.") if nested else [Param(name, json.dumps(value))]
    return found


def _log_inputs(stage: str, run_id: str) -> None:
    """Log the stage's inputs as MLflow datasets with the hashes of their manifests."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for argument, path in STAGES[stage].inputs.items():
        manifest = Path(path) / MANIFEST
        if manifest.is_file():
            digest = file_sha256(manifest)
            source = json.dumps({"uri": path, "manifest_sha256": digest})
            dataset = Dataset(name=path, digest=digest[:32], source_type="local", source=source)
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", argument)]))
    _client().log_inputs(run_id, inputs)


def _register(stage: str, run_id: str) -> None:
    """Register a published checkpoint by path and hashes, not weights; idempotent."""
    from mlflow.exceptions import MlflowException

    folder = Path(STAGES[stage].out)
    verify_manifest(folder)  # MLflow itself would accept a path to nothing
    digest = file_sha256(folder / MANIFEST)
    client = _client()
    with contextlib.suppress(MlflowException):  # it exists
        client.create_registered_model(MODEL)
    for version in client.search_model_versions(f"name = '{MODEL}'"):
        if version.tags.get("manifest_sha256") == digest and version.tags.get("stage") == stage:
            return
    tags = {
        "stage": stage,
        "manifest_sha256": digest,
        "dvc_md5": dvc_status.out_md5(stage) or "none",
        "git_commit": dvc_status.git("rev-parse", "HEAD") or "none",
    }
    client.create_model_version(MODEL, folder.resolve().as_uri(), run_id, tags=tags, description=STAGES[stage].summary)


def _monitor(run_id: str) -> Any:
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    monitor: Any = cast(Any, SystemMetricsMonitor)(run_id, resume_logging=True)
    monitor.start()
    return monitor


def _client() -> Any:
    from mlflow import MlflowClient

    return MlflowClient()


def _tracker() -> str:
    """Name the tracker in the memory of its runs: one per tracking URI."""
    return hashlib.sha256(os.environ["MLFLOW_TRACKING_URI"].encode()).hexdigest()[:8]


def _memory(name: str) -> Memory:
    return recall(_tracker(), name)


def _remember(name: str, memory: Memory) -> None:
    remember(_tracker(), name, memory)
