"""The user's environment: what no retry mends is one sentence at once, and a server that is down is said to be down."""

import datetime
import http.server
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.asking import ask, endpoint, request
from tests.support.chat_server import chat_server
from wethink.clients import chat as client
from wethink.clients.chat import Unavailable, require_keys
from wethink.clients.connection import key_of
from wethink.clients.response_store import Answer
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.common.loopback import bypass_proxies, is_loopback

ROOT = Path(__file__).resolve().parents[2]
PROXIES = [name for scheme in ("http", "https", "all", "no") for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)


def refused(tmp_path: Path, url: str, seconds: float = 10.0, **changes: object) -> str:
    """The sentence of a call that cannot be made; it must come at once."""
    begin = time.monotonic()
    [found] = ask(tmp_path / "a.sqlite", [request()], endpoint(url, **changes), say=lambda line: None)
    assert time.monotonic() - begin < seconds, "it was retried"
    assert isinstance(found, UserError), found
    assert "\n" not in str(found) and "'here'" in str(found)
    return str(found)


@pytest.mark.parametrize("key", ["sk-abc\r", " sk-abc\n", "\tsk-abc\r\n", "\ufeffsk-abc"])
def test_blanks_and_line_ends_around_a_key_are_stripped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("KEY", key)
    with chat_server(tmp_path, key="sk-abc") as url:
        [found] = ask(tmp_path / "a.sqlite", [request()], endpoint(url, key_env="KEY"))
    assert isinstance(found, Answer)


@pytest.mark.parametrize("key", ["sk-a\rbc", "sk-ключ", "sk-a\x7fb", "sk-“abc”", "sk-a\x1b[0m", "sk-a\u200bb"])
def test_a_key_that_no_header_holds_is_named_by_its_variable_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("KEY", key)
    said = refused(tmp_path, "http://127.0.0.1:9", key_env="KEY")
    assert "variable KEY has" in said and key not in said and "sk-" not in said
    with pytest.raises(UserError, match="KEY"):
        require_keys({"here": endpoint("http://127.0.0.1:9", key_env="KEY")})


