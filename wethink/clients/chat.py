"""One asynchronous client for every role of every endpoint that speaks chat completions. The only importer of openai.

What is stored is never asked again. A call has a deadline; what may pass (429, 5xx, a reset, a stall) is tried
again with growing, jittered pauses, and `Retry-After` is honoured. An endpoint that fails in a row is paused as
a whole, so that no queue burns against it. Keys come from the environment and go nowhere else: no message here
repeats what a server wrote, because some quote the key.
"""

import asyncio
import contextlib
import email.utils
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from wethink.clients.circuit_breaker import Breaker
from wethink.clients.request import Request
from wethink.clients.response_store import Answer, Call, ResponseStore
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.config.launch import Endpoint

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MAX_REPLY_CHARS = 65_536  # a longer reply is no answer
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds
LONGEST_WAIT = 600.0  # that a Retry-After may ask for
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Unavailable(Exception):
    """A call that brought no answer; `retryable`: another start may have more luck."""

    def __init__(self, reason: str, retryable: bool) -> None:
        super().__init__(reason)
        self.reason, self.retryable = reason, retryable


class Chat:
    """Asks endpoints. Use as an asynchronous context manager."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        store: ResponseStore,
        max_cost: float | None = None,
        share: int = 1,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    ) -> None:
        """`max_cost` bounds the store's whole ledger, in the currency of the prices.

        `share`: how many processes divide an endpoint's concurrency among them.
        """
        self._endpoints, self._store, self._max_cost, self._say = dict(endpoints), store, max_cost, say
        self._clients: dict[str, AsyncOpenAI] = {}
        self._slots = {name: asyncio.Semaphore(max(1, e.concurrency // share)) for name, e in endpoints.items()}
        self._breakers = {name: Breaker() for name in endpoints}
        self._flights: dict[str, asyncio.Future[Answer]] = {}
        self._stopped: UserError | None = None
        self.cost, self.bought = store.spent(), 0  # of the whole ledger; answers bought by this object

    async def __aenter__(self) -> "Chat":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.close()

    async def ask(self, request: Request) -> Answer:
        """The answer: stored, in flight already, or bought now.

        Raises:
            Unavailable: this call failed, for good or after all its attempts.
            UserError: nothing of the kind will succeed (no key, a wrong name, no budget, an endpoint that is down);
                no further call goes out afterwards, while those on their way come home.
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
            if isinstance(error, UserError):
                self._stopped = self._stopped or error
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
        """Attempts, until one is answered; a place in the queue is held only while one is on its way or due."""
        endpoint, breaker = self._endpoints[request.endpoint], self._breakers[request.endpoint]
        pause, last = 0.0, "no attempt"
        for attempt in range(endpoint.attempts):
            await asyncio.sleep(pause)
            async with self._slots[request.endpoint], breaker.passage() as trial:
                if stored := self._store.get(key):  # bought meanwhile, by a process beside this one
                    return stored
                found = await self._attempt(request, key, endpoint)
                if isinstance(found, Answer) or not found.retryable:
                    breaker.succeeded()
                else:
                    breaker.failed(trial)
            if isinstance(found, Answer):
                return found
            if not found.retryable:
                raise Unavailable(found.name, retryable=False)
            if breaker.down_for > endpoint.give_up_seconds:
                raise UserError(
                    f"endpoint '{request.endpoint}' has not answered for {breaker.down_for:.0f} s ({found.name}); "
                    "what is paid for is kept: start again when it is back.",
                    exit_code=TRY_AGAIN_LATER,
                )
            last, pause = found.name, max(found.wait, _backoff(attempt))
        raise Unavailable(f"{last} after {endpoint.attempts} attempts", retryable=True)

    async def _attempt(self, request: Request, key: str, endpoint: Endpoint) -> "Answer | _Fault":
        """Send once, and write down what came of it."""
        if self._stopped is not None:
            raise self._stopped
        client = self._client(request.endpoint)
        with self._budgeted(request, endpoint) as promise:
            start = time.monotonic()
            try:
                found, prompt, completion = await self._send(client, request, endpoint)
            except _Fault as fault:
                seconds = time.monotonic() - start
                self._store.failed(Call(key, request.role, request.endpoint, request.model, fault.name, seconds))
                return fault
            cost, seconds = _cost(endpoint, prompt, completion), time.monotonic() - start
            call = Call(
                key, request.role, request.endpoint, request.model, "answered", seconds, prompt, completion, cost
            )
            self._store.put(found, call, promise)
        self.cost, self.bought = self.cost + cost, self.bought + 1
        return found

    @contextlib.contextmanager
    def _budgeted(self, request: Request, endpoint: Endpoint) -> Iterator[int | None]:
        """Set aside the most that an attempt may cost; an attempt that could pass max_cost is not sent."""
        dearest = _cost(endpoint, request.most_prompt_tokens(), request.max_tokens)
        if self._max_cost is None or not dearest:
            yield None
            return
        promise = self._store.reserve(dearest, self._max_cost)
        if promise is None:
            raise UserError(
                f"synthesize.max_cost is {self._max_cost:g}, {self._store.spent():.4g} are spent, and the next call "
                "could pass it; what is paid for is kept. Raise it and start again."
            )
        try:
            yield promise
        finally:
            self._store.release(promise)

    async def _send(self, client: "AsyncOpenAI", request: Request, endpoint: Endpoint) -> tuple[Answer, int, int]:
        import openai

        try:
            async with asyncio.timeout(endpoint.deadline_seconds):
                reply = await client.chat.completions.create(**request.body())
            return _read(reply, request)
        except (openai.APITimeoutError, TimeoutError):
            raise _Fault("no answer in time", retryable=True) from None
        except openai.APIStatusError as error:
            raise _status_fault(error.status_code, error.response.headers, request, endpoint) from None
        except openai.APIConnectionError:  # refused, reset, closed half-way
            raise _Fault("connection lost", retryable=True) from None
        except (openai.APIError, ValueError, AttributeError, TypeError):  # a body that is no chat completion
            raise _Fault("no chat completion", retryable=True) from None

    def _client(self, name: str) -> "AsyncOpenAI":
        """The endpoint's client, made at its first use, which says so if images leave the machine."""
        if name not in self._clients:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient

            endpoint = self._endpoints[name]
            require_keys({name: endpoint})
            host = urlsplit(endpoint.url).hostname or endpoint.url
            if host not in LOOPBACK:
                self._say(f"endpoint '{name}': images and questions are sent to {host}, which is not this machine.")
            # No redirects: images go where params.yaml says. No proxy for this machine itself.
            http = DefaultAsyncHttpxClient(
                follow_redirects=False, trust_env=host not in LOOPBACK, timeout=endpoint.deadline_seconds
            )
            key = os.environ[endpoint.key_env] if endpoint.key_env else "none"
            self._clients[name] = AsyncOpenAI(base_url=endpoint.url, api_key=key, max_retries=0, http_client=http)
        return self._clients[name]


