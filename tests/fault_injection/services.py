"""The stack of `make up` in a throw-away project, with a store whose requests can be refused and counted."""

import contextlib
import http.client
import os
import random
import signal
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from tasks.sources.events import NotAccepted, _ask
from tasks.sources.s3 import client
from tests.fault_injection.project import Project, source

if TYPE_CHECKING:
    from tasks.stack.layout import Stack

BUCKET = "images"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
TERMINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class Store:
    """moto's server behind a door that refuses a share of the requests with 503, and counts them all."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self.refuse = 0.0  # share of the requests that is answered with 503
        self.refused, self.listed, self.requests = 0, 0, 0
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._moto.start()
        self._behind = "{}:{}".format(*self._moto.get_host_and_port())
        self._door = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._door.serve_forever, daemon=True).start()
        self.endpoint = f"http://127.0.0.1:{self._door.server_address[1]}"
        os.environ.update(KEYS)
        direct = f"http://{self._behind}"
        self.s3, self.sqs = client("s3", direct), client("sqs", direct)
        self.s3.create_bucket(Bucket=BUCKET)
        self.s3.create_bucket(Bucket="dvc")  # where DVC pushes to
        self.queue = self.sqs.create_queue(QueueName="closed")["QueueUrl"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        told = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
        self.s3.put_bucket_notification_configuration(Bucket=BUCKET, NotificationConfiguration=told)

    def drop(self, folder: Path, close: bool = True) -> None:
        """Upload a source; its marker comes last, as its owner would do it."""
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "_SUCCESS"):
            self.s3.upload_file(str(path), BUCKET, f"{folder.name}/{path.relative_to(folder).as_posix()}")
        if close:
            self.close(folder.name)

    def close(self, name: str, body: bytes = b"") -> None:
        self.s3.put_object(Bucket=BUCKET, Key=f"{name}/_SUCCESS", Body=body)

    def waiting(self) -> int:
        """Messages in the queue, seen and unseen."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def stop(self) -> None:
        self._door.shutdown()
        self._door.server_close()
        self._moto.stop()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        store, luck = self, random.Random(0)

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                store.requests += 1
                store.listed += "list-type=2" in self.path
                if luck.random() < store.refuse:
                    store.refused += 1
                    self.answer(503, {}, b"<Error><Code>SlowDown</Code><Message>slow down</Message></Error>")
                    return
                behind = http.client.HTTPConnection(store._behind, timeout=60)
                with contextlib.closing(behind):
                    behind.request(self.command, self.path, body, dict(self.headers))
                    said = behind.getresponse()
                    self.answer(said.status, dict(said.getheaders()), said.read())

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                own = {"connection", "transfer-encoding", "content-length"}
                for name, value in headers.items():
                    if name.lower() not in own:
                        self.send_header(name, value)
                length = headers.get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

            def log_message(self, *args: object) -> None:
                pass

        return Door


