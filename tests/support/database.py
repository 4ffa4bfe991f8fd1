"""A PostgreSQL cluster of a test's own."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.stack import layout, postgres
from tasks.stack.layout import Stack


def serve(stack: Stack, address: str = layout.HOST) -> "subprocess.Popen[bytes]":
    """Start a cluster's server and return once it answers; SIGINT or SIGQUIT ends it."""
    user = postgres.owner()
    other = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--"] if user else []
    command = [*other, *postgres.command(stack), "-c", f"listen_addresses={address}"]
    with (stack.folder / "log").open("ab") as log:
        server = subprocess.Popen(command, cwd="/", stdout=log, stderr=log)
    deadline = time.monotonic() + 60
    while not postgres.answers(stack):
        assert server.poll() is None and time.monotonic() < deadline, (stack.folder / "log").read_text()
        time.sleep(0.1)
    return server


@contextmanager
def cluster(address: str = layout.HOST) -> Iterator[Stack]:
    """A cluster and its server. Its user must be able to pass, so not below pytest's own folder."""
    folder = Path(tempfile.mkdtemp(prefix="wethink-test-"))
    folder.chmod(0o755)
    stack = layout.plan(folder, usual_ports=False)
    postgres.create(stack)
    server = serve(stack, address)
    try:
        yield stack
    finally:
        server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
        server.wait(30)
        shutil.rmtree(folder)
