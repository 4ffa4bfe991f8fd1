"""Requests, endpoints and a call of the client, for the tests of this folder."""

import asyncio
from pathlib import Path
from typing import Any

from wethink.clients.chat import Chat
from wethink.clients.request import Request
from wethink.clients.response_store import ResponseStore
from wethink.config.launch import Endpoint

FORM = {"type": "object", "properties": {"questions": {"type": "array"}}, "required": ["questions"]}


def request(number: int = 0, **changes: Any) -> Request:
    given = {"role": "mine", "endpoint": "here", "model": "m", "revision": None, "system": "s", "user": f"u {number}"}
    form = {"picture": None, "schema_name": "Missing", "schema": FORM, "temperature": 0.0, "max_tokens": 50}
    return Request(**(given | form | changes))


def endpoint(url: str, **changes: Any) -> Endpoint:
    return Endpoint.model_validate({"url": f"{url}/v1", "concurrency": 8, "deadline_seconds": 20.0} | changes)


def ask(store: Path | str, requests: list[Request], where: Endpoint, **options: Any) -> list[Any]:
    """The answer, or the exception, of each request; all asked at once."""

    async def run() -> list[Any]:
        with ResponseStore(store) as answers:
            async with Chat({"here": where}, answers, **options) as chat:
                return await asyncio.gather(*map(chat.ask, requests), return_exceptions=True)

    return asyncio.run(run())


def ledger(store: Path) -> list[dict[str, Any]]:
    with ResponseStore(store) as answers:
        return answers.ledger()
