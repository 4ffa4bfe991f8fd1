"""Headless Chromium for tests of HTML pages, driven by Playwright; without it the tests fail."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def chromium() -> str | None:
    """The path of a Chromium: $CHROMIUM, one on the PATH, or none (Playwright's own, if it was downloaded)."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROMIUM") or next((found for name in names if (found := shutil.which(name))), None)


@contextmanager
def opened(page: Path, width: int = 1400, height: int = 1000) -> Iterator[tuple[Any, list[str]]]:
    """A page opened from its file, and the list that its errors, console messages and requests for files go to."""
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        except Error as error:
            pytest.fail(f"no Chromium: install it (Debian: apt install chromium) or `playwright install`: {error}")
        view = browser.new_page(viewport={"width": width, "height": height}, accept_downloads=True)
        said: list[str] = []
        view.on("pageerror", lambda error: said.append(str(error)))
        view.on("console", lambda message: said.append(message.text))
        view.on("request", lambda request: request.url.startswith("http") and said.append(request.url))
        view.goto(page.resolve().as_uri())
        yield view, said
        browser.close()


def until(page: Any, expression: str, seconds: float = 30.0) -> None:
    """Wait until an expression is true (Playwright's own waiting evaluates strings, which a page's policy forbids)."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, f"not within {seconds} s: {expression}"
        time.sleep(0.05)
