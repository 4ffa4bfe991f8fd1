"""DeepSpeed launcher process that ends with its training stage.

Run as `python -m wethink.training.deepspeed_launcher`. It leads a session of its own, so signals to its stage do not
reach it; `die_with_owners` ends it together with the stage's DVC or flow. Otherwise it could start ranks after their
owners have died.
"""

import os
import runpy

from wethink.common.processes import GROUPS, block_termination, die_with_owners

if __name__ == "__main__":
    block_termination()  # its handler kills the ranks, which must be able to save (wethink/training/stopping.py)
    GROUPS.add(os.getpgrp())
    die_with_owners()
    runpy.run_module("deepspeed.launcher.runner", run_name="__main__", alter_sys=True)
