"""One asynchronous client for every role of every endpoint that speaks chat completions. The only importer of openai.

What is stored is never asked again. A call has a deadline; what may pass (429, 5xx, a reset, a stall) is tried
again with growing, jittered pauses, and `Retry-After` is honoured. An endpoint that fails in a row is paused as
a whole, so that no queue burns against it. Keys come from the environment and go nowhere else.
"""

import asyncio
import base64
import email.utils
import math
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wethink.clients.breaker import Breaker
from wethink.clients.store import Answer, AnswerStore, Call
from wethink.config import Endpoint
from wethink.errors import UserError
from wethink.records import content_id

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MAX_REPLY_CHARS = 65_536  # a longer reply is no answer
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PIXELS_PER_TOKEN = 28 * 28  # of a merged visual token of Qwen2.5-VL; an estimate for others


class Unavailable(Exception):
    """A call that brought no answer; `retryable`: another start may have more luck."""

    def __init__(self, reason: str, retryable: bool) -> None:
        super().__init__(reason)
        self.reason, self.retryable = reason, retryable


@dataclass(frozen=True)
class Picture:
    """An image to send: its sha256, its bytes when they are needed, its media type and its pixels."""

    id: str
    load: Callable[[], bytes]
    media_type: str
    pixels: int


@dataclass(frozen=True)
class Request:
    """All that an answer depends on. Two requests with the same key are the same question."""

    role: str  # for the ledger; not part of the key
    endpoint: str  # where; not part of the key either: the same model elsewhere is the same model
    model: str
    revision: str | None
    system: str
    user: str
    picture: Picture | None
    schema_name: str
    schema: Mapping[str, Any] = field(hash=False)
    temperature: float
    max_tokens: int
    sample: int = 0  # of several draws with the same words

    @property
    def key(self) -> str:
        image = self.picture.id if self.picture else None
        sampling = [self.temperature, self.max_tokens, self.sample]
        asked = [self.model, self.revision, self.system, self.user, image, self.schema_name, dict(self.schema)]
        return content_id(*asked, sampling) + content_id(sampling, *asked)

    def prompt_tokens(self) -> int:
        """A generous estimate, for budgets."""
        image = math.ceil(self.picture.pixels / PIXELS_PER_TOKEN) if self.picture else 0
        return image + (len(self.system) + len(self.user)) // 3 + 32


