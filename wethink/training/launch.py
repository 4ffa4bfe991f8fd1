"""Launch and clean-up of a training stage's ranks, through DeepSpeed's launcher."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from wethink.common.errors import DISK_FULL, FAILURE, UserError
from wethink.common.jsonl import read_json
from wethink.config.launch import Launch

MEETING = "WETHINK_MEETING"  # variable: the file through which the ranks of one machine rendezvous


def launch_ranks(stage: str, scratch: Path, launch: Launch) -> None:
    """Run `python -m wethink rank <stage>` on all ranks and wait for them.

    Raises:
        UserError: a rank failed (its log holds the cause) or the deadline passed; all ranks have ended then.
    """
    command = [sys.executable, "-m", "wethink.training.deepspeed_launcher"]
    command += ["--hostfile", launch.hostfile] if launch.hostfile else ["--hostfile", os.devnull]
    command += ["--num_gpus", str(launch.processes), "--master_port", str(free_port())]
    command += ["--no_local_rank", "--module", "wethink", "rank", stage, "--scratch", str(scratch)]
    meeting = tempfile.mkdtemp(prefix="wethink-ranks-")
    environment = os.environ | {
        MEETING: f"{meeting}/store",
        "OMP_NUM_THREADS": str(launch.threads),
        "TOKENIZERS_PARALLELISM": "false",
        "DS_ACCELERATOR": launch.device,
    }
    with subprocess.Popen(command, env=environment, start_new_session=True) as child:
        try:
            code = child.wait(timeout=launch.deadline_minutes * 60)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"stage '{stage}' passed its deadline of {launch.deadline_minutes} minutes (launch.deadline_minutes) "
                "and was stopped; finished work is kept, start it again to resume."
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # no process of the group may outlive this stage
            shutil.rmtree(meeting, ignore_errors=True)
    if code != 0 and (scratch / FAILURE).exists():
        failure = read_json(scratch / FAILURE)
        raise UserError(failure["message"], failure["exit_code"])
    if code == DISK_FULL:
        raise UserError("the disk is full; free some space, the same command goes on from the last checkpoint.")
    if code != 0:
        raise UserError(
            f"a rank of stage '{stage}' ended with code {code}; its last log lines are above. "
            "Starting the stage again goes on from its last checkpoint.",
            exit_code=75,  # EX_TEMPFAIL: worth a retry
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
