"""Ranks of a training stage as a step of the Slurm job that runs it: checks, srun, and a job that goes on later.

A step needs no ssh, has this process's environment, and ends with its job. One task is one rank, started by
`host_process`, which ends it with the stage. DeepSpeed's own Slurm launcher asks for GPUs as generic resources, which
not every cluster has, and leaves ranks without their numbers.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from wethink.common.errors import STOPPED, UserError
from wethink.config.launch import Launch
from wethink.training.remote import Host, agreed, first_end, started
from wethink.training.stopping import was_stopped

ANSWER_S = 120.0  # for the answers of all nodes to the checks before a launch; a busy controller takes its time
JOB_STEP = "WETHINK_JOB_STEP"  # variable of ranks that are a step of a job
REQUEUE = "WETHINK_REQUEUE"  # variable of a job that goes back into the queue when it was told to end (infra/slurm)
OF_THIS_PROCESS = ("WETHINK_OWNERS", "WETHINK_MEETING")  # pids and files that mean nothing on another node
RANK = {"RANK": "SLURM_PROCID", "LOCAL_RANK": "SLURM_LOCALID", "WORLD_SIZE": "SLURM_NTASKS"}
ENDED_BY_TERM = (STOPPED, -15 % 256)  # exit codes of a rank that could not save before it ended
FAILED_TASK = re.compile(r"srun: error: (?P<node>[\w.-]+): tasks? (?P<tasks>[\d,-]+): (?P<said>[^\r\n]+)")


@dataclass(frozen=True)
class Job:
    """Slurm job around this process."""

    id: str
    nodes: int
    cores: int | None  # of the node that has the fewest


def current_job() -> Job | None:
    """Return the job whose step the ranks of a training stage are, or None: they start here, without Slurm.

    Inside a step, or without srun (as in a container), ranks of a job of one node start here.
    """
    if "SLURM_JOB_ID" not in os.environ:
        return None
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
    if nodes == 1 and ("SLURM_STEP_ID" in os.environ or not shutil.which("srun")):
        return None
    counts = re.findall(r"(?:^|,)(\d+)", re.sub(r"\(x\d+\)", "", os.environ.get("SLURM_JOB_CPUS_PER_NODE", "")))
    return Job(os.environ["SLURM_JOB_ID"], nodes, min(map(int, counts)) if counts else None)


def launch_in_job(job: Job, stage: str, scratch: Path, launch: Launch, environment: dict[str, str]) -> tuple[int, str]:
    """Run a stage's ranks as a step, `launch.processes` on each node, and wait for them.

    Returns:
        The exit code: 0, or that of the first rank that failed, and its node. No rank runs any more then.

    Raises:
        UserError: a check before the launch fails.
        subprocess.TimeoutExpired: the deadline passed.
    """
    environment = {name: value for name, value in environment.items() if name not in OF_THIS_PROCESS}
    master, port = check(job, scratch, launch, environment)
    order = {
        "environment": {"MASTER_ADDR": master, "MASTER_PORT": str(port), JOB_STEP: "1"},
        "copied": RANK,
        "command": [sys.executable, "-u", "-m", "wethink", "rank", stage, "--scratch", str(scratch)],
    }
    command = _srun(job, launch.processes)
    tail: list[bytes] = []
    with started([command], [order], environment=environment, errors=subprocess.PIPE) as (child,):
        reader = threading.Thread(target=_pass_on, args=(child.stderr, tail), daemon=True)
        reader.start()
        code, ended = first_end([child], time.monotonic() + launch.deadline_minutes * 60)
    reader.join(timeout=5)
    if ended is None:
        raise subprocess.TimeoutExpired(command, launch.deadline_minutes * 60)
    first = FAILED_TASK.search(b"".join(tail).decode(errors="replace")) if code else None
    if first:
        code = _code(first["said"]) or code
    if code in ENDED_BY_TERM:
        code, first = STOPPED, None
    if code == STOPPED or was_stopped(scratch):
        put_back(job)
    return code, first["node"] if first else ""


def check(job: Job, scratch: Path, launch: Launch, environment: dict[str, str]) -> tuple[str, int]:
    """Ask every node for what must be so (`remote.agreed`).

    Raises:
        UserError: srun is missing, the job has too few cores, or a node does not answer or is not as it must be.
    """
    if not shutil.which("srun") or not shutil.which("scontrol"):
        raise UserError(
            f"this is Slurm job {job.id} of {job.nodes} nodes, but srun is not on the PATH, so no rank can be started "
            "on them; load Slurm's module, or submit the job from where srun is found."
        )
    needed = launch.processes * (launch.threads if launch.device == "cpu" else 1)
    if job.cores is not None and needed > job.cores:
        raise UserError(
            f"Slurm job {job.id} has {job.cores} cores on a node, and launch.processes {launch.processes} needs "
            f"{needed}; ask for more (sbatch --cpus-per-task={needed}), or lower launch.processes."
        )
    listed = subprocess.run(
        ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]], capture_output=True, text=True
    )
    names = listed.stdout.split()
    if len(names) != job.nodes:
        raise UserError(
            f"scontrol cannot list the nodes of Slurm job {job.id} ({_last(listed.stderr)}); see that it works there."
        )
    hosts = [Host(name, launch.processes) for name in names]
    first = names[0] if job.nodes > 1 else "127.0.0.1"

    def ask(order: dict[str, Any]) -> list[dict[str, Any]]:
        return _answers(job, names, order | {"environment": {}}, environment)

    return agreed(hosts, scratch, launch, ask, f"Slurm job {job.id}", first)


def _answers(job: Job, names: Sequence[str], order: dict[str, Any], environment: dict[str, str]) -> list[Any]:
    with started([_srun(job, 1)], [order], answers=True, environment=environment) as (child,):
        try:
            out, errors = child.communicate(timeout=ANSWER_S)
        except subprocess.TimeoutExpired:
            child.terminate()
            out, errors = child.communicate()
            silent = sorted(set(names) - set(_by_node(out)))
            raise UserError(
                f"host {', '.join(silent)} of Slurm job {job.id} does not answer within {ANSWER_S:.0f} s; mend it, or "
                "leave it out (sbatch --exclude)."
            ) from None
    found, said = _by_node(out), errors.decode(errors="replace")
    if failed := FAILED_TASK.search(said):
        why = [line for line in said.splitlines() if not line.startswith("srun: ")] or [failed["said"]]
        raise UserError(
            f"host {failed['node']} of Slurm job {job.id} cannot run `{sys.executable} -m wethink` in {Path.cwd()} "
            f"({_last(chr(10).join(why))}); it needs the same environment at the same path, and the project's folder "
            "on storage that all nodes share."
        )
    if child.returncode or set(found) != set(names):
        raise UserError(f"Slurm starts no step in job {job.id}: {_last(said)}.")
    return [found[name] for name in names]


def _by_node(out: bytes) -> dict[str, Any]:
    answers = [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
    return {answer["node"]: answer for answer in answers}


def _srun(job: Job, per_node: int) -> list[str]:
    """Build the command that starts `per_node` tasks on each node, with all of the node's cores."""
    command = ["srun", f"--nodes={job.nodes}", f"--ntasks={job.nodes * per_node}", f"--ntasks-per-node={per_node}"]
    command += [f"--cpus-per-task={job.cores // per_node}"] if job.cores else []
    # --overlap: beside a step that the job runs already, as a model server, this one must not wait for its end
    command += ["--export=ALL", "--overlap", "--mpi=none", "--kill-on-bad-exit=1", f"--chdir={Path.cwd()}"]
    return [*command, sys.executable, "-m", "wethink.training.host_process"]


