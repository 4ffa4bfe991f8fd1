"""Asynchronous chat-completions client with stored responses, retries, circuit breakers and a budget.

Stored responses are reused. A call has a deadline; transient faults (429, 5xx, a reset, a stall) are retried with
exponential, jittered backoff that honours `Retry-After`. A circuit breaker pauses an endpoint that fails in a row.
API keys come from the environment and are sent to their endpoint only: no message repeats a server's text, because
some servers quote the key. This is the only module that imports openai.
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
from wethink.clients.request import Request, text_tokens
from wethink.clients.response_store import Answer, Call, ResponseStore
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.common.jsonl import encodable
from wethink.config.launch import Endpoint

if TYPE_CHECKING:
    from openai import AsyncOpenAI

MAX_REPLY_CHARS = 65_536  # a longer reply is cut and stored as 'overlong'
FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds
LONGEST_WAIT = 600.0  # that a Retry-After may ask for
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Unavailable(Exception):
    """A call failed; `retryable`: a later run may succeed."""

    def __init__(self, reason: str, retryable: bool) -> None:
        super().__init__(reason)
        self.reason, self.retryable = reason, retryable


class Chat:
    """Client of all endpoints. Use as an asynchronous context manager."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        store: ResponseStore,
        max_cost: float | None = None,
        share: int = 1,
        say: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
    ) -> None:
        """Create one semaphore and one circuit breaker per endpoint; connect lazily.

        Args:
            max_cost: limit of the store's whole ledger, in the currency of the prices.
            share: number of processes that divide an endpoint's concurrency.
            say: prints notices for people.
        """
        self._endpoints, self._store, self._max_cost, self._say = dict(endpoints), store, max_cost, say
        self._clients: dict[str, AsyncOpenAI] = {}
        self._slots = {name: asyncio.Semaphore(max(1, e.concurrency // share)) for name, e in endpoints.items()}
        self._breakers = {name: Breaker() for name in endpoints}
        self._flights: dict[str, asyncio.Future[Answer]] = {}
        self._stopped: UserError | None = None
        self.cost, self.bought = store.spent(), 0  # cost of the whole ledger; calls billed by this object

    async def __aenter__(self) -> "Chat":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients.values():
            await client.close()

    async def ask(self, request: Request) -> Answer:
        """Return the response: stored, shared with a call in flight, or sent now.

        Raises:
            Unavailable: this call failed permanently or after its last attempt.
            UserError: no such call can succeed (no key, a wrong name, no budget, an endpoint that is down).
                No further call is sent afterwards; calls in flight complete.
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
                flight.exception()  # marks it as retrieved: no other caller may be waiting
            raise
        else:
            flight.set_result(answer)
            return answer
        finally:
            del self._flights[key]

    async def _buy(self, request: Request, key: str) -> Answer:
        """Attempt the call until it is answered; hold a slot only during an attempt."""
        endpoint, breaker = self._endpoints[request.endpoint], self._breakers[request.endpoint]
        pause, last = 0.0, "no attempt"
        for attempt in range(endpoint.attempts):
            await asyncio.sleep(pause)
            async with self._slots[request.endpoint], breaker.passage() as trial:
                if stored := self._store.get(key):  # stored meanwhile by another process
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
                    "responses so far are stored: start again when it is back.",
                    exit_code=TRY_AGAIN_LATER,
                )
            last, pause = found.name, max(found.wait, _backoff(attempt))
        raise Unavailable(f"{last} after {endpoint.attempts} attempts", retryable=True)

    async def _attempt(self, request: Request, key: str, endpoint: Endpoint) -> "Answer | _Fault":
        """Send the call once and record the outcome in the ledger."""
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
        """Reserve the maximum cost of an attempt and yield the reservation's id.

        Raises:
            UserError: the attempt could pass max_cost.
        """
        dearest = _cost(endpoint, request.most_prompt_tokens(), request.max_tokens)
        if self._max_cost is None or not dearest:
            yield None
            return
        promise = self._store.reserve(dearest, self._max_cost)
        if promise is None:
            raise UserError(
                f"synthesize.max_cost is {self._max_cost:g}, {self._store.spent():.4g} are spent, and the next call "
                "could pass it; responses so far are stored. Raise it and start again."
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
        """Return the endpoint's client; its creation prints a notice for a remote host."""
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
    """Check that every endpoint's key is set, before any call is billed.

    Raises:
        UserError: names the endpoint and its environment variable.
    """
    for name, endpoint in endpoints.items():
        if endpoint.key_env is not None and not os.environ.get(endpoint.key_env):
            raise UserError(
                f"endpoint '{name}' (launch.endpoints) needs its key in the environment variable "
                f"{endpoint.key_env}, which is not set."
            )


class _Fault(Exception):
    """A failed attempt; `wait`: seconds from the Retry-After header."""

    def __init__(self, name: str, retryable: bool, wait: float = 0.0) -> None:
        super().__init__(name)
        self.name, self.retryable, self.wait = name, retryable, wait


def _read(reply: Any, request: Request) -> tuple[Answer, int, int]:
    """Return a response's answer, prompt tokens and completion tokens.

    Servers may leave any field out; missing token counts are estimated.

    Raises:
        _Fault: there are no choices.
    """
    if not getattr(reply, "choices", None):
        raise _Fault("no chat completion", retryable=True)
    choice = reply.choices[0]
    text, refusal = choice.message.content or "", getattr(choice.message, "refusal", None)
    finish = "length" if choice.finish_reason == "length" else "stop"
    if refusal or choice.finish_reason == "content_filter":
        text, finish = str(refusal or text), "refusal"
    usage = getattr(reply, "usage", None)  # without it the cost is an estimate
    prompt = getattr(usage, "prompt_tokens", None) or request.prompt_tokens()
    completion = getattr(usage, "completion_tokens", None) or text_tokens(len(text))
    if len(text) > MAX_REPLY_CHARS:
        text, finish = text[:MAX_REPLY_CHARS], "overlong"
    return Answer(encodable(text), finish), int(prompt), int(completion)


def _status_fault(status: int, headers: Mapping[str, str], request: Request, endpoint: Endpoint) -> Exception:
    """Map a status code to a UserError or a _Fault, without quoting the body."""
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
    """Parse a Retry-After header (a number or a date) to seconds."""
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
    """Return the seconds before the next attempt: exponential, with jitter."""
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * float(2**attempt)) * random.uniform(0.5, 1.0)


def _cost(endpoint: Endpoint, prompt: int, completion: int) -> float:
    return (prompt * endpoint.price_prompt + completion * endpoint.price_completion) / 1e6
