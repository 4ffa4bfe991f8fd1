"""Loopback addresses and the environment's proxies: what stays on this machine takes no proxy."""

import ipaddress
import os

HOSTS = ("127.0.0.1", "localhost", "::1")


def is_loopback(host: str | None) -> bool:
    """Return whether a host of a url is this machine.

    >>> is_loopback("127.0.0.2"), is_loopback("localhost"), is_loopback("example.org")
    (True, True, False)
    """
    if host is None or host.lower().rstrip(".") == "localhost":
        return host is not None
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bypass_proxies() -> None:
    """Exclude this machine from the proxies that the environment names, here and in child processes."""
    # urllib reads the name in lower case first, others the one in capitals: both get the union.
    entries = [entry.strip() for name in ("NO_PROXY", "no_proxy") for entry in os.environ.get(name, "").split(",")]
    whole = ",".join(dict.fromkeys(entry for entry in [*entries, *HOSTS] if entry))
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = whole
