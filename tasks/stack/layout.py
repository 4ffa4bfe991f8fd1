"""A stack's folder, ports, and the environment of its services and clients.

All files are below `.wethink/stack/`. Ports are chosen once and kept: the usual ones in `PORTS` if they are free. The
database's password is in a `pgpass` file that only its owner can read, so no command line, URL or log contains it.
"""

import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks import ENVIRONMENT
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, write_json

PORTS = {"postgres": 5433, "prefect": 4200, "mlflow": 5000, "store": 9000, "champion": 8000}
HOST = "127.0.0.1"
ROLE = "wethink"  # the database's user
BUCKET, QUEUE = "images", "closed"
MARK = "WETHINK_STACK"  # set in every process of a stack, so that orphans can be found


@dataclass(frozen=True)
class Stack:
    """A stack's folder and ports."""

    folder: Path  # the project's root, absolute
    ports: Mapping[str, int]

    @property
    def home(self) -> Path:
        return self.folder / ".wethink" / "stack"

    @property
    def password_file(self) -> Path:
        return self.home / "pgpass"

    def url(self, service: str) -> str:
        """Return the base URL of an HTTP service."""
        return f"http://{HOST}:{self.ports[service]}"

    def database(self, driver: str, name: str) -> str:
        """Return a database's SQLAlchemy URL, without the password (see PGPASSFILE)."""
        return f"postgresql+{driver}://{ROLE}@{HOST}:{self.ports['postgres']}/{name}"

    @property
    def bucket(self) -> str:
        """The watched bucket: $WETHINK_BUCKET, or the local store's."""
        return os.environ.get("WETHINK_BUCKET", BUCKET)

    @property
    def queue(self) -> str | None:
        """URL of the bucket's notification queue; None: the watcher lists the bucket."""
        if self.local_store:
            return f"{self.url('store')}/123456789012/{QUEUE}"
        return os.environ.get("WETHINK_QUEUE")

    @property
    def local_store(self) -> bool:
        """Return whether the stack runs its own S3 store ($WETHINK_BUCKET is not set)."""
        return "WETHINK_BUCKET" not in os.environ

    def client_environment(self) -> dict[str, str]:
        """Return the environment variables for a client of the stack; none is secret."""
        own = {
            "PREFECT_API_URL": f"{self.url('prefect')}/api",
            # MLflow's server refuses versions whose checkpoints are local folders, so clients speak to its database.
            "MLFLOW_TRACKING_URI": self.database("psycopg2", "mlflow"),
            "PGPASSFILE": str(self.password_file),
        }
        if self.local_store:  # moto accepts any key; these are no secrets
            own |= {"AWS_ENDPOINT_URL": self.url("store"), "AWS_DEFAULT_REGION": "us-east-1"}
            own |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        return own

    def environment(self) -> dict[str, str]:
        """Return the services' environment.

        It is this process's, without the variables that point to other servers, plus the stack's own.
        """
        foreign = ("PREFECT_", "MLFLOW_", "PG") + (("AWS_",) if self.local_store else ())
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        own = {
            "PATH": path,
            "PWD": str(self.folder),  # infra/prefect.yaml reads it
            "PREFECT_HOME": str(self.folder / ".prefect"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.database("asyncpg", "prefect"),
            "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # its defaults, 10 and 5, make a busy machine's server answer 500
            "PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60",
            "MLFLOW_BACKEND_STORE_URI": self.database("psycopg2", "mlflow"),
            MARK: str(self.home),
        }
        return ENVIRONMENT | inherited | self.client_environment() | own


def load(folder: Path) -> Stack | None:
    """Load a project's stack, running or not; None if it never had one."""
    stack = Stack(folder.resolve(), {})
    saved = stack.home / "ports.json"
    return Stack(stack.folder, read_json(saved)) if saved.is_file() else None


def plan(folder: Path, usual_ports: bool = True) -> Stack:
    """Choose and save the ports of a stack that is not running; create its password.

    It keeps its earlier ports, or takes the usual ones; a taken port is replaced by a free one.

    Args:
        folder: the project's root.
        usual_ports: False: any free ports, for a temporary stack.
    """
    known = load(folder)
    wanted = known.ports if known is not None else (PORTS if usual_ports else dict.fromkeys(PORTS, 0))
    with contextlib.ExitStack() as held:  # hold all ports at once, or two services could get the same one
        stack = Stack(folder.resolve(), {name: _free(port, held) for name, port in {**PORTS, **wanted}.items()})
    stack.home.mkdir(parents=True, exist_ok=True)
    write_json(stack.home / "ports.json", dict(stack.ports))
    if not stack.password_file.is_file():
        keep_password(stack, secrets.token_urlsafe(24))
    return stack


def keep_password(stack: Stack, password: str) -> None:
    """Write the password to the pgpass file, which libpq and asyncpg read."""
    staged = stack.password_file.with_suffix(".new")
    staged.unlink(missing_ok=True)
    with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        handle.write(f"{HOST}:*:*:{ROLE}:{password}\n")
    os.replace(staged, stack.password_file)


def password(stack: Stack) -> str:
    return stack.password_file.read_text(encoding="utf-8").strip().rpartition(":")[2]


def _free(wanted: int, held: contextlib.ExitStack) -> int:
    for port in (wanted, 0):
        probe = held.enter_context(socket.socket())
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise UserError(f"no free port on {HOST}; stop something that listens there.")
