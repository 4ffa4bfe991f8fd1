"""supervisord adapter: its configuration file, and control over a socket that only its owner can open.

No other module imports supervisor. This project starts the services in order (autostart is off); supervisord restarts
them with growing pauses.
"""

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from tasks.stack.layout import Stack
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, write_json

STEADY = 2  # seconds that a process must live to count as started
STOPPING = 40  # seconds from the stop signal to SIGKILL of the group


@dataclass(frozen=True)
class Program:
    """A service's `[program]` section."""

    name: str
    command: tuple[str, ...]
    user: str | None = None
    signal: str = "TERM"
    whole_group: bool = True  # send the stop signal to the whole group, not only to its first process


@dataclass(frozen=True)
class Process:
    """A service's process. States: RUNNING, STARTING, BACKOFF, FATAL, EXITED, STOPPED."""

    name: str
    state: str
    pid: int
    started: float  # seconds since the epoch
    said: str  # supervisord's reason why it is not running

    @property
    def alive(self) -> bool:
        return self.state == "RUNNING"


def log(stack: Stack, name: str) -> Path:
    """Return the path of a service's log."""
    return stack.home / "logs" / f"{name}.log"


def configuration(stack: Stack, programs: Iterable[Program], socket: Path) -> str:
    """Render supervisord.conf."""
    home = stack.home
    lines = [
        "[supervisord]",
        f"logfile={_text(home / 'logs' / 'supervisord.log')}",
        f"pidfile={_text(home / 'supervisord.pid')}",
        f"childlogdir={_text(home / 'logs')}",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[unix_http_server]",
        f"file={_text(socket)}",
        "chmod=0700",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for program in programs:
        lines += [
            f"[program:{program.name}]",
            f"command={_text(shlex.join(program.command))}",
            f"directory={_text(stack.folder)}",
            *([f"user={program.user}"] if program.user else []),
            "autostart=false",
            "autorestart=true",
            f"startsecs={STEADY}",
            "startretries=12",  # each pause is one second longer: about 80 s in all
            f"stopsignal={program.signal}",
            f"stopasgroup={str(program.whole_group).lower()}",
            "killasgroup=true",
            f"stopwaitsecs={STOPPING}",
            "redirect_stderr=true",
            f"stdout_logfile={_text(log(stack, program.name))}",
            "stdout_logfile_maxbytes=20MB",
            "stdout_logfile_backups=2",
        ]
    return "\n".join(lines) + "\n"


def _text(value: object) -> str:
    return str(value).replace("%", "%%")


def launch(stack: Stack, programs: Iterable[Program]) -> None:
    """Start supervisord without starting a service.

    Raises:
        UserError: supervisord does not start.
    """
    (stack.home / "logs").mkdir(parents=True, exist_ok=True)
    # A socket's path is limited to 107 bytes; the project's folder may be longer.
    place = Path(tempfile.mkdtemp(prefix="wethink-stack-")) / "supervisor.sock"
    conf = stack.home / "supervisord.conf"
    conf.write_text(configuration(stack, programs, place), encoding="utf-8")
    write_json(stack.home / "supervisor.json", {"socket": str(place)})
    started = subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(conf)],
        cwd=stack.folder, env=stack.environment(), capture_output=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    deadline = time.monotonic() + 20
    while not running(stack):
        if started.returncode != 0 or time.monotonic() > deadline:
            last = (started.stderr or started.stdout).strip().splitlines()[-1:] or ["it does not answer"]
            raise UserError(f"supervisord did not start: {last[0]} ({stack.home / 'logs' / 'supervisord.log'}).")
        time.sleep(0.1)


def running(stack: Stack) -> bool:
    """Return whether this stack's supervisord answers."""
    try:
        return bool(_server(stack).getState()["statename"] == "RUNNING")
    except (OSError, Fault):
        return False


def processes(stack: Stack) -> list[Process]:
    """List the current state of all services."""
    return [_process(found) for found in _server(stack).getAllProcessInfo()]


def process(stack: Stack, name: str) -> Process:
    """Return the current state of one service.

    Raises:
        UserError: no service has that name.
    """
    try:
        return _process(_server(stack).getProcessInfo(name))
    except Fault:
        names = ", ".join(found.name for found in processes(stack))
        raise UserError(f"there is no service '{name}'; there are {names}.") from None


def start(stack: Stack, name: str) -> None:
    """Start a service unless it runs, without waiting for its health."""
    if process(stack, name).state not in ("RUNNING", "STARTING"):
        with contextlib.suppress(Fault):  # supervisord is starting it already
            _server(stack).startProcess(name, False)


def stop(stack: Stack, name: str) -> None:
    """Stop a service and its process group, if it runs."""
    process(stack, name)
    with contextlib.suppress(Fault):
        _server(stack).stopProcess(name, True)


def shut_down(stack: Stack) -> None:
    """Stop supervisord and all of its services."""
    pid = int(_server(stack).getPID())
    _server(stack).shutdown()
    deadline = time.monotonic() + STOPPING + 20
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    place = Path(read_json(stack.home / "supervisor.json")["socket"]).parent
    if place.name.startswith("wethink-stack-"):
        shutil.rmtree(place, ignore_errors=True)


def _process(found: Any) -> Process:
    said = found["spawnerr"] or found["description"]
    return Process(found["name"], found["statename"], int(found["pid"]), float(found["start"]), str(said))


def _server(stack: Stack) -> Any:
    from supervisor.xmlrpc import SupervisorTransport

    saved = stack.home / "supervisor.json"
    if not saved.is_file():
        raise FileNotFoundError(saved)
    transport = SupervisorTransport(None, None, f"unix://{read_json(saved)['socket']}")
    return ServerProxy("http://127.0.0.1", transport=transport).supervisor
