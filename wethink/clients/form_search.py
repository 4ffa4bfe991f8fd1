"""Search for the form in which an endpoint's model answers, and for whose fault a refusal is.

A refusal that names a parameter is answered by the same request in another form. Any other refusal of a model that has
answered no request of this make yet is tested by a probe: a request of the same make with nothing in it to object to.
If the probe is answered, the refused request is at fault; if it is answered in another form only, that form is used
from then on; if it is refused in every form, so is every call, and the run stops.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any
from uuid import uuid4

from wethink.clients.refusals import Fault, Place, refuses_all
from wethink.clients.request import Request
from wethink.clients.request_form import (
    AS_ASKED,
    LEAST,
    Form,
    alternatives,
    harmless,
    is_out_of_range,
    named,
    names_unknown_parameter,
    restored,
    without_unused,
    written,
)
from wethink.clients.response_store import Answer

Attempt = Callable[[Request, Form], Awaitable[Answer | Fault]]
TOO_LARGE = (413, 414, 431)  # statuses that are always the request's own fault
PARTS = 8  # most changes of a form in a row


@dataclass
class Tally:
    """How a model has met the requests of one make (`Request.make`)."""

    answered: int = 0
    refused: int = 0
    probed: bool = False  # it has answered a probe


@dataclass
class Standing:
    """What is known of one model at an endpoint: its form, and a tally by the make of the requests."""

    form: Form = AS_ASKED
    tallies: dict[tuple[object, ...], Tally] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def tally(self, request: Request) -> Tally:
        return self.tallies.setdefault(request.make, Tally())

    @property
    def answered(self) -> int:
        return sum(tally.answered for tally in self.tallies.values())


@dataclass(frozen=True)
class Probe(Request):
    """A request of the make of another one, without its contents. Its response is billed and never stored."""

    asked: Mapping[str, Any] = field(default_factory=dict, hash=False)
    nonce: str = field(default_factory=lambda: uuid4().hex)

    @property
    def key(self) -> str:
        return f"probe {self.nonce}"

    def body(self) -> dict[str, Any]:
        return harmless(self.asked)


def is_refusal(fault: Fault) -> bool:
    """Return whether the server refused a call for good, so that its form or its contents are at fault."""
    if fault.status >= 500 and fault.status != 501:  # some servers fail over a parameter instead of refusing it
        return names_unknown_parameter(fault.marks)
    return fault.status >= 400 and not fault.retryable


async def search(
    standing: Standing, attempt: Attempt, request: Request, form: Form, fault: Fault, place: Place
) -> Answer | Fault:
    """Find out what a refusal means. Hold the standing's lock.

    Args:
        form: the one in which `request` was refused with `fault`.

    Returns:
        The answer, in a form that `standing` now has, or the fault of this request.

    Raises:
        UserError: the model refuses every request.
    """
    if standing.form != form:  # another call has found it meanwhile
        form, found = standing.form, await attempt(request, standing.form)
        if isinstance(found, Answer) or not is_refusal(found):
            return found
        fault = found
    if not is_out_of_range(fault.marks):
        found, changed = await _by_its_words(attempt, request, form, fault)
        if isinstance(found, Answer):
            standing.form = changed
        if isinstance(found, Answer) or not is_refusal(found):
            return found
    tally = standing.tally(request)
    if tally.answered or tally.probed or fault.status in TOO_LARGE:
        return fault
    return await _by_probes(standing, attempt, request, form, fault, place)


async def _by_its_words(attempt: Attempt, request: Request, form: Form, fault: Fault) -> tuple[Answer | Fault, Form]:
    """Repeat a request in the forms that the refusals name; return the last response and its form."""
    body, found = request.body(), fault
    for _ in range(PARTS):
        for other in alternatives(form, named(found.marks, written(body, form))):
            answer = await attempt(request, other)
            if isinstance(answer, Answer) or not is_refusal(answer):
                return answer, other
            changed = [f.name for f in fields(Form) if getattr(other, f.name) != getattr(form, f.name)]
            if not set(changed) & set(named(answer.marks, body)):  # this part is mended; go on with the next
                form, found = other, answer
                break
        else:
            break
        if not named(found.marks, written(body, form)):
            break
    return found, form


async def _by_probes(
    standing: Standing, attempt: Attempt, request: Request, form: Form, fault: Fault, place: Place
) -> Answer | Fault:
    """Test the endpoint with harmless requests, first as asked, then in the least form, then part by part."""
    body = request.body()
    probe = Probe(**{f.name: getattr(request, f.name) for f in fields(Request)}, asked=body)  # fmt: skip

    async def probed(form: Form) -> Answer | Fault:
        return await attempt(replace(probe, role="probe", nonce=uuid4().hex), form)

    found = await probed(form)
    if isinstance(found, Answer):
        standing.tally(request).probed = True
        return fault
    if not is_refusal(found):
        return found
    least = without_unused(LEAST, body)
    if named(found.marks, written(body, form)) or least == form:
        raise refuses_all(place, fault)
    found = await probed(least)
    if isinstance(found, Fault):
        if is_refusal(found):
            raise refuses_all(place, fault)
        return found
    form = least
    for part, choices in restored(least, body):
        for choice in choices:
            found = await probed(replace(form, **{part: choice}))  # type: ignore[arg-type]
            if isinstance(found, Answer):
                form = replace(form, **{part: choice})  # type: ignore[arg-type]
                break
            if not is_refusal(found):
                return found
    if form.limit == "none":
        raise refuses_all(place, fault)
    standing.form, standing.tally(request).probed = form, True
    return await attempt(request, form)
