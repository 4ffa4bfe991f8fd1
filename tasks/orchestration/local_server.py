"""Temporary local Prefect server with UI for a run without PREFECT_API_URL; it ends with the run.

Prefect's own ephemeral server serves no UI and outlives a killed flow.
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

PORT = 4200  # Prefect's default; any free port if it is taken
LOG = WORK / "logs" / "prefect-server.log"


@contextlib.contextmanager
def local_server(patience: float = 120) -> Iterator[None]:
    """Run the block against PREFECT_API_URL, or else against a temporary server.

    Raises:
        UserError: the temporary server ended or did not answer within `patience` seconds, or the configured one is
            unreachable.
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
            # The UI's pages call this URL; by default they call Prefect's default port.
            env=os.environ | {"PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api"},
            pass_fds=[listener.fileno()],  # bound here, so no other server can answer on this port
            start_new_session=True,
        )
    atexit.register(_stop, process)  # not earlier: Prefect sends its last logs when this process ends
    api = f"http://127.0.0.1:{port}/api"
    _wait_for(f"{api}/health", process, patience)
    with temporary_settings({PREFECT_API_URL: api}):
        yield


def require(url: str, name: str, patience: float = 30) -> None:
    """Check that the server at `url` accepts connections.

    Libraries would retry for minutes and print tracebacks. URLs without a host or port, and those behind a proxy, are
    not checked.

    Args:
        url: the value of the environment variable `name`.
        name: used in the message.
        patience: seconds to keep trying.

    Raises:
        UserError: no server accepts connections within `patience` seconds, or `url` cannot be parsed.
    """
    try:
        place = urllib.parse.urlsplit(url)
        host, port = place.hostname, place.port or {"http": 80, "https": 443}.get(place.scheme)
    except ValueError:
        raise UserError(f"{name} is no address that can be used; write it as http://HOST:PORT…") from None
    proxied = place.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host or "")
    if host is None or port is None or proxied:
        return  # a file, a database at its default port, or a proxy
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
    raise UserError(f"Prefect's local server did not start; see {LOG}.")


def main() -> None:
    """Serve until a signal or the end of the starting process."""
    import uvicorn
    from prefect.server.api.server import create_app

    die_with_owners()
    listener = socket.socket(fileno=int(sys.argv[1]))
    uvicorn.Server(uvicorn.Config(create_app(), log_level="error", lifespan="on")).run(sockets=[listener])


if __name__ == "__main__":
    main()
