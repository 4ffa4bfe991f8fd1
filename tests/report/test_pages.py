"""`wethink open`: the front page lists what is there and what is not, and no request reaches any other file."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from wethink.common.errors import UserError
from wethink.common.paths import ROOT
from wethink.report import pages
from wethink.report.pages import PAGES, Server, front_page

SECRET = "the secret"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a report, a gallery, a decision, and files that are no pages."""
    root = tmp_path / "project"
    for name in (
        "reports/index.html",
        "reports/gallery/index.html",
        "reports/gallery/data/index.js",
        ".wethink/data_docs/index.html",
        ".wethink/retrain/birds-1/retrain/decision.html",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"<p>{name}</p>", encoding="utf-8")
    for name in ("params.yaml", "reports/summary.json", "reports/galleries.html", ".wethink/retrain/birds-1/.env"):
        (root / name).write_text(SECRET, encoding="utf-8")
    (tmp_path / "outside.html").write_text(SECRET, encoding="utf-8")
    return root


@pytest.fixture
def server(project: Path) -> Iterator[Server]:
    with Server(project, 0) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(server: Server, target: str, method: str = "GET", host: str | None = None) -> tuple[HTTPResponse, str]:
    """Send the target as it is written: clients like urllib resolve `..` themselves."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.putrequest(method, target, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
        connection.endheaders()
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def test_the_front_page_links_what_is_there_and_names_the_command_of_what_is_not(project: Path) -> None:
    text = front_page(project)
    assert 'href="/reports/index.html"' in text and 'href="/reports/gallery/index.html"' in text
    assert 'href="/.wethink/retrain/birds-1/retrain/decision.html"' in text and "Decision: birds-1" in text
    for page in PAGES:
        is_there = page.title in ("Run report", "Data gallery", "Data Docs", "Decision")
        assert (f"<code>{page.command}</code>" in text) != is_there, page.title
    assert "params.yaml" not in text and "summary.json" not in text
    (project / "reports/seeds.html").write_text("x", encoding="utf-8")
    assert 'href="/reports/seeds.html"' in front_page(project)


def test_the_front_page_of_a_new_project_names_the_first_command(tmp_path: Path) -> None:
    text = front_page(tmp_path)
    assert "make demo" in text and "href" not in text


def test_a_name_is_never_markup(project: Path) -> None:
    folder = project / ".wethink/retrain/<img src=x>?&#/retrain"
    folder.mkdir(parents=True)
    (folder / "decision.html").write_text("odd", encoding="utf-8")
    text = front_page(project)
    assert "<img" not in text and "%3Cimg%20src%3Dx%3E%3F%26%23/retrain/decision.html" in text


def test_every_link_of_the_front_page_and_the_files_beside_a_page_are_served(server: Server) -> None:
    _, text = ask(server, "/")
    links = [part.split('"')[0] for part in text.split('href="')[1:]]
    assert len(links) == 4
    for link in [*links, "/reports/gallery/data/index.js", "/reports/gallery/?x=1", "/reports/"]:
        response, body = ask(server, link)
        assert response.status == 200 and body.startswith("<p>"), link
    assert "javascript" in str(ask(server, "/reports/gallery/data/index.js")[0].getheader("Content-Type"))
    assert ask(server, "/reports/index.html")[0].getheader("Content-Type") == "text/html; charset=utf-8"
    assert "sandbox" in str(ask(server, "/.wethink/data_docs/")[0].getheader("Content-Security-Policy"))


@pytest.mark.parametrize(
    "target",
    [
        "/params.yaml",
        "/../params.yaml",
        "/%2e%2e/params.yaml",
        "/reports/../params.yaml",
        "/reports/gallery/../../params.yaml",
        "/reports/gallery/%2e%2e/summary.json",
        "/reports/gallery/..%2f..%2fparams.yaml",
        "/reports/gallery/%252e%252e/summary.json",
        "/reports/gallery/..\\..\\params.yaml",
        "/reports/gallery//../../params.yaml",
        "//params.yaml",
        "///etc/passwd",
        "/etc/passwd",
        "/reports/gallery//etc/passwd",
        "/reports/gallery/%00",
        "/reports/gallery/" + "x" * 300,
        "/reports/gallery/%ff",
        "/reports/summary.json",
        "/reports/galleries.html",
        "/.wethink/retrain/birds-1/.env",
        "/.wethink/retrain/*/retrain/decision.html",
        "/.wethink/",
        "/reports/gallery",
        "/reports/gallery/data/",
        "/reports/seeds.html",
        "params.yaml",
        "file:///etc/passwd",
        "http://evil.example/reports/index.html",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_no_other_file_is_served_and_no_folder_is_listed(server: Server, target: str, method: str) -> None:
    response, body = ask(server, target, method)
    assert response.status == 404 and SECRET not in body and "root:" not in body and "chunk" not in body


def test_links_that_lead_elsewhere_are_refused(server: Server, project: Path) -> None:
    (project / "reports/gallery/out.html").symlink_to(project.parent / "outside.html")
    (project / "reports/gallery/params").symlink_to(project / "params.yaml")
    (project / "reports/gallery/folder").symlink_to(project.parent, target_is_directory=True)
    (project / "reports/gallery/loop").symlink_to("loop")
    (project / "reports/seeds.html").symlink_to(project.parent / "outside.html")
    (project / "reports/gate.html").symlink_to(project / "params.yaml")
    (project / "reports/leaderboard").symlink_to(project.parent, target_is_directory=True)
    for name in (*(f"gallery/{n}" for n in ("out.html", "params", "folder/outside.html", "loop")), "seeds.html"):
        assert ask(server, f"/reports/{name}")[0].status == 404, name
    for name in ("gate.html", "leaderboard/outside.html"):
        assert ask(server, f"/reports/{name}")[0].status == 404, name
    text = front_page(project)
    assert "reports/seeds.html is a link that leads elsewhere" in text and 'href="/reports/seeds.html"' not in text


def test_a_page_that_dvc_links_to_its_cache_is_served(server: Server, project: Path) -> None:
    cached = project / ".dvc/cache/files/md5/ab/cdef"
    cached.parent.mkdir(parents=True)
    (project / "reports/index.html").rename(cached)
    (project / "reports/index.html").symlink_to(cached)
    response, body = ask(server, "/reports/index.html")
    assert response.status == 200 and body.startswith("<p>")
    assert response.getheader("Content-Type") == "text/html; charset=utf-8"
    (project / "reports/gallery/page.html").symlink_to(cached)
    assert ask(server, "/reports/gallery/page.html")[0].status == 404
    assert ask(server, "/.dvc/cache/files/md5/ab/cdef")[0].status == 404


def test_head_has_the_length_and_no_body_and_nothing_can_be_written(server: Server, project: Path) -> None:
    response, body = ask(server, "/reports/index.html", "HEAD")
    length = len((project / "reports/index.html").read_bytes())
    assert response.status == 200 and body == "" and response.getheader("Content-Length") == str(length)
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        assert ask(server, "/reports/index.html", method)[0].status >= 400
    assert (project / "reports/index.html").read_text() == "<p>reports/index.html</p>"


def test_only_this_machine_is_answered_under_its_own_name(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, "/", host="localhost:9000")[0].status == 200
    for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1.evil.example", "0.0.0.0", "["):
        assert ask(server, "/", host=host)[0].status == 404, host
    with socket.socket(socket.AF_INET) as other, pytest.raises(OSError):
        other.settimeout(1)
        other.connect(("127.0.0.2", server.server_port))


def test_a_port_in_use_is_refused_in_a_sentence_and_the_usual_one_is_replaced(
    server: Server, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=rf"--port {server.server_port}: address already in use; give another"):
        Server(project, server.server_port)
    with pytest.raises(UserError, match="--port 99999 is no port"):
        Server(project, 99999)
    monkeypatch.setattr(pages, "PREFERRED_PORT", server.server_port)
    with Server(project) as second:
        assert second.server_port != server.server_port


def test_the_command_prints_one_line_and_ends_cleanly_with_ctrl_c(project: Path) -> None:
    command = [sys.executable, "-m", "wethink", "open", "--no-browser", "--port", "0"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        timer = threading.Timer(60, process.kill)  # a server that does not end must not hold up the suite
        timer.daemon = True
        timer.start()
        line = process.stdout.readline()
        assert line.startswith("pages of project: http://127.0.0.1:") and "Ctrl-C" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr.read() == "" and process.stdout.read().strip() == ""


def test_the_browser_is_opened_unless_it_is_not_wanted(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    seen = threading.Event()

    def stop(server: Server) -> None:
        assert not wanted or seen.wait(10)
        raise KeyboardInterrupt

    def browse(url: str) -> None:
        opened.append(url)
        seen.set()

    monkeypatch.setattr("webbrowser.open", browse)
    monkeypatch.setattr(Server, "serve_forever", stop)
    for wanted in (False, True):
        pages.serve(project, 0, open_browser=wanted)
    assert len(opened) == 1 and opened[0].startswith("http://127.0.0.1:")
