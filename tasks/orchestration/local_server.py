"""A Prefect server for the time of one run, where none is configured: its UI can be watched, and it dies with the run.

Prefect would start one by itself, but that one outlives a flow that is killed, and serves no UI.
"""

import atexit
import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from prefect.settings import PREFECT_API_URL, temporary_settings

from wethink.common.errors import UserError
from wethink.common.paths import WORK
from wethink.common.processes import die_with_owners

PORT = 4200  # Prefect's own; another one if it is taken
LOG = WORK / "logs" / "prefect-server.log"


@contextlib.contextmanager
def local_server(patience: float = 120) -> Iterator[None]:
    """Run the block against the configured Prefect server (PREFECT_API_URL), or against one of its own.

    Raises:
        UserError: the server ended or did not answer within `patience` seconds, or the configured one is not there.
    """
    if configured := PREFECT_API_URL.value():
        require(configured, "PREFECT_API_URL")
        yield
        return
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with _bound() as listener, LOG.open("ab") as log:
        port = listener.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-m", "tasks.orchestration.local_server", str(listener.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Where its pages look for it; they would ask Prefect's own port otherwise.
            env=os.environ | {"PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api"},
            pass_fds=[listener.fileno()],  # bound before: nobody else's server can be taken for ours
            start_new_session=True,
        )
    atexit.register(_stop, process)  # not sooner: when this process ends, Prefect sends its last logs
    api = f"http://127.0.0.1:{port}/api"
    _wait_for(f"{api}/health", process, patience)
    with temporary_settings({PREFECT_API_URL: api}):
        yield


def require(url: str, name: str, patience: float = 30) -> None:
    """Whether anybody listens where a variable points to; told before libraries try for minutes, with tracebacks.

    Raises:
        UserError: nobody did for `patience` seconds, or it is no address.
    """
    try:
        place = urllib.parse.urlsplit(url)
        host, port = place.hostname, place.port or {"http": 80, "https": 443}.get(place.scheme)
    except ValueError:
        raise UserError(f"{name} is no address that can be used; write it as http://HOST:PORT…") from None
    proxied = place.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host or "")
    if host is None or port is None or proxied:
        return  # a file, a database at its usual place, somebody else's way there
    deadline = time.monotonic() + patience
    while True:
        try:
            with socket.create_connection((host, port), 5):
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"nothing answers at {host}:{port}, where {name} points to ({error}); start it "
                    f"(`make up`), or unset {name}."
                ) from None
            time.sleep(0.5)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
    process.kill()
    process.wait()


def _bound() -> socket.socket:
    for port in (PORT, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            listener.close()
        else:
            return listener
    raise UserError("no free port on 127.0.0.1 for Prefect's server; set PREFECT_API_URL to one that runs.")


def _wait_for(url: str, process: "subprocess.Popen[bytes]", patience: float) -> None:
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise UserError(f"Prefect's local server did not start; {LOG} says why.")


def main() -> None:
    """Serve until told to stop, or until whoever started this process is gone."""
    import uvicorn
    from prefect.server.api.server import create_app

    die_with_owners()
    listener = socket.socket(fileno=int(sys.argv[1]))
    uvicorn.Server(uvicorn.Config(create_app(), log_level="error", lifespan="on")).run(sockets=[listener])


if __name__ == "__main__":
    main()
