"""Asynchronous chat-completions client with stored responses, retries, circuit breakers and a budget.

Stored responses are reused. A call has a deadline; transient faults (429, 5xx, a reset, a stall) are retried with
exponential, jittered backoff that honours `Retry-After`. A circuit breaker pauses an endpoint that fails in a row.
A refusal of one request is told from a refusal of all (refusals.py, form_search.py): an endpoint that takes no request
in its usual form is asked in another one, and one that refuses each of its first calls stops the run.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wethink.clients import connection
from wethink.clients.circuit_breaker import Breaker
from wethink.clients.connection import require_keys
from wethink.clients.form_search import Probe, Standing, is_refusal, search
from wethink.clients.refusals import Fault, Place, refuses_all
from wethink.clients.replies import read
from wethink.clients.request import Request
from wethink.clients.request_form import Form, written
from wethink.clients.response_store import Answer, Call, ResponseStore
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.common.loopback import is_loopback
from wethink.common.progress import say as say_line
from wethink.config.launch import Endpoint

if TYPE_CHECKING:
    from openai import AsyncOpenAI

__all__ = ["Chat", "Unavailable", "require_keys"]

FIRST_BACKOFF, LONGEST_BACKOFF = 0.5, 30.0  # seconds
FIRST_WAIT, LONGEST_WAIT = 0.1, 3.0  # seconds between two looks for a response that another process waits for
FIRST_CALLS = 20  # refused ones, with none answered, that show the endpoint's fault
FIRST_NOTICE, NEXT_NOTICE = 2.0, 15.0  # seconds of an outage before it is told, and between two lines about it


class Unavailable(Exception):
    """A call failed; `retryable`: a later run may succeed. `words`: the server's own, where it refused the call."""

    def __init__(self, reason: str, retryable: bool, words: str = "") -> None:
        super().__init__(reason)
        self.reason, self.retryable, self.words = reason, retryable, words


