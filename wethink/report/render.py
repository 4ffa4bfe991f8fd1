"""Jinja environment of the HTML pages: template loader, number formats, script hashes."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from wethink.report.plots import figure, percent, points

TEMPLATES = Path(__file__).resolve().parent / "templates"


def direction(difference: dict[str, Any]) -> str:
    """Classify a difference: gain, loss, none (interval includes 0) or unknown."""
    mean, low, high = difference["mean"], difference["low"], difference["high"]
    if mean is None:
        return "unknown"
    return "none" if low <= 0 <= high else "gain" if low > 0 else "loss"


def render(template: str, /, **values: object) -> str:
    """Fill a file of `templates/`; every value that is not `Markup` is escaped."""
    return environment().get_template(template).render(values)


@cache
def environment() -> Environment:
    """Build the Jinja environment.

    It has filters that format figures, and `asset`, which inserts a CSS or JavaScript file unescaped.
    """
    loader = FileSystemLoader(TEMPLATES)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, points=points, figure=figure, count=lambda value: f"{value:,}")
    environment.filters["sha256"] = sha256
    # read through the loader, as templates are: a test records there which files a page is made of
    environment.globals["asset"] = lambda name: Markup(loader.get_source(environment, name)[0])
    return environment


def sha256(script: str) -> str:
    """Hash a script for `script-src 'sha256-…'` of a content security policy."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
