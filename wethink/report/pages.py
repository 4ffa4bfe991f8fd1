"""Read-only web server on loopback for all pages of a project, behind one front page with links.

Only the files and folders of `PAGES` are served. Their addresses are their paths in the project, so that links between
pages work as they do from files.
"""

import errno
import mimetypes
import os
import sys
import threading
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote

from wethink.common.errors import UserError
from wethink.common.paths import WORK
from wethink.report.render import render

HOST = "127.0.0.1"
# The audit page keeps unsaved verdicts in the browser, for its address only: the port should be the same every time.
PREFERRED_PORT = 8712
HOST_NAMES = ("127.0.0.1", "localhost")
DVC_CACHE = Path(".dvc/cache")


@dataclass(frozen=True)
class Page:
    """One page, or one page for each worktree.

    `path` is relative to the project; `*` in it is the name of a worktree. With `is_folder`, all files beside the
    page and below are served, too. `policy` is sent as the page's Content-Security-Policy.
    """

    title: str
    about: str
    path: str
    command: str
    is_folder: bool = False
    policy: str = ""

    def includes(self, file: PurePosixPath) -> bool:
        """Return whether a path relative to the project belongs to this page."""
        page = PurePosixPath(self.path)
        if self.is_folder:
            depth = len(page.parent.parts)
            return len(file.parts) > depth and PurePosixPath(*file.parts[:depth]).match(str(page.parent))
        return len(file.parts) == len(page.parts) and file.match(self.path)

    def folder(self, root: Path, file: PurePosixPath) -> Path:
        """Return the folder that a file of this page must lie in."""
        return root.joinpath(*file.parts[: len(PurePosixPath(self.path).parts) - 1])


PAGES = (
    Page("Run report", "Base, SFT and GRPO: results, curves, data and examples.", "reports/index.html", "make demo"),
    Page(
        "Preview of the data",
        "How sources and rows will be read, and what is dropped.",
        "reports/preview.html",
        "wethink preview",
    ),
    Page(
        "Data gallery",
        "Every image, question, answer and verdict.",
        "reports/gallery/index.html",
        "wethink gallery",
        is_folder=True,
    ),
    Page("Audit", "A random sample of rows to accept or reject.", "reports/audit.html", "wethink audit sample"),
    Page(
        "Data Docs",
        "The validation's expectations and their results, by Great Expectations.",
        f"{WORK.as_posix()}/data_docs/index.html",
        "wethink validate",
        is_folder=True,
        # It loads scripts from CDNs. In a sandbox they have an origin of their own and cannot read the other pages.
        policy="sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox",
    ),
    Page(
        "Leaderboard",
        "Every benchmark result beside the published ones, down to each item.",
        "reports/leaderboard/index.html",
        "wethink leaderboard",
        is_folder=True,
    ),
    Page("Controls", "GRPO beside other uses of the same compute, over seeds.", "reports/seeds.html", "make seeds"),
    Page("Ablations", "The paper's claims in miniature.", "reports/ablations.html", "make ablations"),
    Page("Promotion gate", "Which sources the gate lets through.", "reports/gate.html", "make gate"),
    Page(
        "Decision",
        "Whether a challenger took the champion's place, and why.",
        f"{WORK.as_posix()}/retrain/*/retrain/decision.html",
        "python -m flows.retrain SOURCE --bucket NAME",
    ),
    Page(
        "Gallery of a source",
        "The rows of one new source, before anything is trained on them.",
        f"{WORK.as_posix()}/synthesize/*/reports/gallery/index.html",
        "python -m flows.source_rows SOURCE --bucket NAME",
        is_folder=True,
    ),
)


def find(root: Path, target: str) -> tuple[Path, Page] | None:
    """Return the file that a request names and its page, or None for other files.

    The file lies where its address says: a link that leads elsewhere is not followed, except from a page into DVC's
    cache, where DVC links its outputs to.
    """
    address = unquote(target.partition("?")[0])
    parts = (address + "index.html" if address.endswith("/") else address).split("/")
    if parts[0] or any(part in ("", ".", "..") or "\0" in part for part in parts[1:]):
        return None
    root = root.resolve()
    file = PurePosixPath(*parts[1:])
    page = next((page for page in PAGES if page.includes(file)), None)
    path = Path(os.path.realpath(root / file))
    if page is None or not os.path.isfile(path):  # unlike Path.is_file, no error for a name that is too long
        return None
    inside = page.is_folder and path.is_relative_to(page.folder(root, file))
    is_allowed = inside or path == root / file or (file.match(page.path) and path.is_relative_to(root / DVC_CACHE))
    return (path, page) if is_allowed else None


