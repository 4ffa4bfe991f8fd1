"""vLLM sampler: completions from vLLM's OpenAI server, weights pushed after every update.

Colocated: each rank starts a server of its own, a child process on a socket that only this user can open. Served: all
ranks use the server at `launch.vllm_url`. Either way the server gets the question and the image as they are, never
expanded ids, and must tokenize them exactly as the trainer does. Its log-probs are those of the sampling distribution
(processed), without defaults from the model's files; image tokens are banned on both sides.
"""

import base64
import io
import shutil
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file

from wethink.common.errors import UserError
from wethink.config.launch import Launch
from wethink.data.schema import problem_parts
from wethink.generation import memory_files
from wethink.generation.responses import Asked, Completion, Decoding
from wethink.generation.vllm_connection import Server
from wethink.models.batching import Images, Prompt
from wethink.models.context_length import grid_of
from wethink.models.lora import adapters, merge
from wethink.models.policy import Processor, save_config, save_processor

PARALLEL = 64  # requests in flight per rank; the engine batches them


class Vllm:
    """Sampler (`wethink.generation.sampler.Sampler`) backed by a vLLM server."""

    def __init__(
        self,
        processor: Processor,
        launch: Launch,
        scratch: Path,
        device: torch.device,
        images: int = 1,
        colocated: bool = False,
        first: bool = True,
        meet: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep the settings, as in `wethink.generation.sampler.open_sampler`; `sync` starts the server."""
        self.processor, self.launch, self.device, self.colocated = processor, launch, device, colocated
        self.first, self.meet = first, meet
        self.most = max(1, images)  # images a prompt
        self.home = scratch / "vllm"
        self.running: Server | None = None
        self.in_memory = not launch.vllm_url and not launch.hostfile  # every server sees this process
        self._files: list[int] = []
        self._tokenizing = threading.Lock()  # a tokenizer serves one thread at a time

    @property
    def server(self) -> Server:
        assert self.running is not None, "sync comes before sample"
        return self.running

    def sync(self, model: Any, step: int) -> None:
        """Write the weights on rank 0 and load them into every server.

        Each rank loads its child server, from rank 0's memory if all are on one machine; rank 0 alone loads a shared
        one, from the disk.
        """
        folder, self.dtype = self.home / f"step-{step}", next(model.parameters()).dtype
        if self.first:
            self._write(model, folder)
        self.meet()
        if self.running is None:
            self.running = Server(folder, self.launch, self.device, self.dtype, self.most, self.colocated)
            self.versions = {"vllm": self.running.version}
            if self.running.url and self.first:
                self.running.load(folder)
        elif self.running.url is None or self.first:
            self.running.load(folder)
        self.meet()
        if self.first:
            shutil.rmtree(self.home)
            memory_files.release(self._files)

    def _write(self, model: Any, folder: Path) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        raw = dict(model.named_parameters())
        # On a CPU vLLM packs a tied head at start and not again when weights are reloaded: it would keep the first
        # weights. An untied head is reloaded like every other layer.
        tensors = save_config(model, merge(model, raw) if adapters(model) else raw, folder, self.launch.device == "cpu")
        save_processor(self.processor, folder)
        if self.in_memory and memory_files.fits(tensors):
            self._files = memory_files.write(tensors, folder)
        else:
            save_file(tensors, folder / "model.safetensors")

    def sample(
        self, asked: Sequence[Asked], images: Images, decoding: Decoding, prompts: Sequence[Prompt] | None = None
    ) -> Iterator[list[Completion]]:
        """Yield the completions of each question, in order; all questions are requested concurrently."""
        self.server.wake()
        pool = ThreadPoolExecutor(min(PARALLEL, max(1, len(asked))))
        try:
            yield from pool.map(self._ask, asked, prompts or repeat(None), repeat(images), repeat(decoding))
        finally:
            pool.shutdown(cancel_futures=True)
        self.server.sleep()

    def _ask(self, asked: Asked, prompt: Prompt | None, images: Images, decoding: Decoding) -> list[Completion]:
        pictures = [images.open(name) for name in asked.images]
        if prompt is not None:
            grids, ids = [picture.grid for picture in prompt.pictures], prompt.ids.tolist()
        else:
            grids = [grid_of(*picture.size, self.processor) for picture in pictures]
            with self._tokenizing:
                ids = self.processor.prompt_ids(asked.problem, grids, asked.system)
        name = asked.draw or asked.problem[:60]
        if len(ids) + decoding.max_new_tokens > self.launch.vllm_context:
            raise UserError(
                f"the question {name} has {len(ids)} tokens, which with {decoding.max_new_tokens} of an answer exceed "
                f"launch.vllm_context ({self.launch.vllm_context}); raise it, or lower the pixel budget."
            )
        answer = self.server.post("/v1/chat/completions", self._request(asked, pictures, grids, decoding))
        if answer["prompt_token_ids"] != ids:
            raise UserError(
                f"vLLM reads row {name} as {len(answer['prompt_token_ids'])} tokens, the trainer as "
                f"{len(ids)} (or different ones); give both the same processor files and pixel budget."
            )
        return [self._completion(choice, name) for choice in sorted(answer["choices"], key=lambda c: int(c["index"]))]

    def _request(
        self,
        asked: Asked,
        pictures: Sequence[Image.Image],
        grids: Sequence[tuple[int, int, int]],
        decoding: Decoding,
    ) -> dict[str, Any]:
        shown = iter([self._shown(picture, grid) for picture, grid in zip(pictures, grids, strict=True)])
        content = [
            next(shown) if part is None else {"type": "text", "text": part}
            for part in problem_parts(asked.problem, len(asked.images))
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if asked.system is not None:  # "" is no system prompt at all: a template sees an empty list
            parts = [{"type": "text", "text": asked.system}] if asked.system else []
            messages.insert(0, {"role": "system", "content": parts})
        return {
            "model": self.server.model,
            "messages": messages,
            "n": decoding.samples,
            "temperature": decoding.temperature,
            "max_completion_tokens": decoding.max_new_tokens,
            "seed": zlib.crc32(f"{decoding.seed} {asked.step} {asked.draw}".encode()),
            "stop_token_ids": list(self.processor.stop_ids),
            "logit_bias": {str(token): -100.0 for token in self.processor.banned},
            "logprobs": True,
            "return_token_ids": True,
            # Options that training cannot reproduce are turned off explicitly, whatever the server's defaults.
            "top_p": 1.0, "top_k": 0, "min_p": 0.0,
            "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
        }  # fmt: skip

    def _shown(self, picture: Image.Image, grid: tuple[int, int, int]) -> dict[str, Any]:
        """Return an image as a part of a message, resized as the trainer does."""
        # Pixels from another library's resize change log-probs by 0.01.
        patch = self.processor.image_processor.patch_size
        file, method = io.BytesIO(), Image.Resampling(self.processor.image_processor.resample)
        picture.resize((grid[2] * patch, grid[1] * patch), method).save(file, "PNG")
        url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
        return {"type": "image_url", "image_url": {"url": url}}

    def _completion(self, choice: dict[str, Any], name: str) -> Completion:
        ids = tuple(int(token) for token in choice["token_ids"])
        logps = tuple(float(entry["logprob"]) for entry in choice["logprobs"]["content"])
        if len(ids) != len(logps) or set(ids) & set(self.processor.banned):
            raise UserError(f"vLLM's answer to row {name} holds a banned token or lacks log-probs; it cannot be used.")
        return Completion(ids, logps, ids[-1] in self.processor.stop_ids)

    def close(self) -> None:
        if self.running is not None:
            self.running.close()
            self.running = None
