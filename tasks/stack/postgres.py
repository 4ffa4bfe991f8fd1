"""PostgreSQL cluster of a stack, with one database for Prefect and one for MLflow.

It uses Debian's binaries, listens on loopback and requires a password (scram). PostgreSQL refuses to run as root; for
root, the cluster belongs to Debian's user `postgres`.
"""

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tasks.stack import layout
from tasks.stack.layout import HOST, ROLE, Stack
from wethink.common.errors import UserError

DATABASES = ("prefect", "mlflow")


def binary(name: str) -> str:
    """Find a PostgreSQL program: the newest of Debian's, or the one on the PATH.

    Raises:
        UserError: PostgreSQL is not installed.
    """
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which(name)
    if found is None:
        raise UserError("PostgreSQL is not installed (Debian: apt install postgresql); install it and try again.")
    return found


def owner() -> str | None:
    """Return the user who must own the cluster; None: the current user."""
    return "postgres" if os.geteuid() == 0 else None


def data(stack: Stack) -> Path:
    return stack.home / "postgres"


def command(stack: Stack) -> tuple[str, ...]:
    """Build the server's command: loopback only, no Unix socket."""
    settings = {"listen_addresses": HOST, "port": stack.ports["postgres"], "unix_socket_directories": ""}
    flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    return (binary("postgres"), "-D", str(data(stack)), *flags)


def create(stack: Stack) -> None:
    """Create the cluster unless it exists.

    Raises:
        UserError: PostgreSQL is not installed, its user cannot enter the folder, or initdb failed.
    """
    if (data(stack) / "PG_VERSION").is_file():
        return
    folder, secret = data(stack), stack.home / "initdb.password"
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed initdb
    folder.mkdir(mode=0o700)
    secret.touch(mode=0o600)
    secret.write_text(layout.password(stack), encoding="utf-8")
    user = owner()
    if user is not None:
        shutil.chown(folder, user)
        shutil.chown(secret, user)
        if _as_owner("test", "-r", str(secret)).returncode != 0:
            shutil.rmtree(folder)
            secret.unlink()
            raise UserError(
                f"PostgreSQL does not run as root, and its user '{user}' cannot enter {stack.folder}; "
                "move the project to where others may pass (chmod o+x each folder above it)."
            )
    try:
        options = ["--username", ROLE, "--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8"]
        made = _as_owner(binary("initdb"), "-D", str(folder), *options, "--locale", "C.UTF-8", "--no-instructions")
    finally:
        secret.unlink()
    if made.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        last = made.stderr.strip().splitlines()[-1:] or ["it ended without output"]
        raise UserError(f"initdb could not make {folder}: {last[0]}")


def _as_owner(*command: str) -> "subprocess.CompletedProcess[str]":
    user = owner()
    other = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
    return subprocess.run([*other, *command], cwd="/", capture_output=True, encoding="utf-8", errors="replace")


def answers(stack: Stack) -> bool:
    """Return whether the server accepts connections."""
    port = str(stack.ports["postgres"])
    return subprocess.run([binary("pg_isready"), "-q", "-h", HOST, "-p", port, "-t", "3"]).returncode == 0


def ask(stack: Stack, sql: str) -> list[str]:
    """Run SQL and return the lines of its output.

    The SQL is sent through stdin, because other users can read command lines.

    Raises:
        UserError: psql failed; the message has its error.
    """
    options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"]
    return client(stack, "psql", [*options, "--dbname", "postgres"], sql).splitlines()


def client(stack: Stack, program: str, arguments: Sequence[str], stdin: str = "") -> str:
    """Run a PostgreSQL client program against this cluster; return its stdout.

    Raises:
        UserError: the program failed; the message has its error.
    """
    place = ["--host", HOST, "--port", str(stack.ports["postgres"]), "--username", ROLE, "--no-password"]
    environment = os.environ | {"PGPASSFILE": str(stack.password_file)}
    ended = subprocess.run(
        [binary(program), *place, *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if ended.returncode != 0:
        lines = ended.stderr.strip().splitlines() or ["it ended without output"]
        raise UserError(f"{program}: {next((line for line in lines if 'FATAL' in line or 'error' in line), lines[-1])}")
    return ended.stdout


def create_databases(stack: Stack) -> None:
    """Create the missing databases."""
    known = ask(stack, "SELECT datname FROM pg_database")
    for name in DATABASES:
        if name not in known:
            ask(stack, f'CREATE DATABASE "{name}"')


def rotate_password(stack: Stack) -> None:
    """Change the role's password; open connections stay valid."""
    new = secrets.token_urlsafe(24)
    ask(stack, f"ALTER ROLE {ROLE} PASSWORD '{new}'")
    layout.keep_password(stack, new)
