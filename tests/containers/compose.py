"""`make compose-check`: the stack of compose.yaml, and the flywheel's story against it → reports/compose-check.json.

The smoke overlay's main job runs in the worker and becomes the champion. Then a source lands in the bucket, and nobody
touches anything: watcher, automation, retrain run, decision. Then the worker is made anew. Everything is removed at the
end: containers, volumes, networks.
"""

import functools
import json
import os
import re
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks import ROOT
from tasks.sources.events import NotAccepted, _ask
from tasks.sources.s3 import client
from tests.containers import debian
from tests.containers.engine import LOGS, Engine, engine, install_compose
from tests.containers.image import TAG
from tests.containers.report import Report
from tests.fault_injection.project import source
from wethink.common.errors import UserError

PROJECT, POSTGRES = "wethink-check", "postgres:15-bookworm"
PORTS = {"PREFECT_PORT": 4200, "MLFLOW_PORT": 5000, "STORE_PORT": 9000}
APPLICATIONS = ("prefect", "mlflow", "store", "watcher", "worker")
TERMINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Stack:
    """The stack of compose.yaml as a project of its own."""

    def __init__(self, docker: Engine, environment: dict[str, str]) -> None:
        self.docker, self.environment = docker, environment
        self.api = f"http://127.0.0.1:{port('PREFECT_PORT')}/api"

    def compose(self, *command: str, timeout: float = 1200, **environment: str) -> str:
        """Return what a command of compose prints.

        Raises:
            UserError: it failed; the message has its last line.
        """
        file = str(ROOT / "infra/docker/compose.yaml")
        arguments = ["compose", "--project-name", PROJECT, "--file", file, "--project-directory", str(ROOT)]
        return self.docker.run(*arguments, *command, timeout=timeout, **(self.environment | environment))

    def worker(self, script: str, timeout: float = 1200) -> str:
        return self.compose("exec", "-T", "worker", "bash", "-euc", script, timeout=timeout)

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Return a deployment's runs, oldest first; none while the server is away."""
        wanted = {"deployments": {"name": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
        try:
            return list(_ask(f"{self.api}/flow_runs/filter", wanted))
        except NotAccepted:
            return []

    def ended(self, deployment: str, count: int, seconds: float) -> dict[str, Any]:
        """Return the latest of that many runs once it has ended."""

        def look() -> dict[str, Any] | None:
            found = self.runs(deployment)
            return found[-1] if len(found) >= count and found[-1]["state_type"] in TERMINAL else None

        return wait_for(look, seconds, f"run {count} of '{deployment}' to end")


def port(name: str) -> int:
    return int(os.environ.get(name, PORTS[name]))


def wait_for(look: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(1)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")


def refuse_taken_ports() -> None:
    """Check that compose can publish its ports.

    Raises:
        UserError: another process listens on one.
    """
    for name in PORTS:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind(("127.0.0.1", port(name)))
            except OSError:
                raise UserError(f"port {port(name)} is taken by another process; set {name} to a free one.") from None


def a_taken_port_is_named(stack: Stack) -> str:
    with socket.create_server(("127.0.0.1", 0)) as other:
        os.environ["STORE_PORT"] = str(other.getsockname()[1])
        try:
            refuse_taken_ports()
        except UserError as error:
            assert "STORE_PORT" in str(error)
            return str(error)
        finally:
            del os.environ["STORE_PORT"]
    raise AssertionError("it was not seen")


def without_a_password_nothing_starts(stack: Stack) -> str:
    try:
        stack.compose("up", "--detach", POSTGRES_PASSWORD="")
    except UserError as error:
        assert "set POSTGRES_PASSWORD" in str(error), error
        assert not stack.docker.run("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}")
        return str(error)
    raise AssertionError("it started")


def the_stack_is_healthy(stack: Stack) -> str:
    stack.compose("up", "--detach", "--no-build", "--pull", "never", "--wait", "--wait-timeout", "900", timeout=1000)
    lines = [json.loads(line) for line in stack.compose("ps", "--all", "--format", "json").splitlines()]
    shown = {entry["Service"]: entry["Health"] or entry["State"] for entry in lines}
    assert shown["deploy"] == "exited" and {"postgres", *APPLICATIONS} <= set(shown), shown
    names = {entry["name"] for entry in _ask(f"{stack.api}/deployments/filter", {})}
    automations = {entry["name"] for entry in _ask(f"{stack.api}/automations/filter", {})}
    assert len(names) == 5 and len(automations) == 3, (names, automations)
    return (
        f"{', '.join(f'{name} {state}' for name, state in sorted(shown.items()))}; five deployments, three automations"
    )


def nothing_runs_as_root_or_is_open_to_the_world(stack: Stack) -> str:
    for name in APPLICATIONS:
        said = stack.compose("exec", "-T", name, "bash", "-c", "id -u; grep -E 'CapEff|NoNewPrivs' /proc/1/status")
        assert re.sub(r"\s+", " ", said) == "10001 CapEff: 0000000000000000 NoNewPrivs: 1", (name, said)
    open_ = [
        entry
        for entry in stack.compose("ps", "--format", "{{.Ports}}").split()
        if "0.0.0.0:" in entry or ":::" in entry
    ]
    assert not open_, open_
    return f"user 10001 without capabilities in {len(APPLICATIONS)} services; published on loopback only"


def the_main_job_runs_in_the_worker(stack: Stack) -> str:
    stack.worker("python -m wethink profile smoke; git commit --quiet --all --message 'the smoke overlay'")
    stack.worker("prefect deployment run wethink/pipeline")
    run = stack.ended("pipeline", 1, 1800)
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    stack.worker(
        'test -s reports/index.html; test -s dvc.lock; test -z "$(git status --porcelain --untracked-files=no)"'
    )
    return (
        f"Completed in {run['total_run_time']:.0f} s; {stack.worker('python -m flows.promote first').splitlines()[-1]}"
    )


def a_source_that_lands_is_decided_on_with_nobody_touching_anything(stack: Stack) -> str:
    for name, value in {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        os.environ.setdefault(name, value)
    store = client("s3", f"http://127.0.0.1:{port('STORE_PORT')}")
    with tempfile.TemporaryDirectory() as folder:
        made = source(Path(folder), "noise", images=64)
        for path in sorted(path for path in made.rglob("*") if path.is_file() and path.name != "_SUCCESS"):
            store.upload_file(str(path), "images", f"noise/{path.relative_to(made).as_posix()}")
    begin = time.monotonic()
    store.put_object(Bucket="images", Key="noise/_SUCCESS", Body=b"")
    wait_for(lambda: stack.runs("retrain") or None, 120, "a run of 'retrain'")
    noticed = time.monotonic() - begin
    run = stack.ended("retrain", 1, 1800)
    assert run["state_type"] == "COMPLETED" and "'noise' made version" in run["state"]["message"], run["state"][
        "message"
    ]
    decided = time.monotonic() - begin
    return f"a run {noticed:.1f} s after the marker, a decision after {decided:.0f} s: {run['state']['message']}"


def a_worker_made_anew_keeps_everything(stack: Stack) -> str:
    """The page, the lock, the parameters, the branch of the retrain, the registry; the main job is Cached."""
    shown = "sha256sum reports/index.html dvc.lock params.yaml; python -m flows.promote list; "
    shown += "git branch --list --format='%(refname:short) %(objectname)'"
    before, first = stack.worker(shown), stack.compose("ps", "--quiet", "worker")
    stack.compose(
        "up", "--detach", "--no-build", "--pull", "never", "--force-recreate", "--wait", "worker", "watcher", "deploy"
    )
    assert stack.compose("ps", "--quiet", "worker") != first
    assert stack.worker(shown) == before, "something is lost"
    assert "retrain/noise-" in before
    stack.worker("prefect deployment run wethink/pipeline")
    run = stack.ended("pipeline", 2, 900)
    assert run["state_type"] == "COMPLETED", run["state"]["message"]
    states = {
        entry["name"]: entry["state_name"]
        for entry in _ask(f"{stack.api}/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    }
    assert states and set(states.values()) == {"Cached"}, states
    return f"{len(states)} stages are Cached"


def it_ends_and_leaves_nothing(stack: Stack) -> str:
    begin = time.monotonic()
    stack.compose("down", "--volumes", "--timeout", "60")
    label = f"label=com.docker.compose.project={PROJECT}"
    for kind in (["ps", "--all"], ["volume", "ls"], ["network", "ls"]):
        assert not stack.docker.run(*kind, "--quiet", "--filter", label), kind
    return f"no container, volume or network after {time.monotonic() - begin:.0f} s"


STORY = (
    without_a_password_nothing_starts,
    a_taken_port_is_named,
    the_stack_is_healthy,
    nothing_runs_as_root_or_is_open_to_the_world,
    the_main_job_runs_in_the_worker,
    a_source_that_lands_is_decided_on_with_nobody_touching_anything,
    a_worker_made_anew_keeps_everything,
)


def database_image(docker: Engine) -> str:
    """Return the official image if it is here or can be pulled, else one of Debian's packages.

    Raises:
        UserError: neither is possible.
    """
    if docker.has(POSTGRES):
        return POSTGRES
    if docker.has(debian.POSTGRES):
        return debian.POSTGRES
    pulled = docker.ended("pull", "--quiet", POSTGRES, timeout=600)
    if pulled.returncode == 0:
        return POSTGRES
    last = pulled.stderr.strip().splitlines()[-1][:200]
    print(f"{POSTGRES} cannot be pulled ({last}); it is made of Debian's packages.", flush=True)
    return debian.postgres(docker)


def check(docker: Engine) -> int:
    if not docker.has(TAG):
        raise UserError(f"there is no image {TAG} here; `make image` makes it.")
    refuse_taken_ports()
    password = secrets.token_hex(16)
    environment = {"POSTGRES_PASSWORD": password, "WETHINK_POSTGRES": database_image(docker), "WETHINK_IMAGE": TAG}
    stack, report = Stack(docker, environment), Report("compose-check")
    try:
        for case in STORY:
            if not report.case(case.__name__.replace("_", " "), functools.partial(case, stack)):
                break
    finally:
        (LOGS / "compose.log").write_text(stack.compose("logs", "--no-color"), encoding="utf-8")
        report.case("it ends and leaves nothing", functools.partial(it_ends_and_leaves_nothing, stack))
    return report.end()


def main() -> int:
    try:
        install_compose()
        with engine() as docker:
            return check(docker)
    except UserError as error:
        print(f"wethink compose-check: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
