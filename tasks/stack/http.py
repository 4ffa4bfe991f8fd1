"""JSON over HTTP, for the few questions that a stack asks of its services before their libraries are of use."""

import contextlib
import json
import time
import urllib.request
from typing import Any

from wethink.common.errors import UserError


def call(method: str, url: str, body: Any = None) -> Any:
    """The JSON that a server answers; None where it says nothing.

    Raises:
        OSError: the server is not there, or refuses (urllib.error.HTTPError, with its code).
    """
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, sent, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def ask(method: str, url: str, body: Any = None, tries: int = 4) -> Any:
    """The same of a server that runs, but may just have started: what it cannot answer yet is asked again.

    Raises:
        UserError: it does not answer.
        urllib.error.HTTPError: it refuses (a code below 500).
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
    """Whether a server says 200."""
    with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