class Chat:
    """Asks endpoints. Use as an asynchronous context manager."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        store: AnswerStore,
        max_cost: float | None,
        give_up_after: float,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    ) -> None:
        """`max_cost` bounds the store's whole ledger, in the currency of the prices; `give_up_after`: seconds."""
        self._endpoints, self._store, self._max_cost = dict(endpoints), store, max_cost
        self._give_up_after, self._say = give_up_after, say
        self._clients: dict[str, AsyncOpenAI] = {}
        self._slots = {name: asyncio.Semaphore(endpoint.concurrency) for name, endpoint in endpoints.items()}
        self._breakers = {name: Breaker() for name in endpoints}
        self._flights: dict[str, asyncio.Future[Answer]] = {}
        self.cost, self._promised = store.spent(), 0.0

    async def __aenter__(self) -> "Chat":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.close()

    async def ask(self, request: Request) -> Answer:
        """The answer: stored, in flight already, or bought now.

        Raises:
            Unavailable: this call failed, for good or after all its attempts.
            UserError: nothing of the kind will succeed (no key, a wrong name, no budget, an endpoint that is down).
        """
        key = request.key
        if stored := self._store.get(key):
            return stored
        if key in self._flights:
            return await asyncio.shield(self._flights[key])
        flight = self._flights[key] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._buy(request, key)
        except BaseException as error:
            if not flight.cancelled():
                flight.set_exception(error if isinstance(error, Exception) else Unavailable("stopped", retryable=True))
                flight.exception()  # nobody need be waiting
            raise
        else:
            flight.set_result(answer)
            return answer
        finally:
            del self._flights[key]

    async def _buy(self, request: Request, key: str) -> Answer:
        endpoint, breaker = self._endpoints[request.endpoint], self._breakers[request.endpoint]
        pause, outcome = 0.0, _Fault("no attempt", retryable=True)
        for attempt in range(endpoint.attempts):
            await asyncio.sleep(pause)
            async with breaker.passage(), self._slots[request.endpoint]:
                found = await self._attempt(request, key, endpoint)
                if isinstance(found, Answer) or not found.retryable:
                    breaker.succeeded()
                else:
                    breaker.failed()
            if isinstance(found, Answer):
                return found
            if not found.retryable:
                raise Unavailable(found.name, retryable=False)
            if breaker.down_for > self._give_up_after:
                raise UserError(
                    f"endpoint '{request.endpoint}' has not answered for {breaker.down_for:.0f} s ({found.name}); "
                    "what is paid for is kept: start again when it is back.",
                    exit_code=75,  # EX_TEMPFAIL: worth a retry
                )
            outcome, pause = found, max(found.wait, _backoff(attempt))
        raise Unavailable(f"{outcome.name}, after {endpoint.attempts} attempts", retryable=True)

    async def _attempt(self, request: Request, key: str, endpoint: Endpoint) -> "Answer | _Fault":
        """Send once, and write down what came of it."""
        dearest = _cost(endpoint, request.prompt_tokens(), request.max_tokens)
        if self._max_cost is not None and self.cost + self._promised + dearest > self._max_cost:
            raise UserError(
                f"synthesize.max_cost is {self._max_cost:g}, {self.cost:.2f} are spent, and the next call could pass it; "
                "what is paid for is kept. Raise it and start again."
            )
        self._promised += dearest
        start = time.monotonic()
        try:
            found, prompt, completion = await self._send(request, endpoint)
        except _Fault as fault:
            seconds = time.monotonic() - start
            self._store.failed(Call(key, request.role, request.endpoint, request.model, fault.name, seconds))
            return fault
        finally:
            self._promised -= dearest
        cost, seconds = _cost(endpoint, prompt, completion), time.monotonic() - start
        call = Call(key, request.role, request.endpoint, request.model, "answered", seconds, prompt, completion, cost)
        self._store.put(found, call)
        self.cost += cost
        return found

    async def _send(self, request: Request, endpoint: Endpoint) -> tuple[Answer, int, int]:
        import openai

        client = self._client(request.endpoint)
        content: list[dict[str, Any]] = [{"type": "text", "text": request.user}]
        if request.picture:
            blob = base64.b64encode(request.picture.load()).decode()
            url = f"data:{request.picture.media_type};base64,{blob}"
            content.insert(0, {"type": "image_url", "image_url": {"url": url}})
        messages: Any = [{"role": "system", "content": request.system}, {"role": "user", "content": content}]
        form: Any = {"name": request.schema_name, "schema": dict(request.schema), "strict": True}
        try:
            async with asyncio.timeout(endpoint.deadline_seconds):
                reply = await client.chat.completions.create(
                    model=request.model,
                    messages=messages,
                    temperature=request.temperature,
                    max_tokens=request.max_tokens,
                    response_format={"type": "json_schema", "json_schema": form},
                )
                return _read(reply)
        except (openai.APITimeoutError, TimeoutError):
            raise _Fault("no answer in time", retryable=True) from None
        except openai.APIStatusError as error:
            raise _status_fault(error.status_code, error.response.headers, request, endpoint) from None
        except (openai.APIError, ValueError) as error:  # a reset, a body that is no JSON, one of another form
            raise _Fault(type(error).__name__, retryable=True) from None

    def _client(self, name: str) -> "AsyncOpenAI":
        """The endpoint's client, made at its first use, which says so if images leave the machine."""
        if name not in self._clients:
            from openai import AsyncOpenAI

            endpoint = self._endpoints[name]
            if endpoint.key_env is not None and not os.environ.get(endpoint.key_env):
                raise UserError(
                    f"endpoint '{name}' (launch.endpoints) wants its key in the environment variable "
                    f"{endpoint.key_env}, which is not set."
                )
            host = urlsplit(endpoint.url).hostname or endpoint.url
            if host not in LOOPBACK:
                self._say(f"endpoint '{name}': images and questions are sent to {host}, which is not this machine.")
            key = os.environ[endpoint.key_env] if endpoint.key_env else "none"
            self._clients[name] = AsyncOpenAI(
                base_url=endpoint.url, api_key=key, max_retries=0, timeout=endpoint.deadline_seconds
            )
        return self._clients[name]


class _Fault(Exception):
    """What became of one attempt; `wait`: seconds that the endpoint asked for."""

    def __init__(self, name: str, retryable: bool, wait: float = 0.0) -> None:
        super().__init__(name)
        self.name, self.retryable, self.wait = name, retryable, wait


def _read(reply: Any) -> tuple[Answer, int, int]:
    """Answer, prompt tokens and completion tokens of a response; servers may leave any field out."""
    if not getattr(reply, "choices", None):
        raise _Fault("a response without choices", retryable=True)
    choice = reply.choices[0]
    text, refusal = choice.message.content or "", getattr(choice.message, "refusal", None)
    finish = "length" if choice.finish_reason == "length" else "stop"
    if refusal or choice.finish_reason == "content_filter":
        text, finish = str(refusal or text), "refusal"
    if len(text) > MAX_REPLY_CHARS:
        text, finish = text[:MAX_REPLY_CHARS], "overlong"
    usage = getattr(reply, "usage", None)
    return Answer(text, finish), int(getattr(usage, "prompt_tokens", 0)), int(getattr(usage, "completion_tokens", 0))


def _status_fault(status: int, headers: Mapping[str, str], request: Request, endpoint: Endpoint) -> Exception:
    """What a status code means. Bodies are not repeated: some servers quote the key in them."""
    where = f"endpoint '{request.endpoint}' ({endpoint.url})"
    if status in (401, 403):
        named = f"the key in {endpoint.key_env}" if endpoint.key_env else "a call without a key; set its key_env"
        return UserError(f"{where} refuses {named} (HTTP {status}).")
    if status == 404:
        return UserError(f"{where} knows no model '{request.model}', or its url lacks the /v1 (HTTP 404).")
    retryable = status in (408, 409, 425, 429) or status >= 500
    return _Fault(f"HTTP {status}", retryable, _retry_after(headers.get("retry-after")))


def _retry_after(value: str | None) -> float:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0


def _backoff(attempt: int) -> float:
    """Seconds before the next attempt: doubling, and jittered so that callers do not return in step."""
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * float(2**attempt)) * random.uniform(0.5, 1.0)


def _cost(endpoint: Endpoint, prompt: int, completion: int) -> float:
    return (prompt * endpoint.price_prompt + completion * endpoint.price_completion) / 1e6
