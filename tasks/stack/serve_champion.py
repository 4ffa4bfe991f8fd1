"""vLLM server of the champion, restarted when it changes: `python -m tasks.stack.serve_champion PORT`.

It polls the registry every `EVERY` seconds. The served model's name is always `wethink`; the log has its version.
While a new champion loads (half a minute or more), the server is down.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tasks.stack.layout import HOST
from tasks.tracking import model_registry
from tasks.tracking.mlflow_runs import MODEL
from tasks.tracking.model_registry import Version
from wethink.common.errors import UserError
from wethink.common.paths import WORK
from wethink.config.launch import Launch
from wethink.config.params import load_params

LOG = logging.getLogger("wethink.champion")
WAITING = WORK / "stack" / "champion.waiting"  # touched while there is no champion
EVERY = 10.0  # seconds between polls of the registry


def command(folder: Path, launch: Launch, port: int) -> list[str]:
    """Build vLLM's command for a checkpoint, with the settings of training's sampler.

    A prompt may have as many images as its context holds: rows have no other limit.
    """
    own = ["--model", str(folder), "--served-model-name", MODEL, "--host", HOST, "--port", str(port)]
    own += ["--max-model-len", str(_context(folder, launch)), "--generation-config", "vllm", "--seed", "0"]
    own += ["--limit-mm-per-prompt", json.dumps({"video": 0})]  # images: vLLM's own limit, 999
    if launch.device == "cuda":
        own += ["--gpu-memory-utilization", str(launch.vllm_memory)]
    else:
        own += ["--dtype", "float32", "--enforce-eager"]
    return [str(Path(launch.vllm_python).absolute()), "-m", "vllm.entrypoints.openai.api_server", *own]


def _context(folder: Path, launch: Launch) -> int:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    longest = (config.get("text_config") or config).get("max_position_embeddings", launch.vllm_context)
    return min(launch.vllm_context, int(longest))


def start(version: Version, launch: Launch, port: int) -> "subprocess.Popen[bytes]":
    """Start a server for a version after verifying its files.

    Raises:
        UserError: the checkpoint is missing or was changed.
    """
    quiet = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    if launch.device == "cpu":
        quiet |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
        quiet |= {"OMP_NUM_THREADS": str(launch.threads)}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | quiet
    LOG.info("serving version %s as '%s': %s", version.number, MODEL, version.folder)
    return subprocess.Popen(command(model_registry.verified(version), launch, port), env=environment)


def stop(child: "subprocess.Popen[bytes]") -> None:
    """Stop a server and its engine."""
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    port, launch = int(sys.argv[1]), load_params().launch
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    child: subprocess.Popen[bytes] | None = None
    served: str | None = None
    try:
        while True:
            if child is not None and child.poll() is not None:
                raise UserError(f"vLLM ended with code {child.returncode}; its last lines are above.")
            try:
                now = model_registry.named(model_registry.CHAMPION)
                if now is not None and now.number != served:
                    if child is not None:
                        stop(child)
                    child, served = start(now, launch, port), now.number
                elif now is None:
                    WAITING.touch()
            except UserError:
                raise
            except Exception as error:  # process boundary: while the registry is unavailable, keep serving
                LOG.warning("%s: %s; the served version stays.", type(error).__name__, str(error).splitlines()[0])
            time.sleep(EVERY)
    except UserError as error:
        print(f"wethink champion: {error}", file=sys.stderr)
        return error.exit_code
    finally:
        if child is not None:
            stop(child)


if __name__ == "__main__":
    sys.exit(main())