@pytest.mark.parametrize("key", ["", " ", "\r\n", "\ufeff"])
def test_a_key_of_blanks_is_not_set(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("KEY", key)
    with pytest.raises(UserError, match="KEY, which is not set"):
        key_of("here", endpoint("http://127.0.0.1:9", key_env="KEY"))


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY"])
def test_a_socks_proxy_without_its_library_is_named_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(name, "socks5://user:secret@127.0.0.1:1080")
    said = refused(tmp_path, "http://192.0.2.1")
    assert name in said and "socksio" in said and "secret" not in said


@pytest.mark.parametrize("value", ["gopher://127.0.0.1:9", "http://[::1", "http://127.0.0.1:port"])
def test_a_proxy_that_cannot_be_parsed_is_named_by_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    assert "HTTP_PROXY" in refused(tmp_path, "http://192.0.2.1")


def test_a_loopback_endpoint_takes_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with chat_server(tmp_path) as url:
        for place in (url, url.replace("127.0.0.1", "localhost")):
            [found] = ask(tmp_path / f"{len(place)}.sqlite", [request()], endpoint(place))
            assert isinstance(found, Answer), found


def test_a_proxy_that_is_down_is_named_while_the_call_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://user:secret@127.0.0.1:9")
    [found] = ask(tmp_path / "a.sqlite", [request()], endpoint("http://192.0.2.1", attempts=1), say=lambda line: None)
    assert isinstance(found, Unavailable) and found.retryable
    assert "HTTP_PROXY" in found.reason and "secret" not in found.reason


def test_the_host_of_a_url_that_cannot_be_resolved_is_told_at_once(tmp_path: Path) -> None:
    said = refused(tmp_path, "https://no-such-host.invalid", seconds=60)
    assert "cannot be resolved" in said and "no-such-host.invalid" in said


def test_a_host_that_answered_before_may_be_lost_for_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_BACKOFF", 0.01)
    with chat_server(tmp_path) as url:
        where = url.replace("127.0.0.1", "localhost")
        lookup, lost = socket.getaddrinfo, 0

        def flaky(host: str, *more: object, **named: object) -> object:
            nonlocal lost
            if host in (b"localhost", "localhost") and first_answered.is_set() and lost < 2:
                lost += 1
                raise socket.gaierror(-3, "Temporary failure in name resolution")
            return lookup(host, *more, **named)  # type: ignore[arg-type]

        first_answered = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", flaky)

        import asyncio

        from wethink.clients.chat import Chat
        from wethink.clients.response_store import ResponseStore

        async def run() -> list[object]:
            with ResponseStore(tmp_path / "a.sqlite") as store:
                async with Chat({"here": endpoint(where)}, store) as chat:
                    first = await chat.ask(request(0))
                    for connected in chat._clients.values():
                        await connected.close()
                    chat._clients.clear()
                    first_answered.set()
                    return [first, await chat.ask(request(1))]

        assert all(isinstance(answer, Answer) for answer in asyncio.run(run())) and lost == 2


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[str]:
    """The address of a TLS server with a certificate of its own."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=localhost")
    now = datetime.datetime.now(datetime.UTC)
    days = datetime.timedelta(days=1)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - days, now + days).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "own.pem").write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()


def test_a_certificate_that_is_not_trusted_is_told_at_once(tmp_path: Path, secure: str) -> None:
    said = refused(tmp_path, secure)
    assert "certificate that is not trusted (self-signed certificate)" in said and "SSL_CERT_FILE" in said


def test_https_to_a_server_that_speaks_http_is_told_at_once(tmp_path: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign,assignment]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert "speaks no TLS" in refused(tmp_path, f"https://127.0.0.1:{server.server_port}")
    server.shutdown()


def test_a_certificate_file_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert "SSL_CERT_FILE" in refused(tmp_path, "https://192.0.2.1")


def test_a_port_that_is_none_is_told_at_once(tmp_path: Path) -> None:
    assert "70000" in refused(tmp_path, "http://127.0.0.1:70000")


def test_a_server_that_is_down_is_said_to_be_down_within_seconds_with_the_time_that_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LONGEST_BACKOFF", 1.0)
    begin, said = time.monotonic(), list[tuple[float, str]]()
    where = endpoint("http://127.0.0.1:9", give_up_seconds=6.0, attempts=50)
    [found] = ask(
        tmp_path / "a.sqlite",
        [request()],
        where,
        say=lambda line: said.append((time.monotonic() - begin, line)),
    )
    assert isinstance(found, UserError) and found.exit_code == TRY_AGAIN_LATER
    assert len(said) == 1 and said[0][0] < 5
    told = re.search(r"not answered for (\d) s \(connection refused\); .* giving up after (\d) s more", said[0][1])
    assert told and sum(map(int, told.groups())) == 6


def test_a_server_that_comes_back_is_said_to_be_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_NOTICE", 0.0)
    said = list[str]()
    back = tmp_path / "back"

    def say(line: str) -> None:
        said.append(line)
        back.touch()

    with chat_server(tmp_path, status=503, until=back) as url:
        [found] = ask(tmp_path / "a.sqlite", [request()], endpoint(url), say=say)
    assert isinstance(found, Answer) and "(HTTP 503)" in said[0] and said[1] == "endpoint 'here' answers again."


@pytest.mark.parametrize(
    ("host", "loopback"),
    [(host, True) for host in ("127.0.0.1", "127.8.8.8", "::1", "LOCALHOST", "localhost.")]
    + [(host, False) for host in ("localhost.example.org", "10.0.0.1", "example.org", None)],
)
def test_loopback_is_told_from_other_hosts(host: str | None, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [
        (None, None, "127.0.0.1,localhost,::1"),
        ("a.org", None, "a.org,127.0.0.1,localhost,::1"),
        ("a.org", "b.org, localhost", "a.org,b.org,localhost,127.0.0.1,::1"),
        ("*", None, "*,127.0.0.1,localhost,::1"),
    ],
)
def test_loopback_is_added_to_what_takes_no_proxy(
    monkeypatch: pytest.MonkeyPatch, upper: str | None, lower: str | None, expected: str
) -> None:
    for name, value in (("NO_PROXY", upper), ("no_proxy", lower)):
        if value is not None:
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    bypass_proxies()
    bypass_proxies()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == expected
    import urllib.request

    assert urllib.request.proxy_bypass("127.0.0.1") and urllib.request.proxy_bypass("localhost")


@pytest.mark.parametrize("package", ["tasks", "flows", "benchmarks"])
def test_every_entry_point_asks_this_machine_without_a_proxy_and_prints_to_any_terminal(package: str) -> None:
    code = f"import {package}, os, urllib.request; print(urllib.request.proxy_bypass('127.0.0.1'), '\\u2192')"
    environment = os.environ | {"HTTP_PROXY": "http://127.0.0.1:9", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stdout.split() in ([b"True", b"?"], [b"1", b"?"]), done.stderr


@pytest.mark.parametrize(
    "environment",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}],
)
def test_commands_print_to_a_terminal_that_is_not_utf8(tmp_path: Path, environment: dict[str, str]) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "wethink", *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            timeout=120,
        )

    helped = run("--help")
    assert helped.returncode == 0 and b"benchmark" in helped.stdout
    out = tmp_path / "c.json"
    done = run("calibrate", "tests/rewards/cases/descriptions.jsonl", "--out", str(out))
    assert done.returncode == 0 and out.is_file(), done.stderr[-2000:]
