"""Hosts with a clone, a DVC cache and a Prefect worker each, and the servers that they share.

The servers (Prefect and MLflow's database in PostgreSQL, a response store there, too, S3 by moto) run beside the hosts,
on the address of their bridge. A project has the same path on all hosts; each has a folder of its own mounted there.
"""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tasks.sources import s3
from tasks.stack import http, layout, postgres
from tasks.stack.layout import Stack
from tests.hosts import namespaces
from tests.hosts.namespaces import NETWORK, cut, hosts
from tests.support.database import cluster

ROOT = Path(__file__).resolve().parents[2]
HUB = f"{NETWORK}.1"  # the bridge's address, where the servers listen
HOSTS = ("h1", "h2")
SPARE = "h3"  # in place of a host that was killed
PROJECTS = ("pipeline", "synthesis")
FLOWS = {"pipeline": "wethink", "synthesis": "wethink-synthesis", "retrain": "retrain"}  # deployment → its flow
SHARED = ("checkpoints", "datasets", "steps")  # folders of .wethink that the hosts share
BUCKET = "images"
IDENTITY = ["-c", "user.name=check", "-c", "user.email=check@localhost", "-c", "commit.gpgsign=false"]
PATIENCE = 3_600.0  # seconds, on a busy machine
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Site:
    """The hosts and their servers."""

    home: Path
    pids: dict[str, int]  # of each living host's first process
    environment: Mapping[str, str]  # of every process on a host
    answers: str  # URL of the response store

    @property
    def api(self) -> str:
        return self.environment["PREFECT_API_URL"]

    def folder(self, host: str, project: str) -> Path:
        """Return a host's clone, as this machine sees it; on the host it is `home/project`."""
        return self.home / host / project

    def spawn(
        self, host: str, project: str, log: Path, *command: str, again: bool = False
    ) -> "subprocess.Popen[bytes]":
        """Start a Python module in a host's clone; with `again`, start it anew whenever it has ended."""
        enter = ["nsenter", "--target", str(self.pids[host]), "--net", "--uts", "--mount", "--pid"]
        script = 'while :; do "$@"; sleep 5; done' if again else 'exec "$@"'
        start = ["sh", "-c", f'cd "$0" && {script}', str(self.home / project), sys.executable, "-m", *command]
        own = {"PREFECT_HOME": str(self.home / host / "prefect")}
        with log.open("ab") as output:
            return subprocess.Popen([*enter, *start], env={**self.environment, **own}, stdout=output, stderr=output)

    def start(self, deployment: str, **parameters: Any) -> str:
        """Ask Prefect for a run of a deployment; return the run's id."""
        found = http.ask("GET", f"{self.api}/deployments/name/{FLOWS[deployment]}/{deployment}")
        asked = http.ask("POST", f"{self.api}/deployments/{found['id']}/create_flow_run", {"parameters": parameters})
        return str(asked["id"])

    def state(self, run: str) -> tuple[str, str]:
        """Return a run's type of state and message."""
        found = http.ask("GET", f"{self.api}/flow_runs/{run}")
        return str(found["state_type"]), str((found["state"] or {}).get("message") or "")

    def ended(self, *runs: str) -> list[str]:
        """Wait until the runs have ended; return their types of state."""
        await_(lambda: all(self.state(run)[0] in ENDED for run in runs), PATIENCE, "the runs to end")
        return [self.state(run)[0] for run in runs]

    def kill(self, host: str) -> None:
        """End a host as a power cut does: nothing leaves it any more, and all of its processes are killed."""
        cut(host)
        os.kill(self.pids.pop(host), 9)


