"""HTTP connection to a chat-completions endpoint: key, proxy, certificates, and what a failed attempt means.

This is the only module that imports openai. Faults of the user's environment that no retry mends (a key that no header
can hold, a proxy without its library, an untrusted certificate, an unknown host) are a `UserError` at once.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from wethink.clients.refusals import Fault, Place, clean, refusal
from wethink.common.errors import UserError
from wethink.common.keys import read_key
from wethink.common.loopback import is_loopback
from wethink.config.launch import Endpoint

if TYPE_CHECKING:
    from openai import AsyncOpenAI

CONNECT_SECONDS = 10.0  # most of an attempt's deadline that may pass before there is a connection
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def require_keys(endpoints: Mapping[str, Endpoint]) -> None:
    """Check that every endpoint's key is set and can be sent, before any call is billed.

    Raises:
        UserError: names the endpoint and its environment variable.
    """
    for name, endpoint in endpoints.items():
        key_of(name, endpoint)


def key_of(name: str, endpoint: Endpoint) -> str:
    """Return an endpoint's key without surrounding blanks; '' if it has none.

    Raises:
        UserError: the variable is not set, or holds what no header can.
    """
    if endpoint.key_env is None:
        return ""
    try:
        key = read_key(endpoint.key_env)
    except UserError as error:
        raise UserError(f"endpoint '{name}': {error}") from None
    if not key:
        raise UserError(
            f"endpoint '{name}' (launch.endpoints) needs its key in the environment variable "
            f"{endpoint.key_env}, which is not set."
        )
    return key


def connect(name: str, endpoint: Endpoint) -> "AsyncOpenAI":
    """Create an endpoint's client; nothing is sent yet.

    Raises:
        UserError: no client can be made with this key, proxy, certificate file or url.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

    key = key_of(name, endpoint)
    timeout = Timeout(endpoint.deadline_seconds, connect=min(CONNECT_SECONDS, endpoint.deadline_seconds))
    try:
        place = urlsplit(endpoint.url)
        host, _ = place.hostname, place.port  # ValueError if it is none
        # No redirects: images go where params.yaml says. No proxy for this machine itself.
        http = DefaultAsyncHttpxClient(follow_redirects=False, trust_env=not is_loopback(host), timeout=timeout)
        return AsyncOpenAI(
            base_url=endpoint.url, api_key=key or "none", max_retries=0, http_client=http, timeout=timeout
        )
    except ImportError:
        raise UserError(
            f"endpoint '{name}' ({endpoint.url}) would be reached through the SOCKS proxy of {_proxy_variables()}, for "
            "which the library socksio is missing: `pip install socksio`, or unset the variable (or add the host to "
            "NO_PROXY)."
        ) from None
    except (OSError, ssl.SSLError) as error:
        named = " or ".join(name for name in CERTIFICATES if os.environ.get(name)) or "the system's certificates"
        raise UserError(f"endpoint '{name}': the certificates of {named} cannot be read ({error}).") from None
    except Exception as error:  # a proxy or a url that httpx cannot parse; its classes are private to openai
        raise UserError(
            f"endpoint '{name}' ({endpoint.url}): no client can be made with this url and the proxy of "
            f"{_proxy_variables() or 'no variable'} ({clean(str(error))})."
        ) from None


async def send(client: "AsyncOpenAI", body: Mapping[str, Any], place: Place, answered: bool) -> Any:
    """Send one call and return the parsed completion.

    Args:
        answered: whether this endpoint has answered before: then its host exists, and a lookup that fails may pass.

    Raises:
        Fault: this attempt failed.
        UserError: no attempt can succeed.
    """
    import openai

    key = client.api_key if place.endpoint.key_env else ""
    try:
        async with asyncio.timeout(place.endpoint.deadline_seconds):
            reply = await client.chat.completions.create(**body)
    except openai.APIStatusError as error:
        raise refusal(error.status_code, error.body, error.response.headers, place, key) from None
    except (openai.APIConnectionError, TimeoutError) as error:  # also APITimeoutError
        raise _connection_fault(error, place, answered) from None
    except (openai.APIError, ValueError, AttributeError, TypeError):  # a body that is no chat completion
        raise Fault("no chat completion", retryable=True) from None
    error_inside = getattr(reply, "error", None)  # some gateways answer 200 with the error of their provider
    if isinstance(error_inside, Mapping) and not getattr(reply, "choices", None):
        code = str(error_inside.get("code", ""))
        status = int(code) if code.isdigit() and 400 <= int(code) < 600 else 502
        raise refusal(status, error_inside, {}, place, key)
    return reply


def _connection_fault(error: BaseException, place: Place, answered: bool) -> Exception:
    """Tell what no retry mends from what may pass, by the causes of a connection error."""
    causes = _causes(error)
    kinds = {type(cause).__name__ for cause in causes}
    host = urlsplit(place.endpoint.url).hostname or ""
    through = f" (through the proxy of {_proxy_variables()})" if _is_proxied(place.endpoint.url, host) else ""
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UserError(
                f"{place} has a certificate that is not trusted ({cause.verify_message}); if it is your own, name its "
                "authority's file in SSL_CERT_FILE."
            )
        if isinstance(cause, ssl.SSLError) and "WRONG_VERSION" in str(cause).upper().replace(" ", "_"):
            return UserError(f"{place} speaks no TLS{through}: does its url begin with http:// instead of https://?")
        if isinstance(cause, socket.gaierror) and not answered:
            return UserError(
                f"{place}: the name of the host cannot be resolved{through} ({cause.strerror or cause}); correct its "
                "url, or the network of this machine."
            )
        if isinstance(cause, UnicodeError):
            return UserError(f"{place}: its host is no name that can be looked up; correct its url.")
        if isinstance(cause, ConnectionRefusedError):
            return Fault(f"connection refused{through}", retryable=True)
    if {"LocalProtocolError", "UnsupportedProtocol", "InvalidURL"} & kinds:
        return UserError(f"{place}: no such call can be sent ({clean(str(causes[-1]))}); correct its url or its key.")
    if "ProxyError" in kinds:
        return Fault(f"the proxy refuses{through}", retryable=True, words=clean(str(causes[-1])))
    if "ConnectTimeout" in kinds:
        return Fault(f"no connection in time{through}", retryable=True)
    if isinstance(error, TimeoutError) or "APITimeoutError" in kinds:
        return Fault("no answer in time", retryable=True)
    return Fault(f"connection lost{through}", retryable=True)


def _causes(error: BaseException | None) -> list[BaseException]:
    """Return an exception and its causes; a connection to several addresses has a group of them."""
    if error is None:
        return []
    inner = list(error.exceptions) if isinstance(error, BaseExceptionGroup) else []
    inner += [cause for cause in (error.__cause__ or error.__context__,) if cause is not None]
    return [error, *(cause for one in inner for cause in _causes(one))]


def _is_proxied(url: str, host: str) -> bool:
    proxies = getproxies()
    return not is_loopback(host) and bool({urlsplit(url).scheme, "all"} & set(proxies)) and not proxy_bypass(host)


def _proxy_variables() -> str:
    """Name the environment variables that set a proxy; never their values, which may hold a password."""
    names = ("http_proxy", "https_proxy", "all_proxy")
    return " or ".join(given for name in names for given in (name.upper(), name) if os.environ.get(given)) or ""
