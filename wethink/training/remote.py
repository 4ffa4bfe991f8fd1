"""`host_process` children of a stage on other hosts: start, heartbeat and end, and what their hosts must agree on."""

import contextlib
import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.config.launch import Launch
from wethink.training.host_process import code_digest, commit

Child = subprocess.Popen[bytes]
ENDING_S = 10.0  # for the ranks of a host to end after their stage
CLOCK_S = 60.0  # difference of clocks from which the user is told


@dataclass(frozen=True)
class Host:
    """Host with its number of ranks, `slots`."""

    name: str
    slots: int


@contextlib.contextmanager
def started(
    commands: Sequence[Sequence[str]],
    jobs: Sequence[dict[str, Any]],
    answers: bool = False,
    environment: Mapping[str, str] | None = None,
    errors: int | None = None,
) -> "Iterator[list[Child]]":
    """Start children and hand a job to each; at the end of the context none of them runs any more.

    Args:
        commands: one that runs `host_process` somewhere and passes standard input on to it.
        jobs: as `host_process` reads them.
        answers: the children answer on standard output and end; else they are kept alive by a line a second.
        environment: of the children; None: this process's.
        errors: where their standard error goes, as `subprocess.Popen` takes it.
    """
    pipe = subprocess.PIPE if answers else None
    children: list[Child] = []
    over = threading.Event()
    try:
        for command, job in zip(commands, jobs, strict=True):
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=pipe,
                stderr=errors or pipe,
                env=environment,
                start_new_session=True,
            )
            children.append(child)
            send(child, json.dumps(job).encode() + b"\n")
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


def send(child: Child, data: bytes) -> None:
    """Write to a child's standard input, unless it has ended."""
    with contextlib.suppress(OSError, ValueError):  # its exit code tells more
        child.stdin.write(data)  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]


def _beat(children: Sequence[Child], over: threading.Event) -> None:
    while not over.wait(1.0):
        for child in children:
            send(child, b"\n")


def first_end(children: Sequence[Child], deadline: float) -> tuple[int, int | None]:
    """Wait until all children have ended well or one has not; None: the deadline passed.

    Returns:
        An exit code, and the number of the child that ended with it.
    """
    while time.monotonic() < deadline:
        codes = [child.poll() for child in children]
        for number, code in enumerate(codes):
            if code:
                return code, number
        if all(code == 0 for code in codes):
            return 0, 0
        time.sleep(0.1)
    return 1, None


def agreed(
    hosts: Sequence[Host],
    scratch: Path,
    launch: Launch,
    ask: Callable[[dict[str, Any]], list[dict[str, Any]]],
    of: str,
    first: str,
) -> tuple[str, int]:
    """Ask every host for what must be so, all at once.

    Args:
        hosts: in the order of their ranks.
        scratch: the stage's scratch folder, which all of them must see.
        launch: device and threads.
        ask: sends a job to `host_process` on every host; returns the answers in the order of `hosts`.
        of: what the hosts belong to, for messages.
        first: the name of the first host on the network.

    Returns:
        Address and free port of the first host, for the ranks' meeting.

    Raises:
        UserError: a host has other code, another Python, too few devices, or another folder.
    """
    nonce, text = scratch / "hosts.nonce", secrets.token_hex(16)
    nonce.write_text(text)
    begin = time.time()
    try:
        answers = ask({"nonce": str(nonce), "text": text, "device": launch.device, "first": first})
    finally:
        nonce.unlink()
    here = code_digest()
    for host, found in zip(hosts, answers, strict=True):
        wrong = _wrong(host, found, here, launch)
        if wrong:
            raise UserError(f"host {host.name} of {of} {wrong}")
        ahead = found["time"] - (begin + time.time()) / 2
        if abs(ahead) > CLOCK_S:
            print(
                f"the clock of host {host.name} is off by {ahead:+,.0f} s; times in its logs are, too.", file=sys.stderr
            )
    masters = {str(found.get("master", "unknown")) for found in answers}
    master = str(answers[0].get("master"))
    if len(masters) > 1 or "port" not in answers[0] or (master.startswith("127.") and not _all_local(hosts, first)):
        raise UserError(
            f"the hosts of {of} do not agree on the address of {first} ({', '.join(sorted(masters))}); "
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
        return (
            f"has other code (commit {found['commit']}) than this one (commit {commit()}); check the same commit out "
            "on both."
        )
    if found["python"] != sys.version.split()[0]:
        return f"has Python {found['python']}, this one {sys.version.split()[0]}; they must be the same."
    per_slot = launch.threads if launch.device == "cpu" else 1
    kind = "cores" if launch.device == "cpu" else "GPUs"
    if host.slots * per_slot > found["slots"]:
        return (
            f"has {found['slots']} {kind}, fewer than its {host.slots} slots need ({per_slot} each); lower slots "
            "(under Slurm: launch.processes)."
        )
    return ""


def _all_local(hosts: Sequence[Host], first: str) -> bool:
    names = {first, *(host.name for host in hosts)} if len(hosts) > 1 else {first}
    return all(name.startswith("127.") or name == "localhost" for name in names)