class Chat:
    """Client of all endpoints. Use as an asynchronous context manager."""

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        store: ResponseStore,
        max_cost: float | None = None,
        share: int = 1,
        say: Callable[[str], None] = say_line,
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
        self._standings: dict[tuple[str, str], Standing] = {}  # by endpoint and model
        self._told: dict[str, float] = {}  # when an endpoint's outage was last told
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
            UserError: no such call can succeed (no key, no credit, a wrong name, no budget, an endpoint that refuses
                everything or is down). No further call is sent afterwards; calls in flight complete.
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
        pause, wait, last, attempt = 0.0, FIRST_WAIT, "no attempt", 0
        while attempt < endpoint.attempts:
            await asyncio.sleep(pause)
            async with self._slots[request.endpoint], breaker.passage() as trial:
                if not self._store.claim(key):  # another process has sent it
                    pause = wait = min(LONGEST_WAIT, wait * random.uniform(1.0, 2.0))
                    continue
                start = time.monotonic()
                try:
                    if stored := self._store.get(key):  # stored meanwhile by another process
                        return stored
                    found = await self._call(request, key, endpoint)
                finally:
                    self._store.disclaim(key)
                if isinstance(found, Answer) or not found.retryable:
                    breaker.succeeded()
                    self._tell_return(request.endpoint)
                else:
                    breaker.failed(trial, time.monotonic() - start)
            if isinstance(found, Answer):
                return found
            if not found.retryable:
                raise Unavailable(found.name, retryable=False, words=found.words)
            if breaker.down_for > endpoint.give_up_seconds:
                raise UserError(
                    f"endpoint '{request.endpoint}' has not answered for {breaker.down_for:.0f} s ({found.name}); "
                    "responses so far are stored: start again when it is back.",
                    exit_code=TRY_AGAIN_LATER,
                )
            self._tell_outage(request.endpoint, found)
            last, pause = found.name, max(found.wait, _backoff(attempt))
            attempt += 1
        raise Unavailable(f"{last} after {endpoint.attempts} attempts", retryable=True)

    async def _call(self, request: Request, key: str, endpoint: Endpoint) -> Answer | Fault:
        """Attempt the call once; find out what a refusal means.

        Raises:
            UserError: the endpoint refuses the account, every form of a request, or each of the first calls.
        """
        place = Place(request.endpoint, endpoint, request.model)
        standing = self._standings.setdefault((request.endpoint, request.model), Standing())
        form = standing.form

        async def attempt(sent: Request, form: Form) -> Answer | Fault:
            return await self._attempt(sent, key if sent is request else sent.key, endpoint, form, standing)

        found = await attempt(request, form)
        if isinstance(found, Answer) or not is_refusal(found):
            return found
        async with standing.lock:
            if self._stopped is not None:
                raise self._stopped
            before = standing.form
            try:
                found = await search(standing, attempt, request, form, found, place)
            except UserError as error:
                self._stopped = self._stopped or error  # at once: others wait for the lock
                raise
        if standing.form != before:
            self._say(
                f"{place} refuses requests to '{request.model}' as they were asked; they go on in the form that it "
                f"answers ({standing.form})."
            )
        if isinstance(found, Fault) and not found.retryable:
            tally = standing.tally(request)
            tally.refused += 1
            if not tally.answered and tally.refused >= FIRST_CALLS:
                raise refuses_all(place, found, tally.refused)
        return found

    async def _attempt(
        self, request: Request, key: str, endpoint: Endpoint, form: Form, standing: Standing
    ) -> Answer | Fault:
        """Send the call once and record the outcome in the ledger."""
        if self._stopped is not None:
            raise self._stopped
        client = self._client(request.endpoint)
        spoken = str(form)
        with self._budgeted(request, endpoint) as promise:
            start = time.monotonic()
            about = (key, request.role, request.endpoint, request.model)
            try:
                found, prompt, completion = await self._send(client, request, endpoint, form)
            except Fault as fault:
                self._store.failed(Call(*about, fault.name, time.monotonic() - start, form=spoken, words=fault.words))
                return fault
            cost, seconds = _cost(endpoint, prompt, completion), time.monotonic() - start
            if isinstance(request, Probe):
                self._store.failed(Call(*about, "probe answered", seconds, prompt, completion, cost, spoken), promise)
            else:
                self._store.put(found, Call(*about, "answered", seconds, prompt, completion, cost, spoken), promise)
                standing.tally(request).answered += 1
        self.cost, self.bought = self.cost + cost, self.bought + 1
        return found

    async def _send(
        self, client: "AsyncOpenAI", request: Request, endpoint: Endpoint, form: Form
    ) -> tuple[Answer, int, int]:
        """Send a request in a form; return the answer, prompt tokens and completion tokens."""
        answered = any(s.answered for (name, _), s in self._standings.items() if name == request.endpoint)
        place = Place(request.endpoint, endpoint, request.model)
        reply = await connection.send(client, written(request.body(), form), place, answered)
        return read(reply, request)

    def _tell_outage(self, name: str, fault: Fault) -> None:
        """Print that an endpoint does not answer, with the time until the run gives up; not too often."""
        endpoint, down, now = self._endpoints[name], self._breakers[name].down_for, time.monotonic()
        if down >= FIRST_NOTICE and now - self._told.get(name, -NEXT_NOTICE) >= NEXT_NOTICE:
            self._told[name] = now
            left = max(0.0, endpoint.give_up_seconds - down)
            self._say(
                f"endpoint '{name}' ({endpoint.url}) has not answered for {down:.0f} s ({fault.name}); trying again, "
                f"giving up after {left:.0f} s more."
            )

    def _tell_return(self, name: str) -> None:
        if self._told.pop(name, None) is not None:
            self._say(f"endpoint '{name}' answers again.")

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

    def _client(self, name: str) -> "AsyncOpenAI":
        """Return the endpoint's client; its creation prints a notice for a remote host."""
        if name not in self._clients:
            endpoint = self._endpoints[name]
            self._clients[name] = connection.connect(name, endpoint)
            host = urlsplit(endpoint.url).hostname or endpoint.url
            if not is_loopback(host):
                self._say(f"endpoint '{name}': images and questions are sent to {host}, which is not this machine.")
        return self._clients[name]


def _backoff(attempt: int) -> float:
    """Return the seconds before the next attempt: exponential, with jitter."""
    return min(LONGEST_BACKOFF, FIRST_BACKOFF * float(2**attempt)) * random.uniform(0.5, 1.0)


def _cost(endpoint: Endpoint, prompt: int, completion: int) -> float:
    return (prompt * endpoint.price_prompt + completion * endpoint.price_completion) / 1e6
