"""The stack: services start in order and are named when they die, nothing outlives it, and no secret is in sight."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks import ROOT
from tasks.stack import backup, layout, orphaned_runs, postgres, supervisor, up_down
from tasks.stack.layout import MARK, Stack
from tasks.stack.services import Service, services
from tasks.stack.supervisor import Process, Program
from tests.support.database import cluster
from wethink.common.errors import UserError
from wethink.common.jsonl import write_json

LIVES = "import time; print('here', flush=True); time.sleep(600)"
DIES = "import sys; print('no such table: birds', flush=True); sys.exit(3)"
LEAVES_A_CHILD = (
    "import subprocess, sys, time; "
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True); time.sleep(600)"
)


def service(name: str, code: str, phase: int = 0, patience: float = 60) -> Service:
    """A stand-in that is healthy as soon as it runs."""
    program = Program(name, (sys.executable, "-c", code))
    return Service(program, lambda stack, process: True, "nowhere", phase, patience)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[Service]]:
    """The services of the stack in `tmp_path`, for a test to fill; what it starts is brought down."""
    found: list[Service] = []
    monkeypatch.setattr(up_down, "services", lambda stack: found)
    monkeypatch.chdir(tmp_path)
    yield found
    up_down.down(tmp_path)


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def members(stack: Stack) -> list[int]:
    return [process.pid for process in psutil.process_iter() if orphaned_runs.belongs(process, stack)]


def test_up_starts_what_does_not_run_and_leaves_alone_what_does(table: list[Service], tmp_path: Path) -> None:
    table += [service("first", LIVES), service("second", LIVES, phase=1)]
    stack = up_down.up(tmp_path, usual_ports=False)
    before = {found.name: found.pid for found in supervisor.processes(stack)}
    up_down.stop(stack, "second")
    assert "'second' is stopped" in up_down.faults(stack)[0]
    up_down.up(tmp_path, usual_ports=False)
    after = {found.name: found.pid for found in supervisor.processes(stack)}
    assert after["first"] == before["first"] and after["second"] != before["second"]
    assert up_down.faults(stack) == []


def test_a_service_that_dies_is_named_with_its_last_line_and_its_log(table: list[Service], tmp_path: Path) -> None:
    table += [service("sound", LIVES), service("broken", DIES, phase=1, patience=3)]
    with pytest.raises(UserError) as failure:
        up_down.up(tmp_path, usual_ports=False)
    sentence = str(failure.value)
    assert "service 'broken'" in sentence and "no such table: birds" in sentence
    assert str(tmp_path / ".wethink/stack/logs/broken.log") in sentence


def test_a_service_that_is_killed_comes_back_by_itself(table: list[Service], tmp_path: Path) -> None:
    table += [service("first", LIVES)]
    stack = up_down.up(tmp_path, usual_ports=False)
    pid = supervisor.process(stack, "first").pid
    os.kill(pid, 9)
    wait_until(lambda: (now := supervisor.process(stack, "first")).alive and now.pid != pid)


def test_nothing_outlives_down_even_in_a_session_of_its_own(table: list[Service], tmp_path: Path) -> None:
    table += [service("parent", LEAVES_A_CHILD)]
    stack = up_down.up(tmp_path, usual_ports=False)
    wait_until(lambda: len(members(stack)) == 3)  # supervisord, the service, and what it left
    said: list[str] = []
    up_down.down(tmp_path, said.append)
    assert members(stack) == [] and "1 processes were left over" in said[-1]
    up_down.down(tmp_path, said.append)  # once more is no fault


def test_after_a_supervisor_that_was_killed_up_begins_anew(table: list[Service], tmp_path: Path) -> None:
    table += [service("first", LIVES)]
    stack = up_down.up(tmp_path, usual_ports=False)
    orphan = supervisor.process(stack, "first").pid
    os.kill(int((stack.home / "supervisord.pid").read_text()), 9)
    stack = up_down.up(tmp_path, usual_ports=False)
    assert orphan not in members(stack) and supervisor.process(stack, "first").alive


def test_without_a_stack_commands_say_what_starts_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="make up"):
        up_down.known(tmp_path)


def test_services_stop_before_what_they_need(tmp_path: Path) -> None:
    write_params(tmp_path)
    order = [found.name for found in services(layout.plan(tmp_path, usual_ports=False))]
    assert order.index("postgres") < order.index("prefect") < min(order.index("watcher"), order.index("worker"))


def write_params(folder: Path) -> None:
    (folder / "params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())


def test_the_password_is_in_no_command_address_or_configuration(tmp_path: Path) -> None:
    write_params(tmp_path)
    stack = layout.plan(tmp_path, usual_ports=False)
    secret = layout.password(stack)
    assert len(secret) >= 24 and stack.password_file.stat().st_mode & 0o777 == 0o600
    shown = supervisor.configuration(stack, [found.program for found in services(stack)], Path("/tmp/s"))
    assert secret not in shown + repr(stack.environment()) + repr(stack.client_environment())


def test_everything_listens_on_loopback_only(tmp_path: Path) -> None:
    write_params(tmp_path)
    commands = {found.name: " ".join(found.program.command) for found in services(layout.plan(tmp_path, False))}
    assert "listen_addresses=127.0.0.1" in commands["postgres"]
    assert all("--host 127.0.0.1" in commands[name] for name in ("prefect", "mlflow"))
    assert "0.0.0.0" not in str(commands)


def test_ports_are_kept_and_a_taken_one_is_replaced(tmp_path: Path) -> None:
    import socket

    first = layout.plan(tmp_path, usual_ports=False)
    assert layout.plan(tmp_path).ports == first.ports and len(set(first.ports.values())) == len(first.ports)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first.ports["prefect"]))
        taken.listen()
        again = layout.plan(tmp_path)
    assert again.ports["prefect"] != first.ports["prefect"] and again.ports["mlflow"] == first.ports["mlflow"]


def test_what_belongs_to_other_servers_is_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "other")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "other")
    found = layout.plan(tmp_path, usual_ports=False).environment()
    assert "other" not in found.values() and found[MARK] == str(tmp_path / ".wethink/stack")


def test_percent_signs_in_paths_are_no_expansions(tmp_path: Path) -> None:
    stack = Stack(tmp_path / "50%", layout.PORTS)
    assert "50%%" in supervisor.configuration(stack, [Program("one", ("true",))], Path("/tmp/s"))


def test_the_store_tells_of_what_closes_a_source_and_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.sources.s3 import client, receive
    from tasks.stack import http as rest

    stack = layout.plan(tmp_path, usual_ports=False)
    for name, value in stack.client_environment().items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "tasks.stack.local_s3", str(stack.ports["store"])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until(lambda: rest.answers(f"{stack.url('store')}/{layout.BUCKET}?notification"))
            store, queue = client("s3"), client("sqs")
            for key in ("birds/images/1.png", "birds/_SUCCESS", "birds/images/2.png"):
                store.put_object(Bucket=layout.BUCKET, Key=key, Body=b"")
            told = [closed.key for message in receive(queue, stack.queue or "", 2) for closed in message.closed]
            assert told == ["birds/_SUCCESS"] and receive(queue, stack.queue or "", 0) == []
        finally:
            server.kill()


@pytest.fixture(scope="module")
def database() -> Iterator[Stack]:
    """A real PostgreSQL with the stack's databases."""
    with cluster() as stack:
        postgres.create_databases(stack)
        postgres.create_databases(stack)  # once more changes nothing
        yield stack


