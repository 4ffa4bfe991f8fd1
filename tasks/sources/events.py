"""Events for Prefect's server: a closed source is told to it, and counts as told only when its run is there.

The client library would say yes to a server that is down, and the server keeps an event in memory for a moment
before it acts on it. So the event is posted to the API, which reports failure, and then the run that the automation
(infra/prefect.yaml) makes of it is waited for. The event's id follows from what closed the source, so telling it
twice is one event and one run.
"""

import datetime
import json
import time
import urllib.request
import uuid
from typing import Any

from tasks.sources.s3 import Closed

EVENT = "wethink.source.closed"
DEPLOYMENT = "retrain"


class NotAccepted(Exception):
    """The event is not known to have led to a run; tell it again."""


class MadeNoRun(NotAccepted):
    """The server took the event, and nothing came of it."""


def tell(closed: Closed, api: str, attempt: int = 0, patience: float = 30.0, every: float = 0.5) -> str:
    """Make sure that a run exists for this event, and return its id.

    The server acts on an event id once in half an hour, also where acting failed (its database was away). So a later
    attempt has an id of its own; should the server have been slow instead, the second run finds nothing to do.

    Raises:
        NotAccepted: the server is down, refuses the event, or made no run of it within `patience` seconds.
    """
    found = run_of(closed.event_id, api)
    if found is not None:
        return found
    _ask(f"{api}/events", [event(closed, attempt)])
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        found = run_of(closed.event_id, api)
        if found is not None:
            return found
        time.sleep(every)
    raise MadeNoRun(
        f"{api} took the event for '{closed.source}', but made no run of it in {patience:.0f} s; is the deployment "
        f"'{DEPLOYMENT}' with its trigger there (prefect deploy --prefect-file infra/prefect.yaml --all)?"
    )


def event(closed: Closed, attempt: int = 0) -> dict[str, Any]:
    """A closed source as Prefect wants it; what the run is told does not depend on the attempt."""
    return {
        "id": str(uuid.uuid5(uuid.UUID(closed.event_id), str(attempt))) if attempt else closed.event_id,
        "occurred": datetime.datetime.now(datetime.UTC).isoformat(),
        "event": EVENT,
        "resource": {"prefect.resource.id": f"wethink.source.{closed.source}", "prefect.resource.name": closed.source},
        "payload": {
            "source": closed.source,
            "bucket": closed.bucket,
            "key": closed.key,
            "etag": closed.etag,
            "event_id": closed.event_id,
        },
    }


def run_of(event_id: str, api: str) -> str | None:
    """The run that was made of an event, if there is one."""
    wanted = {
        "deployments": {"name": {"any_": [DEPLOYMENT]}},
        "sort": "EXPECTED_START_TIME_DESC",
        "limit": 200,
    }
    runs = _ask(f"{api}/flow_runs/filter", wanted)
    return next((str(run["id"]) for run in runs if run.get("parameters", {}).get("event_id") == event_id), None)


def _ask(url: str, body: Any) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise NotAccepted(f"{url}: {error}") from None
    return json.loads(text) if text else None
