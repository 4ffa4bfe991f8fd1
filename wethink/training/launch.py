"""Launch and clean-up of a training stage's ranks: DeepSpeed's launcher, here or on several hosts, or a Slurm step."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from wethink.common.errors import AGAIN, DISK_FULL, FAILURE, STOPPED, UserError
from wethink.common.jsonl import read_json
from wethink.config.launch import Launch
from wethink.training.slurm import current_job, launch_in_job
from wethink.training.stopping import passed_on

MEETING = "WETHINK_MEETING"  # variable: the file through which the ranks of one machine rendezvous


def has_launcher(launch: Launch) -> bool:
    """Return whether a training stage's ranks are processes of their own."""
    return launch.processes > 1 or launch.hostfile is not None or current_job() is not None


def launch_ranks(stage: str, scratch: Path, launch: Launch) -> None:
    """Run `python -m wethink rank <stage>` on all ranks and wait for them.

    Raises:
        UserError: a rank failed (its log holds the cause), was told to end, or the deadline passed; all ranks have
            ended then.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": str(launch.threads),
        "TOKENIZERS_PARALLELISM": "false",
        "DS_ACCELERATOR": launch.device,
    }
    (scratch / FAILURE).unlink(missing_ok=True)
    where = ""
    try:
        if launch.hostfile is not None:
            from wethink.training.hosts import launch_on_hosts

            code, where = launch_on_hosts(stage, scratch, launch, environment)
        elif job := current_job():
            code, where = launch_in_job(job, stage, scratch, launch, environment)
        else:
            code = _launch_here(stage, scratch, launch, environment)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"stage '{stage}' passed its deadline of {launch.deadline_minutes} minutes (launch.deadline_minutes) "
            "and was stopped; finished work is kept, start it again to resume."
        ) from None
    of = f" of host {where}" if where else ""
    if code != 0 and (scratch / FAILURE).exists():
        failure = read_json(scratch / FAILURE)
        raise UserError(failure["message"], failure["exit_code"])
    if code == DISK_FULL:
        raise UserError(f"the disk{of} is full; free some space, the same command goes on from the last checkpoint.")
    if code == STOPPED:
        raise UserError(
            f"stage '{stage}' was stopped by SIGTERM before its first step; the same command goes on from its last "
            "checkpoint, if there is one.",
            exit_code=AGAIN,
        )
    if code != 0:
        raise UserError(
            f"a rank of stage '{stage}'{of} ended with code {code}; its last log lines are above. "
            "Starting the stage again goes on from its last checkpoint.",
            exit_code=AGAIN,
        )


def _launch_here(stage: str, scratch: Path, launch: Launch, environment: dict[str, str]) -> int:
    """Run the ranks on this machine and return the exit code of DeepSpeed's launcher."""
    command = [sys.executable, "-m", "wethink.training.deepspeed_launcher", "--hostfile", os.devnull]
    command += ["--num_gpus", str(launch.processes), "--master_port", str(free_port())]
    command += ["--no_local_rank", "--module", "wethink", "rank", stage, "--scratch", str(scratch)]
    meeting = tempfile.mkdtemp(prefix="wethink-ranks-")
    environment = environment | {MEETING: f"{meeting}/store"}
    with subprocess.Popen(command, env=environment, start_new_session=True) as child:

        def stop() -> None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)  # the launcher blocks it

        try:
            with passed_on(stop):
                return child.wait(timeout=launch.deadline_minutes * 60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # no process of the group may outlive this stage
            shutil.rmtree(meeting, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
