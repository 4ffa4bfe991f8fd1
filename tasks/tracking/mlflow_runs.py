"""MLflow logging from metrics files: a run per pipeline, a nested run per stage, model versions.

A stage writes its metrics to a file; this adapter reads it while the stage runs and once more when it has ended. A
stage's run id is kept with the stage's fingerprint in `.wethink/tracking/`, so a resumed stage continues its run from
the last logged step and nothing is logged twice. An unavailable tracker causes one warning and stops no stage; the
next start logs the rest from the files.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, cast

from tasks.tracking import traces
from tasks.versioning import dvc_status
from wethink.common.jsonl import dumps, file_sha256, read_json, write_json
from wethink.common.paths import WORK
from wethink.config.params import load_params
from wethink.dag.main_stages import STAGES
from wethink.dag.publishing import MANIFEST, verify_manifest
from wethink.dag.runner import settings

MODEL = "wethink"  # the registered model; base, SFT and GRPO checkpoints are its versions
SAMPLES = 20  # steps between sampled completions that people can read in MLflow
GROUPS = 4  # prompts shown of such a step, with all their completions
P = ParamSpec("P")
Memory = dict[str, Any]  # {key, run_id, status} of the pipeline's run or of a stage's


@dataclass(frozen=True)
class Run:
    """A stage's MLflow run and the last logged step of every metric."""

    id: str
    logged: dict[str, int]

    @property
    def step(self) -> int:
        return max(self.logged.values(), default=0)


def harmless(function: Callable[P, None]) -> Callable[P, bool]:
    """Decorate a function to turn any tracker failure into one warning and False."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> bool:
        try:
            function(*args, **kwargs)
        except Exception as error:
            first = (str(error).splitlines() or [""])[0]
            logging.getLogger(__name__).warning(
                "MLflow: %s: %s; the run goes on, the next start logs what is missing.",
                type(error).__name__,
                first[:200],
            )
            return False
        return True

    return guarded


@contextlib.contextmanager
def follow(stage: str, experiment: str) -> Iterator[Callable[[], None]]:
    """Yield a function that logs a running stage's new metrics; call it repeatedly.

    From the first step on, MLflow's system monitor logs the use of CPU, memory, disk and GPU.
    """
    live, started = True, time.time()
    run: Run | None = None
    monitor: Any = None

    @harmless
    def log_new_steps() -> None:
        nonlocal run, monitor
        log = _log(stage)  # a link into the scratch folder of the run in progress, which its fingerprint names
        if log.is_symlink() and log.exists() and log.lstat().st_mtime >= started:
            if run is None:
                run = _open_run(stage, log.resolve().parent.name, experiment)
                monitor = _monitor(run.id)
            before = run.step
            _log_steps(run, _read(log))
            if before // SAMPLES < run.step // SAMPLES:  # the rollouts are read only when there are some to show
                _log_samples(run, _rollouts(stage))

    def watch() -> None:
        nonlocal live
        live = live and log_new_steps()  # after one failure the tracker is not called again

    try:
        yield watch
        watch()
    finally:
        if monitor is not None:
            harmless(monitor.finish)()


@harmless
def catch_up(stage: str, experiment: str) -> None:
    """Log the rest of a stage's last finished run and register its checkpoint."""
    record = _record(stage)
    memory = _memory(stage)
    if "metrics" not in record or (memory.get("key") == record["fingerprint"] and memory["status"] == "FINISHED"):
        return  # never finished, or fully logged
    run = _open_run(stage, record["fingerprint"], experiment)
    if _log(stage).is_file():
        _log_steps(run, _read(_log(stage)))
        _log_samples(run, _rollouts(stage))
    cost = {key: record[key] for key in ("seconds", "peak_pss_mb")}
    figures = flatten({"result": record["metrics"], "run": cost})
    headlines = {name: value for name, value in figures.items() if name.count(".") < 4}  # metrics.json has them all
    _log_steps(run, [{"step": 1, **headlines}])
    if stage_is_checkpoint(stage):
        _register(stage, run.id)
    if stage == "report":  # the report page is uploaded; data and weights never are
        _client().log_artifact(_pipeline_run(experiment), STAGES[stage].out, "report")
    traces.log(_client(), run.id, stage)
    _client().set_terminated(run.id)
    _remember(stage, _memory(stage) | {"status": "FINISHED"})


@harmless
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


def flatten(value: Any, prefix: str = "") -> dict[str, float]:
    """Flatten a nested mapping's numbers to dotted names, dropping other values.

    >>> flatten({"sft": {"accuracy": 0.5}, "name": "x"})
    {'sft.accuracy': 0.5}
    """
    if isinstance(value, dict):
        parts = [flatten(item, f"{prefix}.{key}" if prefix else str(key)) for key, item in value.items()]
        return {name: number for part in parts for name, number in part.items()}
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return {prefix: float(value)} if numeric else {}


def _log(stage: str) -> Path:
    """Return the metrics.jsonl of the stage's current or last finished run."""
    return WORK / "runs" / f"{stage}.metrics.jsonl"


def _read(log: Path) -> list[dict[str, Any]]:
    records = []
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # the last line may be incomplete
            records.append(json.loads(line))
    return records


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
    live = _log(stage).resolve().parent / "rollouts.jsonl"
    if live.is_file():
        return _read(live)
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


def _record(stage: str) -> dict[str, Any]:
    path = WORK / "runs" / f"{stage}.run.json"
    record: dict[str, Any] = read_json(path) if path.is_file() else {}
    return record


def _place(name: str) -> Path:
    """Return the path of the run id file, one per tracking URI."""
    tracker = hashlib.sha256(os.environ["MLFLOW_TRACKING_URI"].encode()).hexdigest()[:8]
    return WORK / "tracking" / tracker / f"{name}.json"


def _memory(name: str) -> Memory:
    path = _place(name)
    memory: Memory = read_json(path) if path.is_file() else {}
    return memory


def _remember(name: str, memory: Memory) -> None:
    write_json(_place(name), memory)
