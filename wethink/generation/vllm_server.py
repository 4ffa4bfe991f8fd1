"""The child process of the vLLM sampler: vLLM's own OpenAI server, which ends when whoever started it ends.

It runs under the Python of `.venv-vllm`, as a file and with arguments of vLLM's, so it imports nothing of ours.
"""

import os
import runpy
import signal
import threading
import time


def end_with_parent() -> None:
    """Kill this process's group (its engine cores too) within a second of the parent's death."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    if os.getpgrp() == os.getpid():  # only where the starter gave us a group of our own
        end_with_parent()
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)
