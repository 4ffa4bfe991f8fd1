"""Scripted chat-completions server with injected faults: HTTP on loopback, in its own process.

    python -m tests.support.chat_server --address FILE [--faults .3] [--content .1] [--latency .01] [--stall 30]

A response is a function of the request alone (chat_script.py), content faults included (truncated JSON, wrong fields,
refusals, prompt injections, a reply of 1 MB). Transport faults are random: latency, 429 with Retry-After, 500, resets,
stalls, half a body, a page of HTML. Refusals: `--status` to all, or only `--after` so many answers and `--until` a file
is there; `--poisoned` for a share of the requests; `--refuses` for parameters. `GET /stats` returns counts.
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.support.chat_script import SHAPES, chance, content_of, form_of, objection, shaped

TRANSPORT = ("slow", "429", "500", "reset", "stall", "half", "html")


class Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.random = options, random.Random()
        self.sent: Counter[str] = Counter()  # request → answers that went out whole
        self.faults: Counter[str] = Counter()
        self.clients: Counter[str] = Counter()  # address → requests
        self.received = self.in_flight = self.most = self.answered = self.probes = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                headers = {}
                while (header := await reader.readline()) not in (b"\r\n", b""):
                    name, _, value = header.decode("latin-1").partition(":")
                    headers[name.strip().lower()] = value.strip()
                data = await reader.readexactly(int(headers.get("content-length", 0)))
                if line.startswith(b"GET"):
                    self.respond(writer, 200, self.stats())
                else:
                    self.clients[writer.get_extra_info("peername")[0]] += 1
                    if not await self.complete(data, headers, writer):
                        return
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def complete(self, data: bytes, headers: dict[str, str], writer: asyncio.StreamWriter) -> bool:
        """Answer a chat completion; False: the connection is gone."""
        self.received += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            key = self.options.key
            if key and headers.get("authorization") != f"Bearer {key}":
                self.respond(writer, 401, {"error": {"message": f"bad key {headers.get('authorization')}"}})
                return True
            await asyncio.sleep(self.options.latency)
            body, options = json.loads(data), self.options
            if options.status and self.answered >= options.after and not (options.until and options.until.exists()):
                later = {"Retry-After": options.retry_after} if options.retry_after else None
                self.respond(
                    writer, options.status, {"error": {"message": options.words or f"you sent {headers}"}}, later
                )
                return True
            said = objection(body, options.refuses.split(","))
            if said is not None:
                self.respond(writer, 400, {"error": {"message": "no" if options.terse else said}})
                return True
            is_probe = "Reply with the word OK." in str(body["messages"][-1])
            if not is_probe and chance(options.poisoned, body["messages"], "poison"):
                self.respond(writer, options.poison, {"error": {"message": "the image cannot be read"}})
                return True
            if self.random.random() < self.options.faults:
                return await self.fail(writer)
            text, refusal, finish = content_of(body, options.content)
            text = text if form_of(body) else options.text
            message = {"role": "assistant", "refusal": refusal} | shaped(text, options.shape)
            finish = "length" if options.shape == "cut_thinking" else finish
            usage = {"prompt_tokens": len(data) // 8, "completion_tokens": len(text) // 4, "total_tokens": 1}
            choice = {"index": 0, "message": message, "finish_reason": finish}
            head = {"id": "c", "object": "chat.completion", "created": 0, "model": body["model"]}
            self.respond(writer, 200, head | {"choices": [choice], "usage": usage})
            self.answered += 1
            if is_probe:
                self.probes += 1
            else:
                self.sent[hashlib.sha256(data).hexdigest()] += 1
            return True
        finally:
            self.in_flight -= 1

    async def fail(self, writer: asyncio.StreamWriter) -> bool:
        kind = self.random.choice(TRANSPORT)
        self.faults[kind] += 1
        match kind:
            case "slow" | "500":
                await asyncio.sleep(2 * self.options.latency)
                self.respond(writer, 500, {"error": {"message": "a defect"}})
            case "429":
                self.respond(writer, 429, {"error": {"message": "too many"}}, {"Retry-After": "0.2"})
            case "html":
                self.respond(writer, 200, "<html>welcome to the portal</html>", {"Content-Type": "text/html"})
            case "stall":
                await asyncio.sleep(self.options.stall)
                writer.transport.abort()
                return False
            case "half":
                writer.write(
                    b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"choices": ['
                )
                await writer.drain()
                return False
            case _:
                writer.transport.abort()
                return False
        return True

    def respond(
        self, writer: asyncio.StreamWriter, status: int, value: object, headers: dict[str, str] | None = None
    ) -> None:
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        fields = {"Content-Type": "application/json", "Content-Length": str(len(data))} | (headers or {})
        lines = "".join(f"{name}: {text}\r\n" for name, text in fields.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + data)

    def stats(self) -> dict[str, Any]:
        counts = {
            "received": self.received,
            "answered": self.sent.total(),
            "distinct": len(self.sent),
            "probes": self.probes,
            "clients": self.clients,
        }
        return counts | {"most_in_flight": self.most, "faults": dict(self.faults)}


async def run(options: argparse.Namespace) -> None:
    server = await asyncio.start_server(Server(options).serve, options.host, options.port, limit=2**26)
    port = server.sockets[0].getsockname()[1]
    staged = options.address.with_suffix(".tmp")
    staged.write_text(f"http://{options.host}:{port}", encoding="utf-8")
    os.replace(staged, options.address)
    parent = os.getppid()
    while os.getppid() == parent:  # it ends with whoever started it
        await asyncio.sleep(0.2)


@contextmanager
def chat_server(folder: Path, **options: object) -> Iterator[str]:
    """Start one; yields its address without the /v1."""
    address = folder / f"server-{time.monotonic_ns()}"
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "tests.support.chat_server", "--address", str(address), *given]
    with subprocess.Popen(command, cwd=Path(__file__).resolve().parents[2]) as process:
        try:
            until = time.monotonic() + 120
            while not address.exists():
                assert process.poll() is None and time.monotonic() < until, "the chat server did not start"
                time.sleep(0.02)
            yield address.read_text(encoding="utf-8")
        finally:
            process.kill()


def stats(address: str) -> dict[str, Any]:
    with urlopen(f"{address}/stats") as answer:
        return json.load(answer)  # type: ignore[no-any-return]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.support.chat_server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--address", type=Path, required=True, help="file that will hold the address")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--faults", type=float, default=0.0, help="share of requests with a transport fault")
    parser.add_argument("--content", type=float, default=0.0, help="share of requests with a content fault")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds")
    parser.add_argument("--stall", type=float, default=30.0, help="seconds")
    parser.add_argument("--status", type=int, default=0, help="answer everything with this status")
    parser.add_argument("--words", default="", help="what it says then; otherwise it quotes the headers")
    parser.add_argument("--after", type=int, default=0, help="only after so many answers")
    parser.add_argument("--until", type=Path, help="only until this file is there")
    parser.add_argument(
        "--poisoned", type=float, default=0.0, help="share of requests that it refuses for their content"
    )
    parser.add_argument("--poison", type=int, default=400, help="the status of such a refusal")
    parser.add_argument("--refuses", default="", help="parameters that it does not take, with commas")
    parser.add_argument("--terse", type=int, default=0, help="1: it does not say which")
    parser.add_argument("--shape", default="plain", choices=SHAPES, help="where its model's thoughts stand")
    parser.add_argument("--text", default="B", help="the reply where no form is asked for")
    parser.add_argument("--retry_after", default="", help="seconds that such an answer asks for")
    parser.add_argument("--key", default="", help="refuse every other key, and quote it as some servers do")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
