"""Table of the stack's services: command, health check, address and start order of each.

Services stop in reverse order, because a worker without its server takes long to end.
"""

import contextlib
import datetime
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from tasks.stack import deploy, http, orphaned_runs, postgres
from tasks.stack.layout import HOST, Stack
from tasks.stack.supervisor import Process, Program, log
from wethink.common.errors import UserError
from wethink.config.params import load_params

PYTHON = (sys.executable, "-m")
FRESH = 90  # seconds: an older heartbeat does not count


@dataclass(frozen=True)
class Service:
    """One service of a stack."""

    program: Program
    healthy: Callable[[Stack, Process], bool]
    address: str
    phase: int  # services of a phase start together, once the phase before is healthy
    patience: float = 300  # seconds; the first start migrates databases, perhaps on a busy machine
    before: Callable[[Stack], object] = lambda stack: None  # runs before the service starts
    after: Callable[[Stack], None] = lambda stack: None  # runs once it is healthy

    @property
    def name(self) -> str:
        return self.program.name


def services(stack: Stack) -> list[Service]:
    """List the services of this stack in start order."""
    port = {name: str(number) for name, number in stack.ports.items()}
    prefect = (*PYTHON, "prefect")
    server = (*prefect, "server", "start", "--host", HOST, "--port", port["prefect"])
    mlflow = (*PYTHON, "mlflow", "server", "--host", HOST, "--port", port["mlflow"], "--workers", "1")
    artifacts = stack.home / "mlflow"
    watcher = (*PYTHON, "tasks.sources.watcher", "--bucket", stack.bucket)
    worker = (*prefect, "worker", "start", "--pool", deploy.POOL, "--type", "process", "--name", deploy.WORKER)
    return [
        Service(
            Program("postgres", postgres.command(stack), postgres.owner(), signal="INT", whole_group=False),
            lambda stack, process: postgres.answers(stack),
            f"{HOST}:{port['postgres']}",
            phase=0,
            before=postgres.create,
            after=postgres.create_databases,
        ),
        Service(
            Program("prefect", server),
            lambda stack, process: _ours(stack, process, "/api/ready"),
            stack.url("prefect"),
            phase=1,
            after=deploy.apply,
        ),
        Service(
            Program("mlflow", (*mlflow, "--artifacts-destination", artifacts.as_uri())),
            lambda stack, process: _ours(stack, process, "/health"),
            stack.url("mlflow"),
            phase=1,
            after=deploy.experiments,
        ),
        *([_store(stack)] if stack.local_store else []),
        Service(
            Program("watcher", watcher + (("--queue", stack.queue) if stack.queue else ())),
            lambda stack, process: _touched(stack.folder / ".wethink" / "watcher" / "alive", process),
            f"s3://{stack.bucket}",
            phase=2,
        ),
        Service(
            Program("worker", worker),
            _worker_is_online,
            f"pool '{deploy.POOL}'",
            phase=2,
            before=lambda stack: orphaned_runs.reschedule_runs(stack, deploy.POOL),
        ),
        *(
            [_champion(stack)]
            if (stack.folder / load_params(stack.folder / "params.yaml").launch.vllm_python).exists()
            else []
        ),
    ]


def _store(stack: Stack) -> Service:
    """Define the local S3 store."""
    return Service(
        Program("store", (*PYTHON, "tasks.stack.local_s3", str(stack.ports["store"]))),
        lambda stack, process: _ours(stack, process, f"/{stack.bucket}?notification"),
        stack.url("store"),
        phase=1,
    )


def _champion(stack: Stack) -> Service:
    """Define the vLLM service of the champion; it waits until there is a champion."""
    return Service(
        Program("champion", (*PYTHON, "tasks.stack.serve_champion", str(stack.ports["champion"]))),
        lambda stack, process: (
            http.answers(f"{stack.url('champion')}/health") or _touched(stack.home / "champion.waiting", process)
        ),
        f"{stack.url('champion')}/v1",
        phase=2,
        patience=900,  # vLLM compiles and loads a model
    )


def explain(stack: Stack, process: Process) -> str:
    """Describe an unhealthy service in one sentence, with its log and last line."""
    path = log(stack, process.name)
    lines = [line.strip() for line in _tail(path).splitlines() if line.strip()]
    last = f" Its last line: {lines[-1][:200]}" if lines else ""
    state = f"is {process.state.lower()}" + (f" ({process.said})" if not process.alive and process.said else "")
    return f"service '{process.name}' {state}; its log is {path}.{last}"


def wait_until_healthy(stack: Stack, service: Service, state: Callable[[], Process]) -> None:
    """Wait until a service is healthy.

    Raises:
        UserError: supervisord gave up on it, or `service.patience` ran out; the message has its log and last line.
    """
    deadline = time.monotonic() + service.patience
    while True:
        now = state()
        if now.alive and service.healthy(stack, now):
            return
        if now.state == "FATAL":
            raise UserError(explain(stack, now))
        if time.monotonic() > deadline:
            raise UserError(f"not healthy within {service.patience:g} s: {explain(stack, now)}")
        time.sleep(0.3)


def _ours(stack: Stack, process: Process, path: str) -> bool:
    """Return whether the service itself answers on its port.

    Raises:
        UserError: another process answers on the port.
    """
    port = stack.ports[process.name]
    if not http.answers(f"{stack.url(process.name)}{path}"):
        return False
    try:
        top = psutil.Process(process.pid)
        family = [top, *top.children(recursive=True)]
        listening = {
            found.laddr.port for member in family for found in member.net_connections("tcp") if not found.raddr
        }
    except psutil.Error:  # it has just ended, or is being restarted
        return False
    if port not in listening and process.alive:
        raise UserError(
            f"port {port} of '{process.name}' is taken by another process; `make down`, then "
            "`make up`, takes a free one."
        )
    return port in listening


def _tail(path: Path, size: int = 4000) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - size))
        return handle.read().decode("utf-8", "replace")


def _touched(path: Path, process: Process) -> bool:
    """Return whether a file was touched since the process started and is fresh."""
    last = path.stat().st_mtime if path.is_file() else 0.0
    return last >= process.started and time.time() - last < FRESH


def _worker_is_online(stack: Stack, process: Process) -> bool:
    """Return whether Prefect has a fresh heartbeat of the worker's current process."""
    url = f"{stack.url('prefect')}/api/work_pools/{deploy.POOL}/workers/filter"
    with contextlib.suppress(OSError):
        for worker in http.call("POST", url, {}):
            if worker["name"] == deploy.WORKER and worker["last_heartbeat_time"]:
                last = datetime.datetime.fromisoformat(worker["last_heartbeat_time"]).timestamp()
                return last >= process.started and time.time() - last < 2 * FRESH
    return False
