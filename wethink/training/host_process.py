"""Far side of a launch over several hosts: it runs one command and ends it when the stage's side falls silent.

`hosts.py` starts `python -m wethink.training.host_process` on each host over ssh, `slurm.py` for each rank by srun.
Standard input is JSON lines: first the job, then an empty line a second for as long as the stage lives. Its end, or
silence, ends the command: no signal crosses ssh, and a stage that is killed cannot send one. The line `stop` passes
SIGTERM on to the ranks; Slurm sends it to every process of a step itself.
"""

import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STOP = b"stop"
SILENCE_S = 45.0  # without a line of the stage; a network that is gone for less is waited for
PACKAGE = Path(__file__).resolve().parents[1]


def main() -> int:
    job = json.loads(sys.stdin.buffer.readline())
    os.environ.update(job["environment"])
    os.environ.update({name: os.environ[other] for name, other in job.get("copied", {}).items()})
    if "command" not in job:
        print(json.dumps(facts(job)), flush=True)
        return 0
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # for DeepSpeed's launcher (stopping.py)
    with subprocess.Popen(job["command"], stdin=subprocess.DEVNULL, start_new_session=True) as child:
        try:
            return wait(child)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def wait(child: "subprocess.Popen[bytes]") -> int:
    """Return the exit code of the command, or 143 once the stage's side has ended or is silent."""
    heard = time.monotonic()
    while (code := child.poll()) is None:
        if select.select([sys.stdin.buffer], [], [], 0.2)[0]:
            heard_now = os.read(sys.stdin.fileno(), 4096)
            if not heard_now:
                return 143
            if STOP in heard_now:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGTERM)  # the launcher blocks it, the ranks save
            heard = time.monotonic()
        elif time.monotonic() - heard > SILENCE_S:
            return 143
    return code % 256


def facts(job: dict[str, Any]) -> dict[str, Any]:
    """Return what a launch checks: code, Python, scratch, devices, clock, the meeting's address and a free port."""
    found = {
        "python": sys.version.split()[0],
        "code": code_digest(),
        "commit": commit(),
        "node": os.environ.get("SLURMD_NODENAME", ""),
        "sees": Path(job["nonce"]).is_file() and Path(job["nonce"]).read_text() == job["text"],
        "slots": os.cpu_count() or 1,
        "time": time.time(),
    }
    if job["device"] == "cuda":
        import torch

        found["slots"] = torch.cuda.device_count()
    with contextlib.suppress(OSError):
        found["master"] = socket.gethostbyname(job["first"])
    with contextlib.suppress(OSError, KeyError), socket.socket() as probe:  # KeyError: the name means nothing here
        probe.bind((found["master"], 0))  # on the first host only; the others do not own this address
        found["port"] = probe.getsockname()[1]
    return found


def code_digest() -> str:
    """Return the SHA-256 of the package's source files and their names."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def commit() -> str:
    """Return the commit of the package's checkout, with `-dirty` where files differ from it."""
    git = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty"]
    with contextlib.suppress(OSError):
        return subprocess.run(git, capture_output=True, text=True).stdout.strip() or "unknown"
    return "unknown"


if __name__ == "__main__":
    sys.exit(main())
