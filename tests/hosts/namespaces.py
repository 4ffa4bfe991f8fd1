"""Hosts as network namespaces of this machine: own name, address, processes and sshd; nothing reaches outside.

Linux, root and Debian's `iproute2` are needed, and `openssh-server` for hosts with sshd. The hosts share this machine's
files, as hosts of a cluster share a network folder.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NETWORK = "198.51.100"  # of documentation (RFC 5737)
BRIDGE = "wt-hosts"
START = """
set -e
hostname {name}
mount --make-rprivate /
mount --bind {folder}/hosts /etc/hosts
{services}
exec sleep infinity
"""
SERVICES = "mkdir -p /run/sshd; /usr/sbin/sshd -f {folder}/{name}.sshd"
SSHD = """
ListenAddress {address}
Port 22
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PasswordAuthentication no
PermitRootLogin prohibit-password
StrictModes no
PidFile {folder}/{name}.pid
"""
SSH = """#!/bin/sh
exec {ssh} -F {folder}/ssh_config "$@"
"""
CONFIG = """
Host *
  IdentityFile {folder}/key
  IdentitiesOnly yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
"""


def missing(
    programs: tuple[str, ...] = ("ssh", "ssh-keygen", "sshd"), packages: str = "openssh-server openssh-client"
) -> str:
    """Return what this machine lacks for hosts of its own with these programs, or ''."""
    if os.geteuid() != 0:
        return "root is needed to make network namespaces"
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    lacking = [name for name in ("ip", "unshare", "nsenter", "setpriv", *programs) if not shutil.which(name, path=path)]
    if lacking:
        return f"{', '.join(lacking)} missing: apt-get install iproute2 util-linux {packages}"
    probe = subprocess.run(["unshare", "--net", "--uts", "--mount", "true"], capture_output=True, text=True)
    return f"this machine allows no namespaces ({probe.stderr.strip()})" if probe.returncode else ""


@contextmanager
def hosts(
    folder: Path,
    names: tuple[str, ...] = ("h1", "h2"),
    ssh: bool = True,
    network: str = NETWORK,
    bridge: str = BRIDGE,
) -> Iterator[dict[str, int]]:
    """Make the hosts; with `ssh` this process reaches them by `ssh NAME` with `folder/bin` on its PATH.

    Yields:
        The pid of each host's first process, for `inside`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    addresses = {name: f"{network}.{10 + number}" for number, name in enumerate(names, 1)}
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in addresses.items())]
    (folder / "hosts").write_text("\n".join(lines) + "\n")
    if ssh:
        _write_ssh(folder, addresses)
    started: list[subprocess.Popen[bytes]] = []
    pids: dict[str, int] = {}
    lock = os.open(f"/run/{bridge}.lock", os.O_CREAT | os.O_WRONLY)  # one run at a time has these names
    fcntl.flock(lock, fcntl.LOCK_EX)
    _remove_links(names, bridge)  # of a run that was killed
    try:
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "addr", "add", f"{network}.1/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        for name, address in addresses.items():
            started.append(_host(folder, name, address, bridge, ssh))
            pids[name] = _first_process(started[-1].pid)
        for name in names if ssh else ():
            _await_ssh(folder, name)
        yield pids
    finally:
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)  # the first process of a pid namespace takes all others along
        for child in started:
            child.kill()
            child.wait()
        _remove_links(names, bridge)
        os.close(lock)


def _remove_links(names: tuple[str, ...], bridge: str) -> None:
    for name in names:
        subprocess.run(["ip", "netns", "del", f"wt-{name}"], capture_output=True)
        subprocess.run(["ip", "link", "del", f"wt-v{name}"], capture_output=True)
    subprocess.run(["ip", "link", "del", bridge], capture_output=True)


def _write_ssh(folder: Path, addresses: dict[str, str]) -> None:
    for key in ("key", "host_key"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key))
    (folder / "ssh_config").write_text(
        CONFIG.format(folder=folder) + "".join(f"Host {n}\n  HostName {a}\n" for n, a in addresses.items())
    )
    (folder / "bin").mkdir()
    (folder / "bin/ssh").write_text(SSH.format(folder=folder, ssh=shutil.which("ssh")))
    (folder / "bin/ssh").chmod(0o755)
    for name, address in addresses.items():
        (folder / f"{name}.sshd").write_text(SSHD.format(folder=folder, name=name, address=address))


def _host(folder: Path, name: str, address: str, bridge: str, ssh: bool) -> "subprocess.Popen[bytes]":
    space, link = f"wt-{name}", f"wt-v{name}"
    run("ip", "netns", "add", space)
    run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
    run("ip", "link", "set", link, "master", bridge, "up")
    run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", "eth0")
    run("ip", "-n", space, "link", "set", "eth0", "up")
    run("ip", "-n", space, "link", "set", "lo", "up")
    services = SERVICES.format(folder=folder, name=name) if ssh else "true"
    script = START.format(folder=folder, name=name, services=services)
    # They end with this process, even if it is killed.
    command = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", space]
    command += ["unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return subprocess.Popen([*command, "bash", "-c", script])


def cut(name: str) -> None:
    """Take a host off the network."""
    run("ip", "link", "set", f"wt-v{name}", "down")


def mend(name: str) -> None:
    run("ip", "link", "set", f"wt-v{name}", "up")


def inside(pid: int, *command: str) -> str:
    """Return what a command prints on the host whose first process is `pid`."""
    enter = ["nsenter", "--target", str(pid), "--net", "--uts", "--mount", "--pid"]
    return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=30).stdout


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _first_process(parent: int) -> int:
    """Return the child of `unshare`, which is pid 1 of the host."""
    import psutil

    for _ in range(100):
        children = [one for one in psutil.Process(parent).children(recursive=True) if one.name() in ("bash", "sleep")]
        if children:
            return int(children[0].pid)
        time.sleep(0.1)
    raise TimeoutError("a host did not start")


def _await_ssh(folder: Path, name: str) -> None:
    for _ in range(100):
        command = [str(folder / "bin/ssh"), "-o", "BatchMode=yes", "-o", "ConnectTimeout=2", name, "true"]
        if subprocess.run(command, capture_output=True).returncode == 0:
            return
        time.sleep(0.2)
    raise TimeoutError(f"host {name} does not answer over ssh")