def test_the_database_wants_its_password_and_a_rotated_one_is_another(database: Stack) -> None:
    before = layout.password(database)
    postgres.rotate_password(database)
    assert layout.password(database) != before
    assert {"prefect", "mlflow"} <= set(postgres.ask(database, "SELECT datname FROM pg_database"))
    now = layout.password(database)
    layout.keep_password(database, before)
    with pytest.raises(UserError, match="password authentication failed"):
        postgres.ask(database, "SELECT 1")
    layout.keep_password(database, now)


def test_a_backup_brings_databases_and_files_back(
    database: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WETHINK_BUCKET", "elsewhere")  # no local store
    monkeypatch.setattr(up_down, "services", lambda stack: [])
    run_sql = ["--dbname", "mlflow"]
    postgres.client(database, "psql", run_sql, "CREATE TABLE birds (name text); INSERT INTO birds VALUES ('wren')")
    kept = database.folder / ".wethink/checkpoints/abc/weights"
    kept.parent.mkdir(parents=True)
    kept.write_text("weights")
    backup.backup(database, tmp_path / "saved")
    postgres.client(database, "psql", run_sql, "UPDATE birds SET name = 'gone'")
    kept.unlink()
    backup.restore(database, tmp_path / "saved")
    assert "wren" in postgres.client(database, "psql", run_sql, "SELECT name FROM birds")
    assert kept.read_text() == "weights"
    with (tmp_path / "saved/mlflow.dump").open("ab") as handle:
        handle.write(b"x")
    with pytest.raises(UserError, match="was changed"):
        backup.restore(database, tmp_path / "saved")
    write_json(tmp_path / "saved/backup.json", {"project": "/elsewhere", "sha256": {}})
    with pytest.raises(UserError, match="restore it there"):
        backup.restore(database, tmp_path / "saved")


def test_a_missing_process_is_explained(tmp_path: Path) -> None:
    from tasks.stack.services import explain

    stack = Stack(tmp_path, layout.PORTS)
    said = explain(stack, Process("mlflow", "FATAL", 0, 0.0, "Exited too quickly"))
    assert said.startswith("service 'mlflow' is fatal (Exited too quickly); its log is ")


def test_somebody_elses_server_on_a_services_port_is_not_taken_for_the_service(tmp_path: Path) -> None:
    import http.server
    import threading

    from tasks.stack.services import _ours

    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack = Stack(tmp_path, layout.PORTS | {"prefect": server.server_port})
    with subprocess.Popen([sys.executable, "-c", LIVES], stdout=subprocess.DEVNULL) as other:
        try:
            assert _ours(stack, Process("prefect", "RUNNING", os.getpid(), 0.0, ""), "/")
            with pytest.raises(UserError, match=f"port {server.server_port} of 'prefect' is taken by another process"):
                _ours(stack, Process("prefect", "RUNNING", other.pid, 0.0, ""), "/")
        finally:
            other.kill()
            server.shutdown()
            server.server_close()
    assert not _ours(stack, Process("prefect", "RUNNING", os.getpid(), 0.0, ""), "/"), "nobody answers"


def test_deployments_that_the_server_lacks_are_applied_again_and_those_that_it_has_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.stack import deploy
    from tasks.stack import http as rest
    from wethink.config.params import load_yaml

    for name in (deploy.FILE, deploy.AUTOMATIONS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    stack, ran = layout.plan(tmp_path, usual_ports=False), list[str]()
    (stack.home / "logs").mkdir(parents=True)
    has = {
        "deployments": [{"name": entry["name"]} for entry in load_yaml(ROOT / deploy.FILE)["deployments"]],
        "automations": [{"name": entry["name"]} for entry in load_yaml(ROOT / deploy.AUTOMATIONS)["automations"]],
    }
    monkeypatch.setattr(rest, "call", lambda method, url, body=None: has.get(url.split("/")[-2], []))
    monkeypatch.setattr(deploy, "_run", lambda stack, *command: ran.append(command[0]))
    deploy.apply(stack)
    assert ran == ["prefect", "tasks.orchestration.automations"]
    deploy.apply(stack)
    assert len(ran) == 2, "it is all there"
    lost = has["automations"].pop()
    deploy.apply(stack)
    assert len(ran) == 4, f"{lost} was not missed"
    has["automations"].append(lost)
    has["deployments"] = []
    deploy.apply(stack)
    assert len(ran) == 6


def test_runs_that_a_stopped_worker_left_behind_go_on_and_a_cancelled_one_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.stack import http as rest

    told: dict[str, tuple[str, bool]] = {}

    def call(method: str, url: str, body: dict[str, Any]) -> Any:
        if url.endswith("/filter"):
            assert body["work_pools"]["name"]["any_"] == ["local"], "a flow on somebody's terminal is alive"
            kinds = body["flow_runs"]["state"]["type"]["any_"]
            return [{"id": kind.lower(), "state_type": kind} for kind in (*kinds,)]
        told[url.split("/")[-2]] = (body["state"]["type"], body["force"])
        return None

    monkeypatch.setattr(rest, "call", call)
    assert orphaned_runs.reschedule_runs(Stack(tmp_path, layout.PORTS), "local") == 3
    again = ("SCHEDULED", True)
    assert told == {"running": again, "pending": again, "cancelling": ("CANCELLED", True)}


def test_a_run_that_outlived_its_worker_is_ended_before_it_is_started_again_and_services_are_not(
    table: list[Service], tmp_path: Path
) -> None:
    table += [service("first", LIVES)]
    stack = up_down.up(tmp_path, usual_ports=False)
    sleeps = [sys.executable, "-c", "import time; time.sleep(600)"]
    mine = subprocess.Popen(sleeps, env=os.environ | {MARK: str(stack.home)}, start_new_session=True)
    others = subprocess.Popen(sleeps, env=os.environ | {MARK: "/elsewhere"}, start_new_session=True)
    try:
        wait_until(lambda: mine.pid in members(stack))
        assert orphaned_runs.end_orphans(stack) == 1
        assert mine.poll() is not None and others.poll() is None
        assert supervisor.process(stack, "first").alive
    finally:
        for process in (mine, others):
            process.kill()
            process.wait()


def test_a_server_that_does_not_answer_yet_is_asked_again_and_one_that_never_does_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import urllib.error
    from email.message import Message

    from tasks.stack import http as rest

    said: list[object] = [ConnectionRefusedError("no"), urllib.error.HTTPError("u", 500, "busy", Message(), None), 3]

    def call(method: str, url: str, body: object = None) -> object:
        now = said.pop(0) if said else ConnectionRefusedError("no")
        if isinstance(now, Exception):
            raise now
        return now

    monkeypatch.setattr(rest, "call", call)
    monkeypatch.setattr(rest.time, "sleep", lambda seconds: None)
    assert rest.ask("POST", "u") == 3
    with pytest.raises(UserError, match="u does not answer"):
        rest.ask("POST", "u")
    said.append(urllib.error.HTTPError("u", 404, "gone", Message(), None))
    with pytest.raises(urllib.error.HTTPError):
        rest.ask("POST", "u")
