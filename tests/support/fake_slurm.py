"""Slurm's commands as small programs on PATH: srun starts its tasks here, on nodes that are only names.

`install` writes srun, scontrol, squeue and scancel. `FAKE_STATE` is the job's state, `FAKE_STEPS` its steps; the file
`calls` beside them has each call.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

SHELL = """#!/bin/sh
echo "{name} $*" >> {folder}/calls
case "{name} $*" in
  "scontrol show hostnames "*) seq --format n%.0f "$SLURM_JOB_NUM_NODES";;
  *--steps*) printf "17.batch\\n$FAKE_STEPS";;
  squeue*) echo "${{FAKE_STATE:-RUNNING}}";;
esac
"""
SRUN = """#!/bin/sh
echo "srun $*" >> {folder}/calls
exec {python} {module} "$@"
"""


def install(folder: Path) -> Path:
    """Write the commands to a folder for PATH and return the log of their calls."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("scontrol", "squeue", "scancel", "srun"):
        text = SRUN if name == "srun" else SHELL
        (folder / name).write_text(text.format(name=name, folder=folder, python=sys.executable, module=__file__))
        (folder / name).chmod(0o755)
    (folder / "calls").touch()
    return folder / "calls"


def job(nodes: int = 2, cores: str = "2(x2)", **more: str) -> dict[str, str]:
    """Return the variables that Slurm gives the script of a job."""
    about = {"SLURM_JOB_ID": "17", "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_JOB_CPUS_PER_NODE": cores}
    return about | {"SLURM_JOB_NODELIST": "n[1-2]", **more}


def srun(arguments: list[str]) -> int:
    """Start the tasks with srun's variables and standard input; a bad end of one ends all."""
    options = dict(word[2:].partition("=")[::2] for word in arguments if word.startswith("--"))
    command = arguments[next(i for i, word in enumerate(arguments) if not word.startswith("--")) :]
    count, per_node = int(options["ntasks"]), int(options["ntasks-per-node"])
    if count > 64:
        print("srun: error: Unable to create step for job 17: More processors requested", file=sys.stderr)
        return 1
    tasks: list[subprocess.Popen[bytes]] = []
    for number in range(count):
        node = number // per_node
        about = {"SLURM_PROCID": number, "SLURM_LOCALID": number % per_node, "SLURM_NTASKS": count, "SLURM_STEP_ID": 0}
        about |= {"SLURMD_NODENAME": f"n{node + 1}"}  # type: ignore[dict-item]
        environment = os.environ | {name: str(value) for name, value in about.items()}
        folder = os.environ.get(f"FAKE_CWD_N{node + 1}")
        tasks.append(subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, cwd=folder))
    signal.signal(signal.SIGTERM, lambda *_: [task.kill() for task in tasks] and sys.exit(143))
    threading.Thread(target=_broadcast, args=(tasks,), daemon=True).start()
    codes: dict[int, int] = {}
    while len(codes) < count:
        for number, task in enumerate(tasks):
            if number not in codes and (code := task.poll()) is not None:
                codes[number] = code
                if code:
                    said = f"Exited with exit code {code}" if code > 0 else signal.strsignal(-code)
                    print(f"srun: error: n{number // per_node + 1}: task {number}: {said}", file=sys.stderr)
                    for other in tasks:
                        other.kill()
        time.sleep(0.02)
    return max(code if code >= 0 else 128 - code for code in codes.values())


def _broadcast(tasks: list[Any]) -> None:
    while block := os.read(0, 4096):
        for task in tasks:
            try:
                task.stdin.write(block)
                task.stdin.flush()
            except OSError:
                continue
    for task in tasks:
        task.stdin.close()


if __name__ == "__main__":
    sys.exit(srun(sys.argv[1:]))
