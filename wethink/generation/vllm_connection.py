"""Connection to a vLLM server: a child process on a Unix socket, or a server that runs elsewhere."""

import atexit
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch

from wethink.common.errors import UserError
from wethink.common.keys import read_key
from wethink.common.progress import say
from wethink.config.launch import Launch

START_SECONDS = 600.0  # a large model is read from disk first
ANSWER_SECONDS = 1800.0  # timeout of one request
RESET_SECONDS = 60.0  # for requests that have ended to let go of the prefix cache
REQUIRED = {"logprobs_mode": "processed_logprobs", "generation_config": "vllm"}

# On a CPU: after a chunked prefill vLLM 0.32 rewinds the random generator of the request, which CPU generators cannot.
WHOLE_PROMPTS = ("--no-enable-chunked-prefill",)


class Refused(UserError):
    """vLLM answered with an HTTP status other than 200."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """vLLM server: a child process on a Unix socket, or a server that runs elsewhere."""

    def __init__(
        self, folder: Path, launch: Launch, device: torch.device, dtype: torch.dtype, images: int, colocated: bool
    ) -> None:
        """Start a server of `folder`'s model, or connect to launch.vllm_url.

        Args:
            dtype: that the weights are served in.
            images: the largest number of images in a prompt.
            colocated: the server sleeps between the calls, since a trainer needs the GPU's memory.

        Raises:
            UserError: vLLM is not installed, ends or does not answer in time, or runs with other settings.
        """
        self.url = launch.vllm_url
        self.child: subprocess.Popen[bytes] | None = None
        self.home = Path(tempfile.mkdtemp(prefix="wethink-vllm-"))  # mode 0700; short, as socket paths must be
        self.socket = self.home / "socket"
        self.sleeps = colocated and device.type == "cuda" and self.url is None
        self.asleep = False
        atexit.register(self.close)
        try:
            if self.url is None:
                self._start(folder, launch, device, dtype, images)
            self._wait()
            self.model = str(self.get("/v1/models")["data"][0]["id"])
            self.version = str(self.get("/version").get("version", ""))
            self._check_settings(launch.vllm_context)
        except BaseException:
            self.close()
            raise

    def _start(self, folder: Path, launch: Launch, device: torch.device, dtype: torch.dtype, images: int) -> None:
        python = Path(launch.vllm_python).absolute()
        if not python.exists():
            raise UserError(
                f"launch.vllm_python names {launch.vllm_python}, which does not exist; "
                "`make .venv-vllm/.installed` builds it, or set 'sampler' to in_process."
            )
        command = [str(python), "-P", str(Path(__file__).with_name("vllm_server.py"))]
        command += ["--model", str(folder.absolute()), "--uds", str(self.socket)]
        command += ["--max-model-len", str(launch.vllm_context), "--dtype", str(dtype).removeprefix("torch.")]
        command += ["--logprobs-mode", REQUIRED["logprobs_mode"], "--generation-config", REQUIRED["generation_config"]]
        command += ["--limit-mm-per-prompt", json.dumps({"image": images, "video": 0}), "--seed", "0"]
        command += ["--chat-template-content-format", "openai", "--disable-uvicorn-access-log"]
        environment = os.environ | {
            "VLLM_SERVER_DEV_MODE": "1",  # enables the endpoints that push weights
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        if device.type == "cuda":
            command += ["--gpu-memory-utilization", str(launch.vllm_memory)]
            command += ["--enable-sleep-mode"] if self.sleeps else []
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            local = device.index or 0
            environment["CUDA_VISIBLE_DEVICES"] = visible[local] if len(visible) > local and visible[0] else str(local)
        else:
            command += ["--enforce-eager", *WHOLE_PROMPTS]
            command += ["--max-num-batched-tokens", str(max(launch.vllm_context, 2048))]
            environment |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
            environment |= {"OMP_NUM_THREADS": str(launch.threads)}
        for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "PYTHONPATH"):
            environment.pop(name, None)  # the server is not a training rank
        self.log = self.home / "log"
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )

    def _wait(self) -> None:
        begun, told = time.monotonic(), False
        while True:
            try:
                self._call("GET", "/health", None, 10.0)
                return
            except (OSError, http.client.HTTPException, UserError) as error:
                waited = time.monotonic() - begun
                if self.child is not None and self.child.poll() is not None:
                    self._died()
                if isinstance(error, Refused) and error.status < 500:
                    raise  # no vLLM, or a key that is missing: it will not change
                if waited > START_SECONDS:
                    raise UserError(
                        f"vLLM did not answer within {START_SECONDS:g} s ({error}). {self._where()}"
                    ) from None
                if self.url and not told and waited > 5.0:
                    say(f"The vLLM server at {self.url} does not answer yet ({error}); waiting {START_SECONDS:g} s.")
                    told = True
                time.sleep(0.5)

    def _died(self) -> None:
        assert self.child is not None
        raise UserError(f"vLLM ended with code {self.child.poll()}. {self._where()}")

    def _where(self) -> str:
        if self.url:
            return f"Look at the server at {self.url}."
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        causes = [line for line in lines[:-15] if "Error: " in line]  # of the engine; later lines are the API server's
        return "Its first errors and last lines:\n" + "\n".join(causes[:3] + lines[-15:])

    def _check_settings(self, context: int) -> None:
        """Check the settings whose defaults in vLLM are wrong for training.

        The defaults return log-probs before the temperature, and apply penalties from a model's files.

        Raises:
            UserError: a setting differs from `REQUIRED`, the server's context is shorter than `context`, its weights
                are quantised, or it does not tell its settings.
        """
        try:
            found = self.get("/server_info?config_format=json")["vllm_config"]["model_config"]
        except Refused as refused:
            raise UserError(
                f"the vLLM server at {self.url} takes no weights ({refused}); start it with VLLM_SERVER_DEV_MODE=1."
            ) from None
        if method := found.get("quantization"):
            raise UserError(
                f"the vLLM server runs quantised ({method}); start it from the weights as they are trained."
            )
        if (length := int(found.get("max_model_len") or context)) < context:
            raise UserError(
                f"the vLLM server takes {length} tokens, fewer than launch.vllm_context ({context}); start it with "
                f"--max-model-len {context}, or lower launch.vllm_context."
            )
        for name, value in REQUIRED.items():
            if str(found.get(name)) != value:
                raise UserError(
                    f"the vLLM server runs with {name} = {found.get(name)}, but training needs {value}; "
                    f"start it with --{name.replace('_', '-')} {value}."
                )

    def get(self, path: str) -> Any:
        return self._answer("GET", path, None)

    def post(self, path: str, body: object = None) -> Any:
        return self._answer("POST", path, body)

    def _answer(self, method: str, path: str, body: object) -> Any:
        """Send one request with the standard timeout.

        Raises:
            UserError: the server refuses, has ended (with its last log lines) or does not answer in time.
        """
        try:
            return self._call(method, path, body, ANSWER_SECONDS)
        except (OSError, http.client.HTTPException) as error:
            if self.child is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.child.wait(timeout=5.0)  # its connections end before it does
                    self._died()
            raise UserError(f"vLLM did not answer {method} {path} ({error}). {self._where()}") from None

    def _call(self, method: str, path: str, body: object, seconds: float) -> Any:
        """Send one request; return decoded JSON, plain text or None.

        Raises:
            UserError: the server refuses; the message quotes its reply.
            OSError: it cannot be reached.
        """
        with contextlib.closing(self._connection(seconds)) as connection:
            connection.request(
                method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"} | _key()
            )
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status != 200:
            raise Refused(
                f"vLLM refused {method} {path} ({answer.status}): {text[:500]}. {self._where()}", answer.status
            )
        try:
            return json.loads(text) if text else None
        except json.JSONDecodeError:
            return text

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        if self.url is None:
            return _UnixConnection(str(self.socket), seconds)
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        return kind(parts.hostname or "127.0.0.1", parts.port, timeout=seconds)

    def load(self, weights: Path) -> None:
        """Load the weights of a checkpoint folder and reset all caches.

        Raises:
            UserError: the server has another architecture, or cannot drop what it computed with the weights before.
        """
        self.wake()
        call = {"method": "reload_weights", "kwargs": {"weights_path": str(weights.absolute())}}
        try:
            self.post("/collective_rpc", call)
        except Refused as refused:
            raise UserError(
                f"vLLM cannot load this policy's weights: it serves another model, {self.model}, or cannot read the "
                f"folder {weights}. {refused}"
            ) from None
        for cache in ("encoder", "mm"):
            self.post(f"/reset_{cache}_cache")
        deadline = time.monotonic() + RESET_SECONDS
        # vLLM keeps the prefix cache, and answers 200, while a finished request still holds blocks.
        while (self.post("/reset_prefix_cache") or {}).get("success", True) is False:
            if time.monotonic() > deadline:
                raise UserError(
                    f"vLLM did not drop its prefix cache within {RESET_SECONDS:g} s of a push of weights, since other "
                    "requests still run; a server that is trained with must serve nobody else."
                )
            time.sleep(0.02)

    def sleep(self) -> None:
        """Release GPU memory to the trainer (child server on a GPU only)."""
        if self.sleeps and not self.asleep:
            self.post("/sleep?level=1")
            self.asleep = True

    def wake(self) -> None:
        """Reclaim the GPU memory; a sleeping server queues requests for ever."""
        if self.asleep:
            self.post("/wake_up")
            self.asleep = False

    def close(self) -> None:
        """Kill the child server and every process that it started."""
        if self.child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()
            self.child = None
        shutil.rmtree(self.home, ignore_errors=True)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def _key() -> dict[str, str]:
    key = read_key("VLLM_API_KEY")
    return {"Authorization": f"Bearer {key}"} if key else {}