def require_keys(endpoints: Mapping[str, Endpoint]) -> None:
    """Refuse an endpoint whose key is not there, before anything is bought from the others.

    Raises:
        UserError: names the endpoint and its environment variable.
    """
    for name, endpoint in endpoints.items():
        if endpoint.key_env is not None and not os.environ.get(endpoint.key_env):
            raise UserError(
                f"endpoint '{name}' (launch.endpoints) wants its key in the environment variable "
                f"{endpoint.key_env}, which is not set."
            )


class _Fault(Exception):
    """What became of one attempt; `wait`: seconds that the endpoint asked for."""

    def __init__(self, name: str, retryable: bool, wait: float = 0.0) -> None:
        super().__init__(name)
        self.name, self.retryable, self.wait = name, retryable, wait


def _read(reply: Any, request: Request) -> tuple[Answer, int, int]:
    """Answer, prompt tokens and completion tokens of a response; servers may leave any field out."""
    if not getattr(reply, "choices", None):
        raise _Fault("no chat completion", retryable=True)
    choice = reply.choices[0]
    text, refusal = choice.message.content or "", getattr(choice.message, "refusal", None)
    finish = "length" if choice.finish_reason == "length" else "stop"
    if refusal or choice.finish_reason == "content_filter":
        text, finish = str(refusal or text), "refusal"
    usage = getattr(reply, "usage", None)  # without one, the bill is an estimate
    prompt = getattr(usage, "prompt_tokens", None) or request.prompt_tokens()
    completion = getattr(usage, "completion_tokens", None) or len(text) // 3
    if len(text) > MAX_REPLY_CHARS:
        text, finish = text[:MAX_REPLY_CHARS], "overlong"
    return Answer(_storable(text), finish), int(prompt), int(completion)


def _storable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # JSON may escape half a surrogate pair; UTF-8 cannot hold it


def _status_fault(status: int, headers: Mapping[str, str], request: Request, endpoint: Endpoint) -> Exception:
    """What a status code means. Bodies are not repeated: some servers quote the key in them."""
    where = f"endpoint '{request.endpoint}' ({endpoint.url})"
    if status in (401, 403):
        named = f"the key in {endpoint.key_env}" if endpoint.key_env else "a call without a key; set its key_env"
        return UserError(f"{where} refuses {named} (HTTP {status}).")
    if status == 404:
        return UserError(f"{where} knows no model '{request.model}', or its url lacks the /v1 (HTTP 404).")
    if 300 <= status < 400:
        return UserError(f"{where} redirects (HTTP {status}), which is not followed; write its new url.")
    retryable = status in (408, 409, 425, 429) or status >= 500
    return _Fault(f"HTTP {status}", retryable, _retry_after(headers.get("retry-after")))


def _retry_after(value: str | None) -> float:
    """Seconds that a Retry-After header asks for: a number, or a date."""
    if not value:
        return 0.0
    try:
        return min(LONGEST_WAIT, max(0.0, float(value)))
    except ValueError:
        pass
    try:
        return min(LONGEST_WAIT, max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time()))
    except (ValueError, TypeError):
        return 0.0


def _backoff(attempt: int) -> float:
    """Seconds before the next attempt: doubling, and jittered so that callers do not return in step."""
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * float(2**attempt)) * random.uniform(0.5, 1.0)


def _cost(endpoint: Endpoint, prompt: int, completion: int) -> float:
    return (prompt * endpoint.price_prompt + completion * endpoint.price_completion) / 1e6
