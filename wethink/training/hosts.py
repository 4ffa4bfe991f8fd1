"""Several hosts of a DeepSpeed hostfile: parsing, checks before a launch, and DeepSpeed's launcher on each, over ssh.

DeepSpeed's own way to far hosts (pdsh) leaves ranks running when the stage is killed, goes on waiting for a host that
does not answer, and trains on one machine where the hostfile is missing. Here each host runs DeepSpeed's per-host
launcher as the child of `host_process`, which ends with the stage.
"""

import base64
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.config.launch import Launch
from wethink.training.host_process import STOP
from wethink.training.remote import Child, Host, agreed, first_end, send, started
from wethink.training.stopping import passed_on

SSH = (
    "ssh",
    "-o",
    "BatchMode=yes",
    "-o",
    "ConnectTimeout=10",
    "-o",
    "ServerAliveInterval=10",
    "-o",
    "ServerAliveCountMax=6",
)
ANSWER_S = 60.0  # for the answer of a host to the checks before a launch
UNREACHABLE = 255  # ssh's exit code of its own failures
FORWARDED = (  # beginnings of names
    *("AWS_", "CUDA_", "DS_", "GLOO_", "HF_", "LD_LIBRARY_PATH", "MLFLOW_", "NCCL_", "OMP_", "PYTHON", "TOKENIZERS_"),
    *("PG", "TORCH", "TRANSFORMERS_", "UCX_", "VLLM_", "WANDB_", "WETHINK_"),
)
OF_THIS_HOST = ("WETHINK_OWNERS", "WETHINK_MEETING")  # pids and files that mean nothing elsewhere


def read_hostfile(path: Path) -> list[Host]:
    """Read a DeepSpeed hostfile: lines `NAME slots=N`, blank lines and comments.

    Raises:
        UserError: it is missing or empty, a line has another form, or a host stands twice in it.
    """
    if not path.is_file():
        raise UserError(
            f"the hostfile {path} does not exist; write a line `NAME slots=N` per host, or clear launch.hostfile."
        )
    hosts: list[Host] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        found = re.fullmatch(r"([\w@.:][\w@.:-]*)\s+slots\s*=\s*([1-9]\d*)", text)
        if not found:
            raise UserError(f"{path}, line {number}: “{text[:80]}” is not `NAME slots=N` with N from 1 on.")
        if found[1] in {host.name for host in hosts}:
            raise UserError(
                f"{path}, line {number}: host {found[1]} stands twice; give it one line with all its slots."
            )
        hosts.append(Host(found[1], int(found[2])))
    if not hosts:
        raise UserError(f"the hostfile {path} names no host; write a line `NAME slots=N` per host.")
    return hosts


def launch_on_hosts(stage: str, scratch: Path, launch: Launch, environment: dict[str, str]) -> tuple[int, str]:
    """Run a stage's ranks on the hosts of `launch.hostfile` and wait for them.

    Returns:
        The exit code: 0, or that of the first host whose ranks failed, and that host. No rank runs any more then.

    Raises:
        UserError: a check before the launch fails, or a host cannot be reached any more.
        subprocess.TimeoutExpired: the deadline passed.
    """
    hosts = read_hostfile(Path(str(launch.hostfile)))
    forwarded = forward(environment, launch)
    master, port = check(hosts, scratch, launch, forwarded)
    world = base64.urlsafe_b64encode(
        json.dumps({host.name: list(range(host.slots)) for host in hosts}).encode()
    ).decode()
    command = [sys.executable, "-u", "-m", "deepspeed.launcher.launch", f"--world_info={world}"]
    command += [f"--master_addr={master}", f"--master_port={port}", "--module", "--no_local_rank"]
    ranks = ["wethink", "rank", stage, "--scratch", str(scratch)]
    jobs = [
        {"environment": forwarded, "command": [*command, f"--node_rank={number}", *ranks]}
        for number in range(len(hosts))
    ]
    with started([_command(host) for host in hosts], jobs) as children:

        def stop() -> None:
            for child in children:
                send(child, STOP + b"\n")

        with passed_on(stop):
            code, failed = first_end(children, time.monotonic() + launch.deadline_minutes * 60)
    if failed is None:
        raise subprocess.TimeoutExpired(command, launch.deadline_minutes * 60)
    if code == UNREACHABLE:
        print(file=sys.stderr)  # the progress line of a rank that was stopped has no end
        raise UserError(
            f"host {hosts[failed].name} cannot be reached any more; the ranks of the others are stopped. Starting the "
            "stage again goes on from its last checkpoint.",
            exit_code=75,
        )
    return code, hosts[failed].name


def forward(environment: dict[str, str], launch: Launch) -> dict[str, str]:
    """Return the variables that ranks need on every host: those of the libraries, and the keys of the endpoints."""
    keys = {endpoint.key_env for endpoint in launch.endpoints.values()}
    return {
        name: value
        for name, value in environment.items()
        if name in keys or (name.startswith(FORWARDED) and name not in OF_THIS_HOST)
    }


def check(hosts: Sequence[Host], scratch: Path, launch: Launch, environment: dict[str, str]) -> tuple[str, int]:
    """Ask every host for what must be so (`remote.agreed`).

    Raises:
        UserError: a host does not answer, or is not as it must be.
    """

    def ask(job: dict[str, Any]) -> list[dict[str, Any]]:
        job = {"environment": environment, **job}
        with started([_command(host) for host in hosts], [job] * len(hosts), answers=True) as children:
            return _answers(hosts, children)

    return agreed(hosts, scratch, launch, ask, str(launch.hostfile), hosts[0].name.rpartition("@")[2])


def _command(host: Host) -> list[str]:
    remote = f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.quote(sys.executable)} -m wethink.training.host_process"
    return [*SSH, host.name, remote]


def _answers(hosts: Sequence[Host], children: Sequence[Child]) -> list[dict[str, Any]]:
    deadline = time.monotonic() + ANSWER_S
    found = []
    for host, child in zip(hosts, children, strict=True):
        try:
            out, errors = child.communicate(timeout=max(1.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise UserError(
                f"host {host.name} does not answer within {ANSWER_S:.0f} s; mend it or take it out."
            ) from None
        lines = errors.decode(errors="replace").strip().splitlines()
        said = lines[-1][:200] if lines else f"exit code {child.returncode}"
        if child.returncode == UNREACHABLE:
            raise UserError(
                f"host {host.name} cannot be reached over ssh without a question ({said}); mend it or take it out."
            )
        if child.returncode:
            raise UserError(
                f"host {host.name} cannot run `{sys.executable} -m wethink` in {Path.cwd()} ({said}); it needs the "
                "same environment at the same path, and the project's folder on storage that all hosts share."
            )
        found.append(json.loads(out.splitlines()[-1]))
    return found
