"""Deployment to Prefect and MLflow: work pool, queues, deployments, automations, experiments.

Applied again only if the declaring files have changed or the server lacks a deployment or automation, so a schedule
that was enabled in the UI stays enabled.
"""

import hashlib
import subprocess
import sys
import time
import urllib.error
from typing import Any

from tasks.stack import http
from tasks.stack.layout import Stack
from wethink.common.errors import UserError
from wethink.config.params import load_yaml

POOL, WORKER = "local", "local"
QUEUES = {"training": 1}  # queue → concurrency limit
FILE, AUTOMATIONS = "infra/prefect.yaml", "infra/automations.yaml"
EXPERIMENTS = ("wethink", "promotion")


def experiments(stack: Stack) -> None:
    """Create MLflow's experiments, with artifacts below the stack's folder.

    The server can read that folder, and `make clean` does not delete it.
    """
    api = f"{stack.url('mlflow')}/api/2.0/mlflow/experiments"
    found = http.call("POST", f"{api}/search", {"max_results": 1000}).get("experiments", [])
    for name in sorted(set(EXPERIMENTS) - {experiment["name"] for experiment in found}):
        place = (stack.home / "mlflow" / name).as_uri()
        http.call("POST", f"{api}/create", {"name": name, "artifact_location": place})


def apply(stack: Stack) -> None:
    """Create or update the work pool, its queues, the deployments and the automations.

    Raises:
        UserError: Prefect rejects one; the message has its last line.
    """
    digest = _digest(stack)
    stamp = stack.home / "deployed"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest and not _missing(stack):
        return
    _pool(stack)
    (stack.home / "logs" / "deploy.log").write_bytes(b"")
    _run(stack, "prefect", "--no-prompt", "deploy", "--prefect-file", FILE, "--all")
    _run(stack, "tasks.orchestration.automations")
    stamp.write_text(digest, encoding="utf-8")


def _missing(stack: Stack) -> set[str]:
    """List declared deployments and automations that the server lacks."""
    api = f"{stack.url('prefect')}/api"
    found: set[str] = set()
    for what, file in (("deployments", FILE), ("automations", AUTOMATIONS)):
        declared = {entry["name"] for entry in load_yaml(stack.folder / file)[what]}
        found |= declared - {entry["name"] for entry in http.ask("POST", f"{api}/{what}/filter", {})}
    return found


def _run(stack: Stack, *command: str) -> None:
    """Run a Python module in the stack's environment, up to three times.

    Three, because a server that has just started may return 500.

    Raises:
        UserError: the last attempt failed.
    """
    log = stack.home / "logs" / "deploy.log"
    for last_try in (False, False, True):
        ended = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=stack.folder, env=stack.environment(), stdin=subprocess.DEVNULL, capture_output=True,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
        with log.open("a", encoding="utf-8") as kept:
            kept.write(ended.stdout + ended.stderr)
        if ended.returncode == 0:
            return
        if not last_try:
            time.sleep(5)
    last = (ended.stderr or ended.stdout).strip().splitlines()[-1:] or ["no output"]
    raise UserError(f"{' '.join(command[:3])} failed: {last[0]} (all of it: {log}).")


def _digest(stack: Stack) -> str:
    """Hash a deployment's inputs: declaring files, flow code, database, folder."""
    declared = [stack.folder / name for name in (FILE, AUTOMATIONS)]
    files = [*declared, *sorted((stack.folder / "flows").glob("*.py"))]
    cluster = stack.home / "postgres" / "global" / "pg_control"  # its first eight bytes are the cluster's identifier
    parts = [path.read_bytes() for path in files]
    identity = cluster.read_bytes()[:8] if cluster.is_file() else b""
    return hashlib.sha256(b"\0".join([str(stack.folder).encode(), identity, *parts])).hexdigest()


def _pool(stack: Stack) -> None:
    """Create the work pool and its queues, unless they exist."""
    pools = f"{stack.url('prefect')}/api/work_pools"
    _create(f"{pools}/", {"name": POOL, "type": "process"})
    for name, limit in QUEUES.items():
        _create(f"{pools}/{POOL}/queues", {"name": name, "concurrency_limit": limit})


def _create(url: str, body: dict[str, Any]) -> None:
    try:
        http.call("POST", url, body)
    except urllib.error.HTTPError as error:
        if error.code != 409:  # it exists: keep the settings made in the UI
            raise UserError(f"{url} refuses {body}: {error}") from None