def await_(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the condition's first true value.

    Raises:
        TimeoutError: there is none within `seconds`.
    """
    until = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > until:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)
    return found


@contextmanager
def site(home: Path) -> Iterator[Site]:
    """Start hosts and servers; all of them are gone at the end."""
    from moto.server import ThreadedMotoServer

    home.chmod(0o755)
    with ExitStack() as stack:
        pids = stack.enter_context(hosts(home / "hosts", (*HOSTS, SPARE), ssh=False))
        database = stack.enter_context(cluster(f"{layout.HOST},{HUB}"))
        _admit_hosts(database)
        bucket = ThreadedMotoServer(ip_address=HUB, port=0, verbose=False)
        bucket.start()
        stack.callback(bucket.stop)
        environment = _environment(database, "http://{}:{}".format(*bucket.get_host_and_port()))
        os.environ.update({name: value for name, value in environment.items() if name.startswith("AWS_")})
        for project in (*PROJECTS, BUCKET):
            s3.client("s3").create_bucket(Bucket=project)
        stack.enter_context(_prefect(database, environment, home / "prefect.log"))
        url = f"postgresql://{layout.ROLE}@{HUB}:{database.ports['postgres']}/answers"
        logging.getLogger("werkzeug").setLevel(logging.WARNING)  # moto's log of requests
        for host, pid in pids.items():
            _mount(pid, home / host / "var-tmp", Path("/var/tmp"))  # DVC keeps the state of a path there
        yield Site(home, pids, environment, url)


def _environment(database: Stack, bucket: str) -> dict[str, str]:
    """Return the environment of the hosts' processes: nothing of this machine's services, no proxy."""
    foreign = ("PREFECT_", "MLFLOW_", "PG", "AWS_", "WETHINK_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    own = {name: value for name, value in own.items() if not name.lower().endswith("_proxy")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    keys = {"AWS_ACCESS_KEY_ID": "check", "AWS_SECRET_ACCESS_KEY": "check", "AWS_DEFAULT_REGION": "us-east-1"}
    return own | keys | {
        "PATH": path,
        "PYTHONPATH": "",
        "AWS_ENDPOINT_URL": bucket,
        "PREFECT_API_URL": f"http://{HUB}:{database.ports['prefect']}/api",
        "WETHINK_ANSWERS_PASSWORD": layout.password(database),
        "MLFLOW_TRACKING_URI": f"postgresql+psycopg2://{layout.ROLE}@{HUB}:{database.ports['postgres']}/mlflow",
        "PGPASSWORD": layout.password(database),  # MLflow's
    }  # fmt: skip


def _admit_hosts(database: Stack) -> None:
    """Create the databases, and let the hosts' addresses in, with the password."""
    for name in ("prefect", "mlflow", "answers"):
        postgres.ask(database, f'CREATE DATABASE "{name}"')
    with (postgres.data(database) / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {NETWORK}.0/24 scram-sha-256\n")
    postgres.ask(database, "SELECT pg_reload_conf()")


@contextmanager
def _prefect(database: Stack, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run Prefect's server during the block, with a pool of processes."""
    own = database.environment() | {"PREFECT_API_URL": environment["PREFECT_API_URL"]}
    command = ["prefect", "server", "start", "--host", HUB, "--port", str(database.ports["prefect"])]
    with log.open("ab") as output:
        server = subprocess.Popen([sys.executable, "-m", *command], env=own, cwd=ROOT, stdout=output, stderr=output)
    try:
        api = environment["PREFECT_API_URL"]
        await_(lambda: server.poll() is not None or http.answers(f"{api}/ready"), PATIENCE, "Prefect's server")
        assert server.poll() is None, log.read_text()[-3000:]
        http.ask("POST", f"{api}/work_pools/", {"name": "local", "type": "process"})
        yield
    finally:
        family = [server, *psutil.Process(server.pid).children(recursive=True)] if server.poll() is None else []
        for process in family:
            process.kill()
        server.wait(30)


def _mount(pid: int, folder: Path, at: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    namespaces.run("nsenter", "--target", str(pid), "--mount", "mount", "--bind", str(folder), str(at))


def install(here: Site, project: str, origin: Path) -> None:
    """Give each host a clone of a project, at the same path."""
    (here.home / project).mkdir()
    for host, pid in here.pids.items():
        clone(origin, here.folder(host, project))
        _mount(pid, here.folder(host, project), here.home / project)
        for name in SHARED if project == "pipeline" else ():
            (here.folder(host, project) / ".wethink" / name).mkdir(parents=True)
            _mount(pid, here.home / "shared" / name, here.home / project / ".wethink" / name)


def clone(origin: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    git(ROOT, "clone", "--quiet", str(origin), str(folder))


def git(folder: Path, *command: str) -> str:
    called = ["git", *IDENTITY, *command]
    return subprocess.run(called, cwd=folder, check=True, capture_output=True, text=True).stdout


def python(here: Site, folder: Path, *command: str, **environment: str) -> str:
    """Run a Python module on this machine, beside the hosts; return its output."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**here.environment, "PREFECT_HOME": str(here.home / "prefect"), **environment},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, f"{command}: {(done.stdout + done.stderr)[-3000:]}"
    return done.stdout


def deploy(here: Site, origin: Path) -> None:
    """Register the deployments and the product's automations, and start a worker on each host."""
    folders = {project.upper(): str(here.home / project) for project in PROJECTS}
    prefect = ["prefect", "--no-prompt", "deploy", "--prefect-file", "tests/workers/prefect.yaml", "--all"]
    python(here, origin, *prefect, **folders)
    python(here, origin, "tasks.orchestration.automations")
    python(here, origin, "flows.promote", "list")  # makes MLflow's tables
    for host in HOSTS:
        work(here, host)


def work(here: Site, host: str) -> None:
    """Start a host's worker, which runs one flow at a time.

    It is started anew when it ends, as a service is: Prefect 3.8's worker with a limit ends with "already holding one
    of this CapacityLimiter's tokens" when a run that it has was taken for lost (a machine too busy for heartbeats).
    """
    worker = ["prefect", "worker", "start", "--pool", "local", "--type", "process", "--name", host, "--limit", "1"]
    here.spawn(host, "pipeline", here.home / f"{host}.log", *worker, again=True)
    url = f"{here.api}/work_pools/local/workers/filter"
    await_(lambda: host in [found["name"] for found in http.ask("POST", url, {})], PATIENCE, f"the worker of {host}")
