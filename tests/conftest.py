"""What several tests need: a throw-away project whose stages are real to DVC and Prefect, but do next to nothing."""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import tasks  # first: it sets the services' environment
from tasks.versioning import dvcfile
from tests.support.bucket import endpoint, queue, store  # noqa: F401  fixtures of several tests

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a background job of a shell: children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-")  # tests leave nothing in the project
atexit.register(shutil.rmtree, os.environ["PREFECT_HOME"], ignore_errors=True)

FAKE = '''
"""`python fake.py <stage>`: `python -m wethink <stage>` with a stand-in for the stage's function."""
import dataclasses, json, os, signal, sys, time, types
from pathlib import Path

from wethink.cli import main as command
from wethink.common.errors import UserError
from wethink.dag.main_stages import STAGES

name = sys.argv[1]
stage = STAGES[name] = dataclasses.replace(STAGES[name], ranks=False)


def work(*, run, **rest):
    out, scratch, config = run.out, run.scratch, run.config
    Path("pids").mkdir(exist_ok=True)
    Path("pids", name).write_text(str(os.getpid()))
    order = Path("orders", name)
    wish = order.read_text() if order.exists() else ""
    if wish == "refuse":
        raise UserError(f"params.yaml, {name}.optim: too much; use less.")
    if wish == "crash":
        raise RuntimeError("a defect")
    if wish == "die once" and not (scratch / "tried").exists():
        (scratch / "tried").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if wish.startswith("sleep"):
        time.sleep(float(wish.removeprefix("sleep") or 60))
    if stage.out.startswith("models/"):
        steps = [{"step": step, "loss": 1 / step, "reward": 0.1, "accuracy": 0.2, "length": 9.0} for step in (1, 2, 3)]
        (scratch / "metrics.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in steps))
        lines = [steps[0].keys(), *(line.values() for line in steps)]
        (out / "curves.csv").write_text("".join(",".join(map(str, line)) + "\\n" for line in lines))
    figures = {"counts": {"in": 3, "out": 2, "dropped": 1}}
    if stage.yields:
        figures[stage.yields] = 2
    if name == "evaluate":
        one = {"accuracy": 0.5, "low": 0.4, "high": 0.6, "n": 100, "sampled": 0.45}
        gain = {"mean": 0.1, "low": 0.05, "high": 0.15}
        figures = {"seed": 0, "base": one, "sft": one, "grpo": one, "majority": 0.3, "scenes": 40,
                   "sft_minus_base": gain, "grpo_minus_sft": gain, "sources": {}}
    (out / "metrics.json").write_text(json.dumps(figures))
    (out / "headline.json").write_text(json.dumps(figures))
    (out / "index.html").write_text(repr(config))


module, function = stage.function.split(":")
sys.modules[module] = types.SimpleNamespace(**{function: work})
sys.exit(command.main())
'''


MADE = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_database: Path) -> Path:
    """A git and DVC project in a fresh folder, entered: the real DAG, parameters and code, stand-in functions.

    `orders/<stage>` may hold 'refuse', 'crash', 'die once' or 'sleep'; `pids/<stage>` tells that it started.
    """
    monkeypatch.chdir(tmp_path)
    for name in ("wethink", "profiles", ".dvc", "params.yaml", "requirements.lock", ".dvcignore", ".gitignore"):
        source = tasks.ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=MADE)
        else:
            shutil.copy(source, tmp_path / name)
    Path("orders").mkdir()
    Path("fake.py").write_text(FAKE, encoding="utf-8")
    Path("dvc.yaml").write_text(real_dvcfile().replace("python -m wethink", "python fake.py"), encoding="utf-8")
    monkeypatch.setattr(dvcfile, "update", lambda params: False)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(mlflow_database, tmp_path / 'mlflow.db')}")
    for command in (["init"], ["add", "."], ["commit", "-m", "start"]):
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *command], check=True, capture_output=True)
    return tmp_path


def real_dvcfile() -> str:
    """dvc.yaml as it should be for the parameters in the current folder."""
    from wethink.config.params import load_params

    return dvcfile.dvcfile(load_params())


@pytest.fixture(scope="session")
def mlflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, made once (its migrations take seconds) and copied by each test."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One ephemeral Prefect server for all tests that need one (ten seconds to start)."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield
