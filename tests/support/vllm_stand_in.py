"""Stand-in for a vLLM server: the same requests and replies, answered by the sampler of this process."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from wethink.data.schema import IMAGE
from wethink.generation.responses import Asked, Decoding, InMemory, encode
from wethink.generation.sampler import InProcess
from wethink.models.policy import load_model, load_processor

SETTINGS = {"logprobs_mode": "processed_logprobs", "generation_config": "vllm"}


class StandIn:
    """State of the server: settings, weights and what it was asked."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = dict(SETTINGS)
        self.questions, self.pushes = 0, 0
        self.dies_at: int | None = None  # number of the question at which it breaks the connection
        self.is_stale = False  # it keeps the first weights
        self.held = 0  # how often it refuses to drop its prefix cache
        self.sampler: InProcess | None = None
        self._one = threading.Lock()

    def answer(self, path: str, body: Any) -> Any:
        if path == "/v1/models":
            return {"data": [{"id": "policy"}]}
        if path == "/version":
            return {"version": "stand-in"}
        if path.startswith("/server_info"):
            return {"vllm_config": {"model_config": self.settings}}
        if path == "/collective_rpc":
            return self.load(Path(body["kwargs"]["weights_path"]))
        if path == "/reset_prefix_cache":
            self.held -= 1
            return {"success": self.held < 0}
        return self.complete(body) if path == "/v1/chat/completions" else {}

    def load(self, folder: Path) -> dict[str, Any]:
        self.pushes += 1
        if self.sampler is None or not self.is_stale:
            self.sampler = InProcess(load_processor(folder), torch.device("cpu"))
            self.sampler.sync(load_model(folder, dtype=None), 0)
        return {"results": [None]}

    def complete(self, body: Any) -> Any:
        with self._one:
            self.questions += 1
            if self.dies_at is not None and self.questions >= self.dies_at:
                raise ConnectionAbortedError
            assert self.sampler is not None
            system, pictures, text = None, dict[str, Image.Image](), ""
            for message in body["messages"]:
                if message["role"] == "system":
                    system = "".join(part["text"] for part in message["content"])
                    continue
                for part in message["content"]:
                    if part["type"] == "text":
                        text += part["text"]
                        continue
                    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                    pictures[str(len(pictures))] = Image.open(io.BytesIO(data)).convert("RGB")
                    text += IMAGE
            asked = Asked(text, tuple(pictures), str(body["seed"]), system=system)
            prompts = encode([asked], InMemory(pictures), self.sampler.processor)
            decoding = Decoding(body["max_completion_tokens"], body["temperature"], samples=body["n"])
            (group,) = self.sampler.sample([asked], InMemory(pictures), decoding, prompts)
        choices = [
            {"index": i, "token_ids": one.ids, "logprobs": {"content": [{"logprob": logp} for logp in one.logps]}}
            for i, one in enumerate(group)
        ]
        return {"prompt_token_ids": prompts[0].ids.tolist(), "choices": choices}


class Answering(Protocol):
    """What answers requests in the place of a server."""

    def answer(self, path: str, body: Any) -> Any: ...


@contextmanager
def served(said: Answering) -> Iterator[str]:
    """Yield the address, on loopback, at which `said` answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(None)

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.reply(json.loads(text) if text else None)

        def reply(self, body: Any) -> None:
            try:
                status, text = 200, json.dumps(said.answer(self.path, body)).encode()
            except ConnectionAbortedError:
                self.close_connection = True
                return
            except Exception as error:  # as vLLM answers what it cannot do
                status, text = 500, json.dumps({"error": str(error)}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


@contextmanager
def serving() -> Iterator[tuple[StandIn, str]]:
    """Yield a stand-in and its address, on loopback."""
    said = StandIn()
    with served(said) as url:
        yield said, url
