"""JSON over HTTP with the standard library, for set-up and health checks of the services."""

import contextlib
import json
import time
import urllib.request
from typing import Any

from wethink.common.errors import UserError


def call(method: str, url: str, body: Any = None) -> Any:
    """Send a request; return the parsed JSON response, None for an empty one.

    Raises:
        OSError: the server is unreachable, or returns an error status (urllib.error.HTTPError).
    """
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, sent, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def ask(method: str, url: str, body: Any = None, tries: int = 4) -> Any:
    """Do as `call`, with retries every two seconds for a server that is starting.

    Raises:
        UserError: the server is unreachable or returns a status of 500 or above at each of `tries` attempts.
        urllib.error.HTTPError: an error status below 500.
    """
    for number in range(1, tries + 1):
        try:
            return call(method, url, body)
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                raise
            if number == tries:
                raise UserError(f"{url} does not answer ({error}); `python -m tasks.stack status` says why.") from None
            time.sleep(2)


def answers(url: str) -> bool:
    """Return whether a GET returns status 200."""
    with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
