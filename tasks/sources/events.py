"""Events to Prefect's server for closed sources, confirmed by the flow run that each one starts.

Prefect's client library reports no failure if the server is down, and the server holds an event in memory before it
acts on it. So the event is posted to the HTTP API, and `tell` waits for the run that the automation
(infra/prefect.yaml) creates. The event's id is derived from the closing object, so a repeated report is one event and
one run.
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
    """The event has no confirmed run; report it again."""


class MadeNoRun(NotAccepted):
    """The server accepted the event but created no run."""


def tell(closed: Closed, api: str, attempt: int = 0, patience: float = 30.0, every: float = 0.5) -> str:
    """Post the event unless it has a run, wait for the run, and return the run's id.

    The server acts on an event id once in half an hour, even if acting failed (its database was unavailable). So each
    later attempt has its own id; if the server was only slow, the second run ends as `Cached`.

    Args:
        closed: the source to report.
        api: Prefect's API URL.
        attempt: 0 for the first; any other number gives the event another id.
        patience: seconds to wait for the run.
        every: seconds between checks for the run.

    Raises:
        NotAccepted: the server is down or rejects the event.
        MadeNoRun: the server created no run within `patience` seconds.
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
    """Build Prefect's event for a closed source; the payload ignores the attempt."""
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
    """Return the id of the run that an event started, or None."""
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