class Services:
    """What a case may do: drop sources, look at runs, and hurt a service of the stack."""

    def __init__(self, project: Project, store: Store) -> None:
        self.project, self.store = project, store

    # -- sources and runs

    def drop(self, name: str, close: bool = True) -> None:
        self.store.drop(source(self.project.home / "to_upload", name), close)

    def runs(self, source: str | None = None) -> list[dict[str, Any]]:
        """Flow runs of `retrain`, oldest first; none while the server is away."""
        wanted = {"deployments": {"name": {"any_": ["retrain"]}}, "sort": "EXPECTED_START_TIME_ASC", "limit": 200}
        try:
            found = self.api("flow_runs/filter", wanted)
        except NotAccepted:
            return []
        return [run for run in found if source in (None, run["parameters"]["source"])]

    def run(self, name: str, seconds: float = 120) -> dict[str, Any]:
        """The source's first run as it is now, as soon as there is one and the server says so."""
        found: dict[str, Any] = wait_for(lambda: next(iter(self.runs(name)), None), seconds, f"a run of '{name}'")
        return found

    def ended(self, name: str, seconds: float = 900, runs: int = 1) -> list[dict[str, Any]]:
        """The source's runs, when there are that many and all of them have come to an end of their own."""

        def look() -> list[dict[str, Any]] | None:
            found = self.runs(name)
            ended = [run["state_type"] in TERMINAL and run["state_name"] != "Lost" for run in found]  # that one goes on
            return found if len(found) >= runs and all(ended) else None

        return list(wait_for(look, seconds, f"{runs} runs of '{name}' to end"))

    def training(self, name: str, step: int = 2, seconds: float = 900) -> int:
        """Wait until the source's challenger has trained so many steps."""

        def look() -> int | None:
            done = self.project.trained(name)
            return done if done is not None and done >= step else None

        return int(wait_for(look, seconds, f"'{name}' to train step {step}"))

    def api(self, path: str, body: Any) -> Any:
        return _ask(f"{self.project.environment['PREFECT_API_URL']}/{path}", body)

    # -- the stack

    def up(self) -> None:
        """Up, in as many goes as a busy machine needs: what runs and is healthy is left alone."""
        for _ in range(4):
            ended = self.project.ended("tasks.stack", "up", "--any-ports")
            if ended.returncode == 0:
                break
        assert ended.returncode == 0, ended.stderr[-600:]
        for line in self.project.run("tasks.stack", "env").splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            self.project.environment[name] = value.strip("'")

    def down(self) -> None:
        self.project.run("tasks.stack", "down")

    def stop(self, service: str) -> None:
        """End a service; it stays away."""
        from tasks.stack import up_down as run

        run.stop(self.layout, service)

    def start(self, service: str) -> None:
        """Start it; how soon it is healthy is the case's own question."""
        from tasks.stack import supervisor

        supervisor.start(self.layout, service)

    def process(self, service: str) -> psutil.Process:
        """The process of a service; its flows and stages are its descendants."""
        from tasks.stack import supervisor

        return psutil.Process(supervisor.process(self.layout, service).pid)

    @property
    def layout(self) -> "Stack":
        from tasks.stack import layout

        found = layout.load(self.project.folder)
        assert found is not None
        return found

    @contextlib.contextmanager
    def by_hand(self, names: tuple[str, ...], environment: dict[str, str]) -> Iterator[None]:
        """Some services as children of ours, with more in their environment, while the block runs."""
        from tasks.stack import services

        programs = {found.name: found.program for found in services.services(self.layout)}
        running: list[subprocess.Popen[bytes]] = []
        with (self.project.home / "by_hand.log").open("ab") as log:
            for name in reversed(names):
                self.stop(name)
            for name in names:
                running.append(
                    subprocess.Popen(
                        programs[name].command,
                        cwd=self.project.folder,
                        stdout=log,
                        stderr=log,
                        env=self.layout.environment() | self.project.environment | environment,
                        start_new_session=True,
                    )
                )
                if name == "prefect":
                    wait_for(lambda: self.answers() or None, 180, "the server")
            try:
                yield
            finally:
                for process in reversed(running):
                    process.terminate()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(timeout=40)
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        for name in names:
            self.start(name)

    def answers(self) -> bool:
        """Whether Prefect's server does."""
        with contextlib.suppress(Exception):
            self.api("flow_runs/count", {})
            return True
        return False

    def set_state(self, run: str, kind: str, name: str | None = None) -> None:
        """What the UI's buttons do."""
        self.api(f"flow_runs/{run}/set_state", {"state": {"type": kind, "name": name}, "force": kind == "SCHEDULED"})

    def retry(self, run: str) -> None:
        self.set_state(run, "SCHEDULED", "AwaitingRetry")

    def kill(self, service: str) -> list[int]:
        """kill -9 a service with everything that it has started, as when its host loses power; who was killed."""
        root = self.process(service)
        family = [root, *root.children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        return [process.pid for process in family]


@contextlib.contextmanager
def running(project: Project) -> Iterator[Services]:
    """The stack is up in the project while the block runs."""
    store = Store()
    place = {"AWS_ENDPOINT_URL": store.endpoint, "WETHINK_BUCKET": BUCKET}
    place["WETHINK_QUEUE"] = store.endpoint + urllib.parse.urlparse(store.queue).path
    project.environment |= KEYS | place
    os.environ.update(place)  # tasks.stack reads them here, too
    services = Services(project, store)
    project.remote("s3://dvc")
    try:
        services.up()
        yield services
    finally:
        with contextlib.suppress(AssertionError):
            services.down()
        store.stop()
        for name in place:
            os.environ.pop(name, None)


def wait_for(condition: Callable[[], Any], seconds: float, what: str = "it", pause: float = 0.3) -> Any:
    """The first answer of `condition` that is not None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found is not None:
            return found
        time.sleep(pause)
    raise AssertionError(f"waited {seconds:.0f} s in vain for {what}")
