"""Start, stop and status of the stack's services, with health checks and removal of orphans."""

import contextlib
import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from tasks.stack import layout, postgres, supervisor
from tasks.stack.layout import Stack
from tasks.stack.orphaned_runs import belongs
from tasks.stack.services import Service, explain, services, wait_until_healthy
from wethink.common.errors import UserError
from wethink.common.jsonl import write_json

Say = Callable[[str], None]


def _silent(line: str) -> None:
    pass


def up(folder: Path, usual_ports: bool = True, say: Say = _silent) -> Stack:
    """Start every service of a project that does not run, and wait for its health.

    Args:
        folder: the project's root: a git checkout with this code in it.
        usual_ports: False: any free ports, for a temporary stack.
        say: called with a line for each healthy service.

    Raises:
        UserError: a service did not become healthy in time; the others keep running.
    """
    stack = layout.load(folder)
    if stack is None or not supervisor.running(stack):
        stack = layout.plan(folder, usual_ports)
        sweep(stack)  # processes of a killed supervisord
        supervisor.launch(stack, [service.program for service in services(stack)])
    for _, phase in itertools.groupby(services(stack), key=lambda service: service.phase):
        members, begin = list(phase), time.monotonic()
        for service in members:
            _start(stack, service)
        for service in members:
            _wait(stack, service)
            say(f"{service.name} is up at {service.address} ({time.monotonic() - begin:.1f} s)")
    _record(stack)
    return stack


def down(folder: Path, say: Say = _silent) -> None:
    """Stop every service in reverse order and kill the stack's remaining processes.

    A project without a stack is no error.
    """
    stack = layout.load(folder)
    if stack is None:
        say("there is no stack here")
        return
    if supervisor.running(stack):
        for service in reversed(services(stack)):
            with contextlib.suppress(UserError):  # a service that this supervisord does not know
                supervisor.stop(stack, service.name)
            say(f"{service.name} has ended")
        supervisor.shut_down(stack)
    left = sweep(stack)
    say("everything has ended" + (f"; {left} processes were left over and had to be killed" if left else ""))
    (stack.home / "pids.json").unlink(missing_ok=True)


def start(stack: Stack, name: str) -> None:
    """Start one service and wait until it is healthy.

    Raises:
        UserError: no service has that name, or it did not become healthy.
    """
    service = _service(stack, name)
    _start(stack, service)
    _wait(stack, service)
    _record(stack)


def stop(stack: Stack, name: str) -> None:
    """Stop one service and its process group until `start` or `up` is called.

    Raises:
        UserError: no service has that name.
    """
    supervisor.stop(stack, _service(stack, name).name)


def has(stack: Stack, name: str) -> bool:
    """Return whether this stack has a service of that name."""
    return any(service.name == name for service in services(stack))


def known(folder: Path) -> Stack:
    """Return a project's running stack.

    Raises:
        UserError: no stack runs there.
    """
    stack = layout.load(folder)
    if stack is None or not supervisor.running(stack):
        raise UserError(f"no stack runs in {folder}; `make up` starts it.")
    return stack


def rotate(folder: Path) -> None:
    """Change the database's password and restart the services that connect to it."""
    stack = known(folder)
    postgres.rotate_password(stack)
    users = [name for name in ("worker", "watcher", "champion", "mlflow", "prefect") if has(stack, name)]
    for name in users:
        stop(stack, name)
    for name in reversed(users):
        start(stack, name)


def faults(stack: Stack) -> list[str]:
    """List a sentence for each unhealthy service."""
    found = []
    for service in services(stack):
        process = supervisor.process(stack, service.name)
        if not process.alive:
            found.append(explain(stack, process))
            continue
        try:
            if not service.healthy(stack, process):
                found.append(f"service '{service.name}' runs, but does not answer; {explain(stack, process)}")
        except UserError as fault:
            found.append(str(fault))
    return found


def table(stack: Stack) -> str:
    """Format the services, one a line: name, state, process id, address, log."""
    lines = []
    for service in services(stack):
        process = supervisor.process(stack, service.name)
        path = os.path.relpath(supervisor.log(stack, service.name), stack.folder)
        lines.append(f"{service.name:<9} {process.state:<9} {process.pid or '-':>7}  {service.address:<22} {path}")
    return "\n".join(lines)


def sweep(stack: Stack) -> int:
    """Kill every process that this stack has started; return how many there were.

    They are found by an environment variable, which stages in their own sessions inherit too.
    """
    left = [found for found in psutil.process_iter() if belongs(found, stack)]
    for process in left:
        with contextlib.suppress(psutil.Error):
            os.kill(process.pid, signal.SIGKILL)
    psutil.wait_procs(left, timeout=10)
    return len(left)


def _service(stack: Stack, name: str) -> Service:
    supervisor.process(stack, name)
    return next(service for service in services(stack) if service.name == name)


def _start(stack: Stack, service: Service) -> None:
    if supervisor.process(stack, service.name).state not in ("RUNNING", "STARTING"):
        service.before(stack)
        supervisor.start(stack, service.name)


def _wait(stack: Stack, service: Service) -> None:
    wait_until_healthy(stack, service, lambda: supervisor.process(stack, service.name))
    service.after(stack)


def _record(stack: Stack) -> None:
    """Write the process ids to pids.json."""
    write_json(stack.home / "pids.json", {found.name: found.pid for found in supervisor.processes(stack)})
