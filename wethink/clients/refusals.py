"""Refusals and failures of chat-completion calls: whose fault each is, told in the server's own words.

Three kinds. The account's or the configuration's (a key, no credit, an unknown model): no call can succeed, so it is a
`UserError`. The request's (too large, a content that the server refuses): a `Fault` that no retry mends. The moment's
(429, 5xx, a reset): a `Fault` that is retried. Some servers answer with another status than their reason has, so the
words and codes of the body are read as well. API keys are cut out of the words.
"""

import email.utils
import html
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from wethink.common.errors import UserError
from wethink.config.launch import Endpoint

LONGEST_WAIT = 600.0  # seconds that a Retry-After may ask for
MAX_WORDS = 240  # characters of a server's words in a message
GRAM = 6  # this many characters of a key in a row are cut out
TRANSIENT = (408, 409, 425, 429)  # and 500 and above
KEEP = "what is paid for is kept"

_NO_CREDIT = re.compile(
    r"insufficient[ _-]?(?:quota|balance|funds|credit)|exceeded_current_quota|credit balance|out of credits?"
    r"|(?:no|not enough|more) credits?\b|billing_(?:hard_limit|not_active)|payment required|top[ -]?up|arrear",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(
    r"api[ _-]?key[ _]?(?:is )?(?:not valid|invalid|expired|missing)|(?:invalid|incorrect|missing|expired|no)"
    r"[ _-]?api[ _-]?key|account[ _](?:is |has been )?(?:deactivated|suspended|disabled)",
    re.IGNORECASE,
)
_MODERATED = re.compile(r"moderat|flagged|content[ _-]?(?:policy|filter|violation)|safety", re.IGNORECASE)
_SECRETS = re.compile(r"\b(?:bearer|basic)\s+\S+|\b(?:sk|pk|rk|gsk|hf|xai|AIza)[-_]?[\w-]{16,}", re.IGNORECASE)


class Fault(Exception):
    """A failed attempt: the moment's fault if `retryable`, else the request's."""

    def __init__(
        self, name: str, retryable: bool, wait: float = 0.0, words: str = "", marks: str = "", status: int = 0
    ) -> None:
        """Create a fault.

        Args:
            wait: seconds from the Retry-After header.
            words: the server's own, without keys.
            marks: the words with the error's codes, to find the parameter that it names.
            status: of the response, if there was one.
        """
        super().__init__(name)
        self.name, self.retryable, self.wait = name, retryable, wait
        self.words, self.marks, self.status = words, marks, status


@dataclass(frozen=True)
class Place:
    """Where a call goes, for messages."""

    name: str
    endpoint: Endpoint
    model: str

    def __str__(self) -> str:
        return f"endpoint '{self.name}' ({self.endpoint.url})"


def refusal(status: int, body: object, headers: Mapping[str, str], place: Place, key: str) -> Exception:
    """Map an error status to a `UserError` (nobody's call can succeed) or a `Fault` (this call failed).

    Args:
        body: the response's body, parsed if it is JSON.
        key: the API key that was sent, which some servers quote.
    """
    words = clean(_message(body), key)
    told = f"HTTP {status}: “{words}”" if words else f"HTTP {status}"
    marks = f"{words} {clean(_codes(body), key)}"
    if status == 402 or (400 <= status < 500 and _NO_CREDIT.search(marks)):
        return UserError(
            f"the account behind {place} has no credit ({told}); {KEEP}: top it up, then start again for the rest."
        )
    if status == 401 or (status == 403 and not _MODERATED.search(marks)) or (status == 400 and _BAD_KEY.search(marks)):
        env = place.endpoint.key_env
        return UserError(f"{place} refuses {f'the key in {env}' if env else 'a call without a key; set its key_env'} "
                         f"({told}); {KEEP}.")  # fmt: skip
    if status == 404:
        return UserError(f"{place} knows no model '{place.model}', or its url lacks the /v1 ({told}).")
    if status == 407:
        return UserError(f"the proxy on the way to {place} wants a user and a password ({told}); {_proxies()}.")
    if 300 <= status < 400:
        return UserError(f"{place} redirects (HTTP {status}), which is not followed; write its new url.")
    retryable = status in TRANSIENT or (status >= 500 and status != 501)
    return Fault(f"HTTP {status}", retryable, retry_after(headers.get("retry-after")), words, marks, status)


def refuses_all(place: Place, fault: Fault, calls: int = 1) -> UserError:
    """Return the error for an endpoint that refuses each of its first calls, or every form of them."""
    words = f"{fault.name}: “{fault.words}”" if fault.words else fault.name
    counted = f"each of its first {calls} calls" if calls > 1 else "every call"
    return UserError(
        f"{place} refuses {counted} to model '{place.model}' ({words}), so the fault lies with the endpoint, the model "
        f"or their settings, not with what was sent; {KEEP}: start again after the mend."
    )


def _proxies() -> str:
    from urllib.request import getproxies

    return f"see {', '.join(f'{name.upper()}_PROXY' for name in getproxies() if name != 'no') or 'the proxy settings'}"


def clean(text: str, key: str = "") -> str:
    """Make a server's text fit for a message: one short line without keys, markup and control characters."""
    text = html.unescape(re.sub(r"<(?:style|script).*?</(?:style|script)>|<[^<>]{0,500}>", " ", text, flags=re.DOTALL))
    text = "".join(char if char.isprintable() else " " for char in text[:20_000])
    text = _SECRETS.sub("[key]", _without(text, key))
    text = re.sub(r"\S{100,}", "…", text)  # an image that is quoted
    text = " ".join(text.split()).replace("“", '"').replace("”", '"').rstrip(" .")
    return text if len(text) <= MAX_WORDS else f"{text[:MAX_WORDS]}…"


def _without(text: str, key: str) -> str:
    """Replace every run of `GRAM` or more characters of the key, also in its quoted form."""
    if len(key) < 3:
        return text
    size = min(GRAM, len(key))
    grams = {form[i : i + size].casefold() for form in (key, quote(key, safe="")) for i in range(len(form) - size + 1)}
    low, cut = text.casefold(), [False] * len(text)
    if len(low) != len(text):  # case folding has changed lengths: no place of it can be trusted
        low = text
    for place in range(len(text) - size + 1):
        if low[place : place + size] in grams:
            cut[place : place + size] = [True] * size
    shown = "".join("\0" if out else char for char, out in zip(text, cut, strict=True))
    return re.sub("\0+", "[key]", shown)


def _message(body: object) -> str:
    """Find the sentence in an error's body; servers nest it differently."""
    match body:
        case str():
            if body.lstrip().startswith(("{", "[")):
                try:
                    return _message(json.loads(body))
                except (ValueError, RecursionError):
                    return body
            return body
        case {"msg": str(message), "loc": [*place]}:  # FastAPI's
            return f"{'.'.join(str(part) for part in place)}: {message}"
        case Mapping():
            for name in ("message", "error", "detail", "msg", "errors", "reason", "title"):
                if body.get(name):
                    return _message(body[name])
            return json.dumps(body)[:2000] if body else ""
        case [*several]:
            return "; ".join(filter(None, map(_message, several[:3])))
    return ""


def _codes(body: object) -> str:
    """Return an error's codes, for recognition only."""
    if not isinstance(body, Mapping):
        return ""
    inner = body.get("error")
    own = " ".join(str(body[name])[:200] for name in ("code", "type", "param", "status", "reason") if body.get(name))
    return f"{own} {_codes(inner)}" if isinstance(inner, Mapping) else own


def retry_after(value: str | None) -> float:
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
