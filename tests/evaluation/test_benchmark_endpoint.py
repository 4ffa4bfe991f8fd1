"""A model behind an endpoint: it gets what the in-process engine gets, and its failures are unknown, not wrong."""

import base64
import http.server
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.evaluation.test_benchmark_job import colours
from wethink.common.errors import UserError
from wethink.evaluation.benchmarks.endpoint_engine import Served
from wethink.evaluation.benchmarks.engines import Query
from wethink.evaluation.benchmarks.run import Settings, records_of, run


class Server(http.server.ThreadingHTTPServer):
    bodies: list[dict[str, Any]]
    status: int = 200


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        message = {"role": "assistant", "content": "<think>x</think><answer>A</answer>"}
        reply = json.dumps({"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"version": "9.9"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server(("127.0.0.1", 0), Handler)
    made.bodies = []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()


def engine(server: Server, tmp_path: Path) -> Served:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1/"
    return Served(url, "m", None, 64, 8, tmp_path / "store.sqlite")


def picture(body: dict[str, Any], place: int) -> Image.Image:
    url = body["messages"][-1]["content"][place]["image_url"]["url"]
    return Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))


def test_text_and_pictures_arrive_in_order_pixel_by_pixel(server: Server, tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (9, 5), "red"), Image.new("RGB", (4, 4), "blue")
    queries = [
        Query("a", (red, "is it like", blue, "?"), 0.0, 0),
        Query("a", (red, "?"), 1.0, 3, system="wethink"),
        Query("a", (red, "?"), 1.0, 4, system="none"),
    ]
    replies = engine(server, tmp_path).answer(queries)
    assert [reply.text for reply in replies] == ["<think>x</think><answer>A</answer>"] * 3
    plain = next(body for body in server.bodies if body["temperature"] == 0)
    assert [part["type"] for part in plain["messages"][0]["content"]] == ["image_url", "text", "image_url", "text"]
    assert picture(plain, 0).tobytes() == red.tobytes() and picture(plain, 2).tobytes() == blue.tobytes()
    assert "response_format" not in plain and "seed" not in plain and len(plain["messages"]) == 1
    systems = {body["messages"][0]["content"] for body in server.bodies if len(body["messages"]) == 2}
    assert "" in systems and any(str(system).startswith("You FIRST think") for system in systems)
    assert len({body["seed"] for body in server.bodies if "seed" in body}) == 2


def test_what_was_answered_is_not_asked_again_by_another_run(server: Server, tmp_path: Path) -> None:
    table = colours(tmp_path, 6)
    settings = Settings("m", controls=False)
    run(table, engine(server, tmp_path), settings, tmp_path / "one")
    asked = len(server.bodies)
    run(table, engine(server, tmp_path), settings, tmp_path / "two")
    assert asked == 6 == len(server.bodies)
    about = json.loads(next((tmp_path / "one").rglob("run.json")).read_text())
    assert about["versions"] == {"server": "9.9"} and about["engine"] == "endpoint"


def test_a_server_that_refuses_every_call_stops_the_run_and_marks_no_item(server: Server, tmp_path: Path) -> None:
    server.status = 400
    with pytest.raises(UserError, match=r"endpoint 'benchmark' .* refuses every call to model 'm' .*HTTP 400"):
        run(colours(tmp_path, 4), engine(server, tmp_path), Settings("m", controls=False), tmp_path / "out")
    [folder] = (tmp_path / "out").glob("*/*")
    assert records_of(folder) == []
