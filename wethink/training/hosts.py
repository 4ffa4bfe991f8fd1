"""Several hosts of a DeepSpeed hostfile: parsing, checks before a launch, and DeepSpeed's launcher on each, over ssh.

DeepSpeed's own way to far hosts (pdsh) leaves ranks running when the stage is killed, goes on waiting for a host that
does not answer, and trains on one machine where the hostfile is missing. Here each host runs DeepSpeed's per-host
launcher as the child of `host_process`, which ends with the stage.
"""

import base64
import contextlib
import json
import re
import secrets
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.config.launch import Launch
from wethink.training.host_process import STOP, code_digest
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
ENDING_S = 10.0  # for the ranks of a host to end after their stage
UNREACHABLE = 255  # ssh's exit code of its own failures
CLOCK_S = 60.0  # difference of clocks from which the user is told
FORWARDED = (  # beginnings of names
    *("AWS_", "CUDA_", "DS_", "GLOO_", "HF_", "LD_LIBRARY_PATH", "MLFLOW_", "NCCL_", "OMP_", "PYTHON", "TOKENIZERS_"),
    *("TORCH", "TRANSFORMERS_", "UCX_", "VLLM_", "WANDB_", "WETHINK_"),
)
OF_THIS_HOST = ("WETHINK_OWNERS", "WETHINK_MEETING")  # pids and files that mean nothing elsewhere


@dataclass(frozen=True)
class Host:
    """Host of a hostfile; `slots` is its number of ranks."""

    name: str
    slots: int


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


def launch_on_hosts(stage: str, scratch: Path, launch: Launch, environment: dict[str, str]) -> int:
    """Run a stage's ranks on the hosts of `launch.hostfile` and wait for them.

    Returns:
        The exit code: 0, or that of the first host whose ranks failed. No rank runs any more then.

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
    with _started(hosts, jobs) as children:

        def stop() -> None:
            for child in children:
                _send(child, STOP + b"\n")

        with passed_on(stop):
            code, failed = _first_end(children, time.monotonic() + launch.deadline_minutes * 60)
    if failed is None:
        raise subprocess.TimeoutExpired(command, launch.deadline_minutes * 60)
    if code == UNREACHABLE:
        print(file=sys.stderr)  # the progress line of a rank that was stopped has no end
        raise UserError(
            f"host {hosts[failed].name} cannot be reached any more; the ranks of the others are stopped. Starting the "
            "stage again goes on from its last checkpoint.",
            exit_code=75,
        )
    return code


def forward(environment: dict[str, str], launch: Launch) -> dict[str, str]:
    """Return the variables that ranks need on every host: those of the libraries, and the keys of the endpoints."""
    keys = {endpoint.key_env for endpoint in launch.endpoints.values()}
    return {
        name: value
        for name, value in environment.items()
        if name in keys or (name.startswith(FORWARDED) and name not in OF_THIS_HOST)
    }


def check(hosts: Sequence[Host], scratch: Path, launch: Launch, environment: dict[str, str]) -> tuple[str, int]:
    """Ask every host for what must be so, all at once.

    Returns:
        Address and free port of the first host, for the ranks' meeting.

    Raises:
        UserError: a host does not answer, or has other code, another Python, too few devices, or another folder.
    """
    nonce, text = scratch / "hosts.nonce", secrets.token_hex(16)
    nonce.write_text(text)
    first = hosts[0].name.rpartition("@")[2]
    job = {"environment": environment, "nonce": str(nonce), "text": text, "device": launch.device, "first": first}
    begin = time.time()
    try:
        with _started(hosts, [job] * len(hosts), answers=True) as children:
            answers = _answers(hosts, children)
    finally:
        nonce.unlink()
    here = code_digest()
    for host, found in zip(hosts, answers, strict=True):
        wrong = _wrong(host, found, here, launch)
        if wrong:
            raise UserError(f"host {host.name} of {launch.hostfile} {wrong}")
        ahead = found["time"] - (begin + time.time()) / 2
        if abs(ahead) > CLOCK_S:
            print(
                f"the clock of host {host.name} is off by {ahead:+,.0f} s; times in its logs are, too.", file=sys.stderr
            )
    masters = {str(found.get("master")) for found in answers}
    master = str(answers[0].get("master"))
    if len(masters) > 1 or "port" not in answers[0] or (master.startswith("127.") and not _all_local(hosts)):
        raise UserError(
            f"the hosts of {launch.hostfile} do not agree on the address of {first} ({', '.join(sorted(masters))}); "
            "its name must mean the same address on all of them, and none that begins with 127. Mend /etc/hosts, or "
            "put addresses into the hostfile."
        )
    return master, int(answers[0]["port"])


def _wrong(host: Host, found: dict[str, Any], here: str, launch: Launch) -> str:
    """Return what is wrong with a host's answer, as the end of a sentence, or ''."""
    if not found["sees"]:
        return (
            f"does not see the scratch folder under {Path.cwd()}; the project's folder must be on storage that all "
            "hosts share."
        )
    if found["code"] != here:
        return f"has other code ({found['commit']}) than this one; check the same commit out on both."
    if found["python"] != sys.version.split()[0]:
        return f"has Python {found['python']}, this one {sys.version.split()[0]}; they must be the same."
    per_slot = launch.threads if launch.device == "cpu" else 1
    kind = "cores" if launch.device == "cpu" else "GPUs"
    if host.slots * per_slot > found["slots"]:
        return f"has {found['slots']} {kind}, fewer than its {host.slots} slots need ({per_slot} each); lower slots."
    return ""