def front_page(root: Path) -> str:
    """Render the links to existing pages, and the commands that make the others."""
    there: list[dict[str, Any]] = []
    missing: list[dict[str, Any]] = []
    for page in PAGES:
        for title, file in _files(root, page):
            entry = {"title": title, "about": page.about, "path": file, "command": page.command}
            found = find(root, f"/{quote(file)}")
            if found:
                made = datetime.fromtimestamp(found[0].stat().st_mtime)
                there.append(entry | {"href": quote(file), "made": f"{made:%d %B %Y, %H:%M}"})
            else:
                missing.append(entry | {"is_link": "*" not in file and (root / file).is_file()})
    return render("front_page.html.jinja", project=root.resolve(), pages=there, missing=missing)


def _files(root: Path, page: Page) -> Iterator[tuple[str, str]]:
    """Yield title and path of a page, for each worktree where it has several.

    Without a worktree, the path is the pattern.
    """
    if "*" not in page.path:
        yield page.title, page.path
        return
    place = PurePosixPath(page.path).parts.index("*")
    files = sorted(path.relative_to(root) for path in root.glob(page.path))
    yield from ((f"{page.title}: {file.parts[place]}", file.as_posix()) for file in files)
    if not files:
        yield page.title, page.path


class Server(ThreadingHTTPServer):
    """HTTP server of one project's pages, on loopback only.

    Without a port it listens on the usual one, or on a free one where that is in use.

    Raises:
        UserError: the port is in use or not allowed.
    """

    def __init__(self, root: Path, port: int | None = None) -> None:
        self.root = root.resolve()
        try:
            super().__init__((HOST, PREFERRED_PORT if port is None else port), _Handler)
        except OverflowError:
            raise UserError(f"--port {port} is no port; give one from 1024 to 65535, or none for a free one.") from None
        except OSError as error:
            if port is not None:
                reason = os.strerror(error.errno or 0).lower()
                raise UserError(f"--port {port}: {reason}; give another port, or none for a free one.") from None
            if error.errno != errno.EADDRINUSE:
                raise
            super().__init__((HOST, 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an error of a request, unless the browser closed the connection."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version, sys_version = "wethink", ""
    timeout = 60  # seconds that an idle connection may hold a thread

    def do_GET(self) -> None:
        self._respond(*self._content())

    def do_HEAD(self) -> None:
        self._respond(*self._content(), with_body=False)

    def _content(self) -> tuple[HTTPStatus, bytes, str, str]:
        """Return status, body, media type and policy of the response."""
        own_policy = "default-src 'none'; style-src 'unsafe-inline'"
        html = "text/html; charset=utf-8"
        # A website whose name was pointed at 127.0.0.1 (DNS rebinding) sends its own name here.
        host = self.headers.get("Host")
        if host is None or host.partition(":")[0] in HOST_NAMES:
            if self.path.partition("?")[0] == "/":
                return HTTPStatus.OK, front_page(self.server.root).encode(), html, own_policy
            try:
                if found := find(self.server.root, self.path):
                    return HTTPStatus.OK, found[0].read_bytes(), _media_type(found[0], self.path), found[1].policy
            except OSError:
                pass  # unreadable, or gone since it was found: as if it were not there
        body = f"There is no such page. All pages: {self.server.url}\n".encode()
        return HTTPStatus.NOT_FOUND, body, "text/plain; charset=utf-8", own_policy

    def _respond(self, status: HTTPStatus, body: bytes, kind: str, policy: str, with_body: bool = True) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if policy:
            self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing: the terminal shows the address only."""


def _media_type(path: Path, target: str) -> str:
    """Guess the media type from the address: a file in DVC's cache has no suffix."""
    name = target.partition("?")[0]
    kind = mimetypes.guess_type("index.html" if name.endswith("/") else name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def serve(root: Path, port: int | None = None, open_browser: bool = True) -> None:
    """Serve a project's pages on loopback until Ctrl-C.

    Raises:
        UserError: the port is in use or not allowed.
    """
    with Server(root, port) as server:
        try:
            print(f"pages of {server.root.name}: {server.url} (Ctrl-C stops)", flush=True)
            if open_browser:  # in a thread, since a browser in the terminal returns only when it is closed
                threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
            server.serve_forever()
        except KeyboardInterrupt:
            print()