def put_back(job: Job) -> None:
    """Put a running job that asks for it (`WETHINK_REQUEUE`) back into the queue; it ends here then.

    A job that was cancelled is not running any more.
    """
    if not os.environ.get(REQUEUE):
        return
    asked = subprocess.run(["squeue", "--noheader", f"--jobs={job.id}", "--format=%T"], capture_output=True, text=True)
    if asked.stdout.strip() != "RUNNING":
        return
    done = subprocess.run(["scontrol", "requeue", job.id], capture_output=True, text=True)
    said = "goes back into the queue" if done.returncode == 0 else f"cannot be queued again: {_last(done.stderr)}"
    print(f"Slurm job {job.id} {said}.", file=sys.stderr)


def _pass_on(stream: IO[bytes], tail: list[bytes]) -> None:
    """Copy srun's standard error, with that of the ranks, to this process's, and keep its end."""
    while block := os.read(stream.fileno(), 65536):
        with contextlib.suppress(OSError, ValueError):  # a closed terminal; srun must still find a reader
            sys.stderr.buffer.write(block)
            sys.stderr.flush()
        tail.append(block)
        del tail[:-200]


def _code(said: str) -> int | None:
    """Return the exit code in srun's words about a task, if they have one.

    >>> _code("Exited with exit code 74"), _code("Killed"), _code("Terminated")
    (74, 137, 143)
    """
    if found := re.search(r"exit code (\d+)", said):
        return int(found[1])
    return {"Killed": 137, "Terminated": 143}.get(said.split()[0].strip(":"))


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("srun: error: ")[:200] if lines else "no reason is given"