def _all_local(hosts: Sequence[Host]) -> bool:
    return all(host.name.startswith("127.") or host.name == "localhost" for host in hosts)


def _answers(hosts: Sequence[Host], children: "Sequence[subprocess.Popen[bytes]]") -> list[dict[str, Any]]:
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


@contextlib.contextmanager
def _started(
    hosts: Sequence[Host], jobs: Sequence[dict[str, Any]], answers: bool = False
) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """Start a job on each host; at the end of the context none of them runs any more."""
    remote = f"cd {shlex.quote(str(Path.cwd()))} && exec {shlex.quote(sys.executable)} -m wethink.training.host_process"
    pipe = subprocess.PIPE if answers else None
    children: list[subprocess.Popen[bytes]] = []
    over = threading.Event()
    try:
        for host, job in zip(hosts, jobs, strict=True):
            child = subprocess.Popen(
                [*SSH, host.name, remote], stdin=subprocess.PIPE, stdout=pipe, stderr=pipe, start_new_session=True
            )
            children.append(child)
            _send(child, json.dumps(job).encode() + b"\n")
        if not answers:
            threading.Thread(target=_beat, args=(children, over), daemon=True).start()
        yield children
    finally:
        over.set()
        for child in children:
            with contextlib.suppress(OSError, ValueError):
                child.stdin.close()  # type: ignore[union-attr]
        deadline = time.monotonic() + ENDING_S
        for child in children:
            try:
                child.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _send(child: "subprocess.Popen[bytes]", data: bytes) -> None:
    with contextlib.suppress(OSError, ValueError):  # its exit code tells more
        child.stdin.write(data)  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]


def _beat(children: "Sequence[subprocess.Popen[bytes]]", over: threading.Event) -> None:
    while not over.wait(1.0):
        for child in children:
            _send(child, b"\n")


def _first_end(children: "Sequence[subprocess.Popen[bytes]]", deadline: float) -> tuple[int, int | None]:
    """Wait until all hosts have ended well or one has not; None: the deadline passed."""
    while time.monotonic() < deadline:
        codes = [child.poll() for child in children]
        for number, code in enumerate(codes):
            if code:
                return code, number
        if all(code == 0 for code in codes):
            return 0, 0
        time.sleep(0.1)
    return 1, None
