"""DeepSpeed's launcher as a process that ends with its stage: `python -m wethink.training.deepspeed_launcher`.

It leads a session of its own, so no signal reaches it through its stage. Killed with its stage's DVC or flow it would
start ranks a while later on a busy machine, only for them to see that they have lost their owners.
"""

import os
import runpy

from wethink.common.processes import GROUPS, die_with_owners

if __name__ == "__main__":
    GROUPS.add(os.getpgrp())
    die_with_owners()
    runpy.run_module("deepspeed.launcher.runner", run_name="__main__", alter_sys=True)
