"""vLLM sampler: completions from vLLM's OpenAI server, weights pushed after every update.

Colocated: each rank starts a server of its own, a child process on a socket that only this user can open. Served: all
ranks use the server at `launch.vllm_url`. Either way the server gets the question and the image as they are, never
expanded ids, and must tokenize them exactly as the trainer does. Its log-probs are those of the sampling distribution
(processed), without defaults from the model's files; image tokens are banned on both sides.
"""

import atexit
import base64
import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from wethink.common.errors import UserError
from wethink.common.keys import read_key
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.data.schema import Item, problem_parts, row_images
from wethink.generation.in_process import Completion
from wethink.models.batching import Images, Picture, Prompt
from wethink.models.lora import adapters, merge
from wethink.models.policy import Processor, save_processor, save_weights
from wethink.training.ranks import Ranks, barrier

START_SECONDS = 600.0  # a large model is read from disk first
ANSWER_SECONDS = 1800.0  # timeout of one request
PARALLEL = 64  # requests in flight per rank; the engine batches them
REQUIRED = {"logprobs_mode": "processed_logprobs", "generation_config": "vllm"}

# On a CPU: after a chunked prefill vLLM 0.32 rewinds the random generator of the request, which CPU generators cannot.
WHOLE_PROMPTS = ("--no-enable-chunked-prefill",)


class Server:
    """vLLM server: a child process on a Unix socket, or a server that runs elsewhere."""

    def __init__(self, folder: Path, launch: Launch, context: int, ranks: Ranks, images: int = 1) -> None:
        """Start a server of `folder`'s model for at most `images` a prompt, or connect to launch.vllm_url.

        Raises:
            UserError: vLLM is not installed, ends or does not answer in time, or runs with other settings.
        """
        self.url = launch.vllm_url
        self.child: subprocess.Popen[bytes] | None = None
        self.home = Path(tempfile.mkdtemp(prefix="wethink-vllm-"))  # mode 0700; short, as socket paths must be
        self.socket = self.home / "socket"
        self.sleeps = launch.device == "cuda" and self.url is None
        self.asleep = False
        atexit.register(self.close)
        try:
            if self.url is None:
                self._start(folder, launch, context, images)
            self._wait()
            self.model = str(self.get("/v1/models")["data"][0]["id"])
            self._check_settings()
        except BaseException:
            self.close()
            raise

    def _start(self, folder: Path, launch: Launch, context: int, images: int) -> None:
        python = Path(launch.vllm_python).absolute()
        if not python.exists():
            raise UserError(
                f"launch.vllm_python names {launch.vllm_python}, which does not exist; "
                "`make .venv-vllm/.installed` builds it, or set grpo.sampler to in_process."
            )
        command = [str(python), "-P", str(Path(__file__).with_name("vllm_server.py"))]
        command += ["--model", str(folder.absolute()), "--uds", str(self.socket), "--max-model-len", str(context)]
        command += ["--logprobs-mode", REQUIRED["logprobs_mode"], "--generation-config", REQUIRED["generation_config"]]
        command += ["--limit-mm-per-prompt", json.dumps({"image": images, "video": 0}), "--seed", "0"]
        command += ["--chat-template-content-format", "openai", "--disable-uvicorn-access-log"]
        environment = os.environ | {
            "VLLM_SERVER_DEV_MODE": "1",  # enables the endpoints that push weights
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        if launch.device == "cuda":
            command += ["--gpu-memory-utilization", str(launch.vllm_memory), "--enable-sleep-mode"]
            visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
            local = int(os.environ.get("LOCAL_RANK", "0"))
            environment["CUDA_VISIBLE_DEVICES"] = visible[local] if len(visible) > local and visible[0] else str(local)
        else:
            command += ["--dtype", "float32", "--enforce-eager", *WHOLE_PROMPTS]
            command += ["--max-num-batched-tokens", str(max(context, 2048))]
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
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self._call("GET", "/health", None, 10.0)
                return
            except (OSError, http.client.HTTPException, UserError) as error:
                if self.child is not None and self.child.poll() is not None:
                    self._died()
                if time.monotonic() > deadline:
                    raise UserError(
                        f"vLLM did not answer within {START_SECONDS:g} s ({error}). {self._where()}"
                    ) from None
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

    def _check_settings(self) -> None:
        """Check the settings whose defaults in vLLM are wrong for training.

        The defaults return log-probs before the temperature, and apply penalties from a model's files.

        Raises:
            UserError: a setting differs from `REQUIRED`.
        """
        found = self.get("/server_info?config_format=json")["vllm_config"]["model_config"]
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
            raise UserError(f"vLLM refused {method} {path} ({answer.status}): {text[:500]}. {self._where()}")
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
        """Load the weights of a checkpoint folder and reset all caches."""
        self.wake()
        self.post("/collective_rpc", {"method": "reload_weights", "kwargs": {"weights_path": str(weights.absolute())}})
        for cache in ("encoder", "mm", "prefix"):
            self.post(f"/reset_{cache}_cache")

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


class Vllm:
    """Sampler (`wethink.generation.sampler.Sampler`) backed by a vLLM server."""

    def __init__(
        self, processor: Processor, config: Grpo, launch: Launch, scratch: Path, ranks: Ranks, images: int = 1
    ) -> None:
        self.processor, self.config, self.launch, self.ranks = processor, config, launch, ranks
        self.most = max(1, images)  # images a prompt
        self.home = scratch / "vllm"
        self.running: Server | None = None

    @property
    def server(self) -> Server:
        assert self.running is not None, "sync comes before sample"
        return self.running

    def sync(self, model: Any, step: int) -> None:
        """Write the weights on rank 0 and load them into every server.

        Each rank loads its child server; rank 0 alone loads a shared one.
        """
        folder = self.home / f"step-{step}"
        if self.ranks.first:
            shutil.rmtree(self.home, ignore_errors=True)
            raw = dict(model.named_parameters())
            # On a CPU vLLM packs a tied head at start and not again when weights are reloaded: it would keep the
            # first weights. An untied head is reloaded like every other layer.
            untie = self.launch.device == "cpu"
            save_weights(model, merge(model, raw) if adapters(model) else raw, folder, untie)
            save_processor(self.processor, folder)
        self._together()
        if self.running is None:
            self.running = Server(folder, self.launch, self.launch.vllm_context, self.ranks, self.most)
            if self.running.url and self.ranks.first:
                self.running.load(folder)
        elif self.running.url is None or self.ranks.first:
            self.running.load(folder)
        self._together()
        if self.ranks.first:
            shutil.rmtree(self.home)

    def _together(self) -> None:
        if self.ranks.world > 1:
            barrier()

    def sample(
        self, rows: Sequence[Item], prompts: Sequence[Prompt], images: Images, step: int, seed: int
    ) -> list[list[Completion]]:
        """Return G completions per row; all rows are requested concurrently."""
        self.server.wake()
        with ThreadPoolExecutor(min(PARALLEL, max(1, len(rows)))) as pool:
            asked = [
                pool.submit(self._ask, row, prompt, images, step, seed)
                for row, prompt in zip(rows, prompts, strict=True)
            ]
            found = [future.result() for future in asked]
        self.server.sleep()
        return found

    def _ask(self, row: Item, prompt: Prompt, images: Images, step: int, seed: int) -> list[Completion]:
        shown = iter(prompt.pictures)
        content = [
            self._shown(next(shown), images) if part is None else {"type": "text", "text": part}
            for part in problem_parts(row["problem"], len(row_images(row)))
        ]
        answer = self.server.post(
            "/v1/chat/completions",
            {
                "model": self.server.model,
                "messages": [{"role": "user", "content": content}],
                "n": self.config.num_generations,
                "temperature": self.config.temperature,
                "max_completion_tokens": self.config.max_completion_length,
                "seed": zlib.crc32(f"{seed} {step} {row['id']}".encode()),
                "stop_token_ids": list(self.processor.stop_ids),
                "logit_bias": {str(token): -100.0 for token in self.processor.banned},
                "logprobs": True,
                "return_token_ids": True,
                # Options that training cannot reproduce are turned off explicitly, whatever the server's defaults.
                "top_p": 1.0, "top_k": 0, "min_p": 0.0,
                "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
            },
        )  # fmt: skip
        if answer["prompt_token_ids"] != prompt.ids.tolist():
            raise UserError(
                f"vLLM reads row {row['id']} as {len(answer['prompt_token_ids'])} tokens, the trainer as "
                f"{len(prompt.ids)} (or different ones); give both the same processor files and pixel budget."
            )
        return [self._completion(choice, row) for choice in sorted(answer["choices"], key=lambda c: int(c["index"]))]

    def _shown(self, picture: Picture, images: Images) -> dict[str, Any]:
        """Return an image as a part of a message, resized as the trainer does."""
        # Pixels from another library's resize change log-probs by 0.01.
        patch = self.processor.image_processor.patch_size
        size = (picture.grid[2] * patch, picture.grid[1] * patch)
        file, method = io.BytesIO(), Image.Resampling(self.processor.image_processor.resample)
        images.open(picture.name).resize(size, method).save(file, "PNG")
        url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        return {"type": "image_url", "image_url": {"url": url}}

    def _completion(self, choice: dict[str, Any], row: Item) -> Completion:
        ids = tuple(int(token) for token in choice["token_ids"])
        logps = tuple(float(entry["logprob"]) for entry in choice["logprobs"]["content"])
        if len(ids) != len(logps) or set(ids) & set(self.processor.banned):
            raise UserError(
                f"vLLM's answer to row {row['id']} holds a banned token or lacks log-probs; it cannot be used."
            )
        return Completion(ids, logps, ids[-1] in self.processor.stop_ids)

    def close(self) -> None:
        if self.running is not None:
            self.running.close()
            self.running = None
