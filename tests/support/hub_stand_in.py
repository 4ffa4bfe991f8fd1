"""Stand-in for the Hugging Face Hub over HTTP: makes repositories, takes commits, and keeps what it was sent."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_planted_secret"


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Hub:
    """Repositories and files of the stand-in, by `models/owner/name` or `datasets/owner/name`, and its address."""

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)


@contextmanager
def hub_stand_in() -> Iterator[Hub]:
    """Run the stand-in on a free port of loopback."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

        def _answer(self, body: bytes) -> None:
            hub.calls.append(f"{self.command} {self.path}")
            allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
            status, reply = answer(hub, self.path.partition("?")[0], body) if allowed else (401, {"error": "no"})
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


def answer(hub: Hub, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """The status and the reply to a request."""
    if path == "/api/repos/create":
        asked = json.loads(body)
        owner = asked.get("organization") or "me"
        name = f"{asked.get('type', 'model')}s/{owner}/{asked['name']}"
        status = 409 if name in hub.repositories else 200
        hub.repositories.setdefault(
            name, Repository("private" in (asked.get("visibility"), asked.get("private") and "private"))
        )
        return status, {"url": f"{hub.url}/{name.removeprefix('models/')}"}
    if path == "/api/validate-yaml":
        return 200, {"errors": [], "warnings": []}
    name, action = "/".join(path.split("/")[2:5]), "/".join(path.split("/")[5:])
    if name not in hub.repositories:
        return 404, {"error": "there is none"}
    if action.startswith("preupload"):
        files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
        return 200, {"files": [entry | {"shouldIgnore": False} for entry in files]}
    if action.startswith("commit"):
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                hub.repositories[name].files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        home = f"{hub.url}/{name.removeprefix('models/')}"
        return 200, {"commitUrl": f"{home}/commit/{'1' * 40}", "commitOid": "1" * 40, "success": True}
    short = name.partition("/")[2]
    return 200, {"id": short, "_id": "1", "private": hub.repositories[name].private, "sha": "1" * 40, "tags": []}
