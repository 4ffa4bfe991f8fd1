"""Benchmarks and checks of claims, by the question asked."""

from wethink.common.console import tolerate_encodings
from wethink.common.loopback import bypass_proxies

bypass_proxies()
tolerate_encodings()
