"""vLLM's OpenAI server as a child process that ends with its parent.

It runs under the Python of `.venv-vllm`, as a file and with vLLM's own arguments, so it imports no wethink module.
"""

import os
import runpy
import signal
import threading
import time


def end_with_parent() -> None:
    """Kill this process group within a second of the parent's death.

    The group includes vLLM's engine cores.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    if os.getpgrp() == os.getpid():  # only if the parent gave this process its own group
        end_with_parent()
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)
