"""JSON over HTTP, for the few questions that a stack asks of its services before their libraries are of use."""

import contextlib
import json
import urllib.error
import urllib.request
from typing import Any


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


def answers(url: str) -> bool:
    """Whether a server says 200."""
    with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
