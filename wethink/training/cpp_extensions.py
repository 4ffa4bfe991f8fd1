"""Build of DeepSpeed's C++ extensions, with a deadline and without stale locks.

PyTorch guards a build by a lock file, which a killed build leaves behind; every later run then waits for it for ever.
Here a `flock`, which ends with its process, guards the build, so a lock file found under the `flock` is stale and is
removed. The build is a child process that the deadline kills.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time

from wethink.common.errors import UserError
from wethink.common.paths import WORK

EXTENSIONS = WORK / "extensions"
BUILDERS = {"cpu_adam": "CPUAdamBuilder"}  # of deepspeed.ops.op_builder


def prepare_extension(name: str, deadline_minutes: float) -> None:
    """Build an extension once; concurrent ranks wait for the one that builds.

    Raises:
        UserError: the compiler failed or took too long; the message names the log.
    """
    EXTENSIONS.mkdir(parents=True, exist_ok=True)
    log = EXTENSIONS / f"{name}.log"
    with (EXTENSIONS / f"{name}.guard").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if (EXTENSIONS / f"{name}.built").exists():
            return
        for stale in EXTENSIONS.glob(f"**/{name}/lock"):
            stale.unlink()
        program = f"from deepspeed.ops import op_builder; op_builder.{BUILDERS[name]}().load()"
        environment = os.environ | {"TORCH_EXTENSIONS_DIR": str(EXTENSIONS.resolve()), "MAX_JOBS": "2"}
        started = time.monotonic()
        with log.open("w") as output:
            child = subprocess.Popen(
                [sys.executable, "-c", program], env=environment, stdout=output, stderr=output, start_new_session=True
            )
            try:
                code = child.wait(timeout=deadline_minutes * 60)
            except subprocess.TimeoutExpired:
                code = None
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
        if code != 0:
            raise UserError(
                f"building DeepSpeed's '{name}' {'failed' if code else 'passed the deadline'} ({log}); it needs g++ "
                'and ninja. Or set "torch_adam": true in the file that launch.deepspeed names, which needs no build.'
            )
        (EXTENSIONS / f"{name}.built").write_text(f"{time.monotonic() - started:.1f}")


def build_seconds() -> float:
    """Return the total build time of all built extensions, in seconds."""
    return sum(float(path.read_text(encoding="utf-8") or 0) for path in EXTENSIONS.glob("*.built"))
