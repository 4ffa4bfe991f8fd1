"""The response store: the same laws for a SQLite file and a PostgreSQL database."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks import ROOT
from tasks.stack import layout, postgres
from tasks.stack.layout import Stack
from tests.clients.asking import endpoint, request
from tests.support.chat_server import chat_server, stats
from tests.support.database import cluster, serve
from wethink.cli import main as wethink
from wethink.clients import chat as client
from wethink.clients import postgres_store
from wethink.clients.chat import Chat
from wethink.clients.response_store import Answer, Call, ResponseStore, exists
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.config.launch import absolute_store
from wethink.config.params import load_params

Place = Callable[[str], Path | str]
ANSWERED = ("r", "e", "m", "answered", 1.0, 1, 1)
NUMBERS = iter(range(10**6))


@pytest.fixture(scope="module")
def database() -> Iterator[Stack]:
    with cluster() as stack:
        yield stack


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Name → a store of its own."""
    if request.param == "sqlite":
        return lambda name: tmp_path / f"{name}.sqlite"
    request.getfixturevalue("passwords")
    stack, made = request.getfixturevalue("database"), dict[str, str]()

    def url(name: str) -> str:
        if name not in made:
            made[name] = new_database(stack)
        return made[name]

    return url


@pytest.fixture
def passwords(database: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", str(database.password_file))


def new_database(stack: Stack) -> str:
    name = f"answers{next(NUMBERS)}"
    postgres.ask(stack, f'CREATE DATABASE "{name}"')
    return f"postgresql://{layout.ROLE}@{layout.HOST}:{stack.ports['postgres']}/{name}"


def answers(monkeypatch: pytest.MonkeyPatch, *stores: str) -> int:
    """`wethink answers STORE …` in this folder; its exit code."""
    monkeypatch.setattr(sys, "argv", ["wethink", "answers", *stores])
    return int(wethink.main())


def python(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """A process of its own, which may use the store's names."""
    head = "import os, sys, time\nfrom wethink.clients.response_store import *\n"
    command = [sys.executable, "-c", head + script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def holder(expression: str, place: Path | str) -> "subprocess.Popen[str]":
    """A process that has done this to a store, which it still has open."""
    process = python(f"store = ResponseStore(sys.argv[1])\nprint({expression}, flush=True); time.sleep(60)", place)
    assert process.stdout is not None and process.stdout.readline().strip() not in ("", "None", "False")
    return process


def test_an_answer_and_its_bill_are_kept_together_or_not_at_all(place: Place) -> None:
    """The process is killed between the two."""
    killed = python(
        "store, call = ResponseStore(sys.argv[1]), Call('k', 'r', 'e', 'm', 'answered', 1.0, 1, 1, 1.0)\n"
        "store._bill = lambda *_: os.kill(os.getpid(), 9)\nstore.put(Answer('a', 'stop'), call)\n",
        place("a"),
    )
    assert killed.wait(60) == -9
    with ResponseStore(place("a")) as store:
        assert store.get("k") is None and store.spent() == 0.0
        store.put(Answer("a", "stop"), Call("k", *ANSWERED, 1.0))
        store.put(Answer("b", "stop"), Call("k", *ANSWERED, 1.0))
        assert store.get("k") == Answer("a", "stop") and store.spent() == 2.0


@pytest.mark.parametrize("text", ["", "日本 \U0001f9ea é", "a\0b\1c\1\2d\1\1", "%s ? $1 'x' \\ \n\r\t", "{" * 65_536])
def test_any_text_comes_back_as_it_was(place: Place, text: str) -> None:
    with ResponseStore(place("a")) as store:
        store.put(Answer(text, "stop", text), Call("k", *ANSWERED))
        assert store.get("k") == Answer(text, "stop", text)


def test_the_ledger_tells_a_second_purchase_from_two_calls_on_their_way_at_once(place: Place) -> None:
    with ResponseStore(place("a")) as store:
        store.put(Answer("a", "stop"), Call("k", *ANSWERED))
        store.put(Answer("a", "stop"), Call("k", *ANSWERED))  # sent before the first was stored
        assert store.duplicate_charges() == 0
        store.put(Answer("a", "stop"), Call("k", "r", "e", "m", "answered", 0.0))  # sent after it
        assert store.duplicate_charges() == 1


def test_sums_and_samples_of_the_ledger_are_the_same_in_both(place: Place) -> None:
    with ResponseStore(place("a")) as store:
        for key, role in (("B", "z"), ("a", "z"), ("Z", "judge")):
            store.put(Answer(key, "stop"), Call(key, role, "e", "m", "answered", 2.0, 3, 4, 0.5, at=1.0))
        store.failed(Call("a", "z", "e", "m", "timeout", 1.0, at=2.0, words="x"))
        assert [(line["role"], line["outcome"], line["calls"]) for line in store.ledger()] == [
            ("judge", "answered", 1),
            ("z", "answered", 2),
            ("z", "timeout", 1),
        ]
        assert store.ledger()[1] | {"cost": 1.0, "mean_seconds": 2.0, "prompt_tokens": 6} == store.ledger()[1]
        assert [call["text"] for call in store.sample(9, "judge", False)] == ["B", "a"]
        assert (
            store.sample(1, "judge", True)[0] | {"key": "Z", "at": 1.0, "cost": 0.5}
            == store.sample(1, "judge", True)[0]
        )
        assert store.spent() == 1.5


def test_processes_that_share_a_store_share_the_budget_and_the_dead_hold_nothing(place: Place) -> None:
    with ResponseStore(place("a")) as store:
        other = holder("store.reserve(6.0, 10.0)", place("a"))
        assert store.reserve(6.0, 10.0) is None
        other.kill()
        other.wait()
        assert _soon(lambda: store.reserve(6.0, 10.0)) is not None
        assert store.reserve(6.0, 10.0) is None, "it has dropped its own"


def test_a_claim_holds_until_its_holder_frees_it_or_dies(place: Place) -> None:
    with ResponseStore(place("a")) as store, ResponseStore(place("a")) as other:
        assert store.claim("k") and store.claim("k") and not other.claim("k") and other.claim("l")
        store.disclaim("k")
        assert other.claim("k") and not store.claim("k")
    other = holder("store.claim('k')", place("a"))
    with ResponseStore(place("a")) as store:
        assert not store.claim("k")
        other.kill()
        other.wait()
        assert _soon(lambda: store.claim("k"))


def _soon(condition: Callable[[], Any]) -> Any:
    """A killed process's connection ends a moment after it."""
    until = time.monotonic() + 30
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.05)
    return found


@pytest.mark.parametrize("claims", [True, False], ids=["", "mutant: no claim"])
def test_what_two_workers_ask_at_the_same_moment_is_bought_once(
    place: Place, tmp_path: Path, claims: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two connections to one store, as of two processes; the server drops and stalls some of the calls."""
    if not claims:
        monkeypatch.setattr(ResponseStore, "claim", lambda *_: True)
    monkeypatch.setattr(client, "FIRST_BACKOFF", 0.01)

    async def worker(store: ResponseStore, url: str) -> list[Answer]:
        async with Chat({"here": endpoint(url, attempts=20, concurrency=4, deadline_seconds=300.0)}, store) as chat:
            return await asyncio.gather(*(chat.ask(request(number)) for number in range(12)))

    async def both(url: str) -> list[list[Answer]]:
        with ResponseStore(place("a")) as one, ResponseStore(place("a")) as other:
            return await asyncio.gather(worker(one, url), worker(other, url))

    with chat_server(tmp_path, latency=0.3, faults=0.2 if claims else 0.0, stall=0.3) as url:
        one, other = asyncio.run(both(url))
        seen = stats(url)
    assert one == other and seen["distinct"] == 12
    assert (seen["answered"] == 12) is claims, seen
    with ResponseStore(place("a")) as store:
        assert sum(line["calls"] for line in store.ledger() if line["outcome"] == "answered") == seen["answered"]


def _filled(place: Place) -> tuple[Path | str, Path | str]:
    for name in ("one", "other"):
        with ResponseStore(place(name)) as store:
            store.put(Answer(name, "stop"), Call("both", *ANSWERED, 1.0))
            store.put(Answer(name, "stop", "h\0m"), Call(f"only {name}", *ANSWERED, 2.0))
            store.failed(Call(f"only {name}", "r", "e", "m", "timeout", 1.0))
    return place("one"), place("other")


def test_the_stores_of_two_machines_are_one_after_a_merge_and_nothing_counts_twice(place: Place) -> None:
    one, other = _filled(place)
    with ResponseStore(one) as store:
        assert store.merge(other) == {"answers": 1, "calls": 3, "kept": 1}
        assert store.merge(other) == {"answers": 0, "calls": 0, "kept": 1} == store.merge(other)
        assert store.get("both") == Answer("one", "stop") and store.get("only other") == Answer("other", "stop", "h\0m")
        assert store.spent() == 6.0 == sum(line["cost"] for line in store.ledger())
        assert sum(line["calls"] for line in store.ledger()) == 6
        assert store.merge(one) == {"answers": 0, "calls": 0, "kept": 0}
        assert store.spent() == 6.0


def test_the_command_takes_over_a_file_into_a_database_and_back(
    tmp_path: Path,
    database: Stack,
    passwords: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, url, back = tmp_path / "a.sqlite", new_database(database), tmp_path / "b.sqlite"
    _filled(lambda name: file)
    monkeypatch.chdir(tmp_path)
    params = (ROOT / "params.yaml").read_text("utf-8")
    for own, source in ((url, file), (back, url), (back, file)):
        Path("params.yaml").write_text(params.replace(".wethink/answers.sqlite", str(own)), "utf-8")
        assert answers(monkeypatch, str(source)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{file} → {url}: 3 responses and 6 calls are new"
    assert lines[1:] == [
        f"{url} → {back}: 3 responses and 6 calls are new",
        f"{file} → {back}: 0 responses and 0 calls are new",
    ]


def test_what_is_no_store_gives_a_sentence(place: Place, tmp_path: Path) -> None:
    with ResponseStore(place("a")) as store:
        with pytest.raises(UserError, match="does not exist"):
            store.merge(tmp_path / "none.sqlite")
        (tmp_path / "text").write_text("these are not the answers that you are looking for " * 100)
        with pytest.raises(UserError, match=r"launch\.answers.*cannot be opened as a response store"):
            store.merge(tmp_path / "text")
        assert store.spent() == 0.0


def test_a_database_that_is_away_or_refuses_gives_a_sentence(
    database: Stack, passwords: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database(database)
    with pytest.raises(UserError, match=r"launch\.answers.*refused") as away:
        ResponseStore(f"postgresql://nobody@{layout.HOST}:9/answers")
    assert away.value.exit_code == TRY_AGAIN_LATER
    with pytest.raises(UserError, match="does not exist"):
        ResponseStore(url + "x")
    postgres.ask(database, "CREATE DATABASE old ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(UserError, match="LATIN1, not UTF8"):
        ResponseStore(url.rpartition("/")[0] + "/old")
    with ResponseStore(url) as store, pytest.raises(UserError, match=r"launch\.answers.* refuses: .*calls"):
        store._base.execute("DROP TABLE calls")
        store.ledger()
    monkeypatch.setenv("WETHINK_ANSWERS_PASSWORD", "sesame-4711")
    with pytest.raises(UserError, match="authentication failed") as refused:
        ResponseStore(url)
    assert refused.value.exit_code == 2 and "sesame" not in str(refused.value)


def test_the_password_may_come_from_a_variable(database: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    url = new_database(database)
    monkeypatch.setenv("PGPASSFILE", os.devnull)
    for name in ("WETHINK_ANSWERS_PASSWORD", "PGPASSWORD"):
        with monkeypatch.context() as within:
            within.setenv(name, layout.password(database))
            ResponseStore(url).__exit__()
    with pytest.raises(UserError, match="WETHINK_ANSWERS_PASSWORD"):
        ResponseStore(url)


SECRET = "sesame-4711"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@db.example/answers",
        f"postgresql://me@db.example/answers?password={SECRET}",
        f"postgresql://me@db.example/answers?%70assword={SECRET}",
        f"postgres://me:{SECRET}@db.example/answers",
        f"mysql://me:{SECRET}@db.example/answers",
        f"postgresql:///answers?user=me&password={SECRET}",
        "postgresql://me@db.example",
        f"postgresql://me:{SECRET}#@db.example/answers",
    ],
)
def test_another_url_or_one_with_a_password_is_refused_and_not_repeated(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "params.yaml").read_text("utf-8").replace(".wethink/answers.sqlite", f"'{url}'")
    Path("params.yaml").write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"launch\.answers.*must ") as refused:
        load_params()
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text("utf-8"), "utf-8")
    assert answers(monkeypatch, url) == 2
    said = capsys.readouterr().err
    assert "launch.answers: must" in said
    assert SECRET not in said + str(refused.value)


def test_a_url_stays_as_it_is_where_a_file_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    url = "postgresql://me@db.example:5432/answers?sslmode=require"
    assert absolute_store(url) == url and absolute_store("a.sqlite") == f"{tmp_path}/a.sqlite"
    assert exists(url) and not exists("a.sqlite")


def test_a_server_that_starts_again_loses_no_answer_no_claim_and_bills_nothing_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with cluster() as stack:
        monkeypatch.setenv("PGPASSFILE", str(stack.password_file))
        url = new_database(stack)
        with ResponseStore(url) as store:
            promise = store.reserve(1.0, 1.0)
            assert store.claim("k") and promise is not None
            call = Call("k", *ANSWERED, 1.0)
            store.put(Answer("a", "stop"), call)
            postgres.ask(stack, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'answers%'")
            store.put(Answer("a", "stop"), call, promise)  # as after a commit whose receipt was lost
            assert store.spent() == 1.0 and store.get("k") == Answer("a", "stop")
            with ResponseStore(url) as other:
                assert not other.claim("k")
                assert other.reserve(9.0, 10.0) is not None
            monkeypatch.setattr(postgres_store, "PATIENCE", 0.0)
            running = postgres.data(stack) / "postmaster.pid"
            os.kill(int(running.read_text().split()[0]), signal.SIGINT)
            assert _soon(lambda: not running.exists())
            with pytest.raises(UserError, match="has been away for 0 s") as gone:
                store.get("k")
            assert gone.value.exit_code == TRY_AGAIN_LATER
        server = serve(stack)
        with ResponseStore(url) as store:
            assert store.get("k") == Answer("a", "stop")
        server.send_signal(signal.SIGQUIT)
        server.wait(30)


def test_a_stopped_run_frees_what_it_had_claimed(place: Place, tmp_path: Path) -> None:
    async def run(url: str) -> None:
        with ResponseStore(place("a")) as store:
            async with Chat({"here": endpoint(url)}, store) as chat:
                asked = asyncio.ensure_future(chat.ask(request()))
                while not stats(url)["received"]:
                    await asyncio.sleep(0.05)
                with ResponseStore(place("a")) as other:
                    assert not other.claim(request().key)
                    asked.cancel()
                    await asyncio.gather(asked, return_exceptions=True)
                    assert other.claim(request().key)

    assert client.FIRST_WAIT < client.LONGEST_WAIT
    with chat_server(tmp_path, latency=5.0) as url:
        asyncio.run(run(url))
