"""Benchmark engine over an OpenAI-compatible endpoint; stored responses are reused."""

import asyncio
import base64
import hashlib
import http.client
import io
import json
import urllib.request
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from wethink.clients.chat import Chat, Unavailable, require_keys
from wethink.clients.ordered import gather_all
from wethink.clients.request import Request
from wethink.clients.response_store import Answer, ResponseStore
from wethink.clients.thoughts import split
from wethink.common.errors import UserError
from wethink.common.jsonl import content_id, dumps
from wethink.config.launch import Endpoint
from wethink.config.response_format import ResponseFormat
from wethink.evaluation.benchmarks.engines import Query, Reply, System
from wethink.models.chat_prompts import system_prompt
from wethink.rewards.format import DEFAULT, joined

STORE = Path(".wethink/benchmarks.sqlite")
NAME = "benchmark"


@dataclass(frozen=True)
class Turn(Request):
    """Chat request with text and images in the benchmark's order."""

    pieces: tuple[str | bytes, ...] = ()
    seed: int = 0
    system_sent: bool = False
    ids: tuple[str, ...] = field(default=())  # the pieces as text and hashes

    @property
    def key(self) -> str:
        sampling = [self.temperature, self.max_tokens, self.sample, self.seed if self.temperature > 0 else 0]
        asked = [NAME, self.model, self.revision, self.system if self.system_sent else None, list(self.ids), sampling]
        return hashlib.sha256(dumps(asked).encode()).hexdigest()[:40]

    @property
    def make(self) -> tuple[object, ...]:
        shown = sum(isinstance(piece, bytes) for piece in self.pieces)
        return (self.temperature, self.max_tokens, self.system_sent, shown)

    def body(self) -> dict[str, Any]:
        """Return the arguments of a chat completion, without a response schema."""
        content: list[dict[str, Any]] = []
        for piece in self.pieces:
            if isinstance(piece, str):
                content.append({"type": "text", "text": piece})
            else:
                url = f"data:image/png;base64,{base64.b64encode(piece).decode()}"
                content.append({"type": "image_url", "image_url": {"url": url}})
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self.system_sent:
            messages.insert(0, {"role": "system", "content": self.system})
        drawn = {"seed": self.seed} if self.temperature > 0 else {}
        return {
            "model": self.model,
            "messages": messages,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            **drawn,
        }


class Served:
    """Benchmark engine over an OpenAI-compatible endpoint."""

    def __init__(
        self,
        url: str,
        model: str,
        key_env: str | None,
        max_new_tokens: int,
        concurrency: int,
        store: Path = STORE,
        form: ResponseFormat = DEFAULT,
    ) -> None:
        """Keep the settings; the first query connects. `form` is the response format of the served policy.

        Raises:
            UserError: the url cannot be used, or the key is not set.
        """
        try:
            self._endpoint = Endpoint(url=url.rstrip("/"), key_env=key_env, concurrency=concurrency)
        except ValueError:
            raise UserError(
                "--model: the endpoint's url must be http:// or https://, a host and a path such as /v1, with no key, "
                "user or query in it."
            ) from None
        require_keys({NAME: self._endpoint})
        self._model, self._limit, self._store, self._form = model, max_new_tokens, store, form
        self._runner, self._stack = asyncio.Runner(), AsyncExitStack()
        self._chat: Chat | None = None  # one for all batches: what it learns about the endpoint stays

    def describe(self, system: System) -> dict[str, Any]:
        return {
            "engine": "endpoint",
            "model": self._model,
            "versions": {"server": server_version(self._endpoint.url)},
            "system": {"own": "(the server's template)", "none": "", "wethink": system_prompt(self._form)}[system],
        }

    def answer(self, queries: Sequence[Query]) -> list[Reply]:
        return self._runner.run(self._answer(queries))

    async def _answer(self, queries: Sequence[Query]) -> list[Reply]:
        if self._chat is None:
            store = self._stack.enter_context(ResponseStore(self._store))
            self._chat = await self._stack.enter_async_context(Chat({NAME: self._endpoint}, store))
        chat = self._chat
        return await gather_all(self._one(chat, query) for query in queries)

    async def _one(self, chat: Chat, query: Query) -> Reply:
        try:
            return _reply(await chat.ask(self.turn(query)), self._form)
        except Unavailable as error:
            return Reply("", None, f"endpoint: {error.reason}{f': {error.words}' if error.words else ''}")

    def turn(self, query: Query) -> Turn:
        """Build the request of one query; images are sent as lossless PNG."""
        pieces = tuple(piece if isinstance(piece, str) else _png(piece) for piece in query.pieces)
        ids = tuple(p if isinstance(p, str) else hashlib.sha256(p).hexdigest() for p in pieces)
        return Turn(
            role=NAME,
            endpoint=NAME,
            model=self._model,
            revision=None,
            system=system_prompt(self._form) if query.system == "wethink" else "",
            user=query.text,
            picture=None,
            schema_name="",
            schema={},
            temperature=query.temperature,
            max_tokens=self._limit,
            sample=query.sample,
            pieces=pieces,
            seed=int(content_id(query.draw, query.sample)[:7], 16),
            system_sent=query.system != "own",
            ids=ids,
        )

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


def _reply(answer: Answer, form: ResponseFormat = DEFAULT) -> Reply:
    """Convert a stored response; refusals and cut-off responses are judged as well.

    The benchmark's protocols read the marks of a policy's format themselves. So thoughts that a server has taken out
    of them are put back, and those between other marks get these.
    """
    text, thoughts = answer.text, answer.thoughts
    inside, said = split(text)
    if inside and "</think>" not in text:
        text = joined(inside, said, form)
    elif thoughts and "</think>" not in text and (form.kind == "think" or text.lstrip().startswith("<answer>")):
        text = joined(thoughts, text, form)
    return Reply(text, None, thoughts=thoughts, finish=answer.finish)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def server_version(url: str) -> str:
    """Return vLLM's /version, or '' if the server has none."""
    root = url.removesuffix("/v1")
    try:
        with urllib.request.urlopen(f"{root}/version", timeout=5) as answer:
            return str(json.loads(answer.read(10_000)).get("version", ""))
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return ""
