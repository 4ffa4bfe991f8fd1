"""Which sources are closed: by a marker or by rest, whatever the clock does, and at a cost that does not grow."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.sources import s3
from tasks.sources.closing import Rest, in_bucket, in_folder, of_bucket
from tests.support.bucket import BUCKET, put
from tests.support.memory import least_peak
from tests.tasks.test_watcher import Prefect, teller


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_source_without_a_marker_closes_after_rest_and_again_when_it_has_changed(tmp_path: Path) -> None:
    clock, root = Clock(), tmp_path / "incoming"
    rest = Rest(60, clock)
    (root / "new").mkdir(parents=True)
    (root / "new/a").write_text("1", encoding="utf-8")
    assert list(in_folder(root, rest)) == [], "seen for the first time"
    clock.now += 50
    (root / "new/b").write_text("2", encoding="utf-8")
    assert list(in_folder(root, rest)) == []
    clock.now += 59
    assert list(in_folder(root, rest)) == []
    clock.now += 1
    (closed,) = in_folder(root, rest)
    assert (closed.source, closed.key) == ("new", "new/")
    assert list(in_folder(root, Rest(None, clock))) == [], "without --quiet only a marker closes"
    rest.told("new")
    assert list(in_folder(root, rest)) == [], "told of; it is looked at again tomorrow"
    (root / "new/c").write_text("3", encoding="utf-8")
    clock.now += 24 * 3600
    assert list(in_folder(root, rest)) == []
    clock.now += 60
    (later,) = in_folder(root, rest)
    assert later.event_id != closed.event_id


def test_a_clock_that_jumps_closes_no_source_that_is_still_being_uploaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hours forward or back for the clock on the wall: rest is measured on another one."""
    root, rest = tmp_path / "incoming", Rest(60)
    (root / "new").mkdir(parents=True)
    (root / "new/a").write_text("1", encoding="utf-8")
    assert list(in_folder(root, rest)) == []
    true = time.time
    for jump in (7200, -7200):
        monkeypatch.setattr(time, "time", lambda jump=jump: true() + jump)
        assert list(in_folder(root, rest)) == []


def test_an_upload_that_is_heard_of_closes_its_source_after_rest_and_not_before(store: Any, queue: Any) -> None:
    clock = Clock()
    rest = Rest(60, clock)
    put(store, new__a="1")
    for message in s3.receive(*queue, 1):
        for source in message.stirred:
            rest.stirred(source)
    clock.now += 59
    assert rest.due() == []
    clock.now += 1
    assert rest.due() == ["new"]
    (closed,) = of_bucket(store, BUCKET, "new", rest)
    rest.told("new")
    assert closed.key == "new/" and rest.due() == []


class Counting:
    """A bucket that counts the requests, and the objects that it had to tell of."""

    def __init__(self, store: Any) -> None:
        self._store, self.listings, self.told = store, 0, 0
        self.exceptions = store.exceptions

    def get_paginator(self, name: str) -> Any:
        outer = self

        class Pages:
            def paginate(self, **asked: Any) -> Iterator[Any]:
                for page in outer._store.get_paginator(name).paginate(**asked):
                    outer.listings += 1
                    outer.told += len(page.get("Contents", []))
                    yield page

        return Pages()

    def head_object(self, **asked: Any) -> Any:
        return self._store.head_object(**asked)


def test_a_look_at_closed_sources_lists_their_names_and_none_of_their_objects(store: Any, tmp_path: Path) -> None:
    for source in ("one", "two"):
        for number in range(5):
            store.put_object(Bucket=BUCKET, Key=f"{source}/images/{number}.png", Body=b"")
        store.put_object(Bucket=BUCKET, Key=f"{source}/_SUCCESS", Body=b"")
    counting, tell = Counting(store), Prefect()
    told = teller(tell, tmp_path, quiet=60)
    for look in range(1, 4):
        told(in_bucket(counting, BUCKET, told.rest))
        assert (counting.listings, counting.told) == (look, 0)
    assert len(tell.runs) == 2


def test_an_open_source_of_any_size_is_one_pass_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.sources import closing

    def many(*_: Any) -> Iterator[s3.Object]:
        for number in range(100_000):
            yield s3.Object(f"new/{number:06d}", "e", 1, 0.0)

    monkeypatch.setattr(closing, "objects", many)
    monkeypatch.setattr(closing, "_marker", lambda *_: None)
    assert list(of_bucket(None, BUCKET, "new", Rest(0))) != []
    assert least_peak(lambda: list(of_bucket(None, BUCKET, "new", Rest(0)))) < 2**20


def test_a_name_that_can_be_no_source_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from tasks.sources.s3 import parse, passed_over

    passed_over.cache_clear()
    for name in ("My Birds", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "_SUCCESS").touch()
    for _ in range(2):
        (closed,) = in_folder(tmp_path, Rest(None))
    assert closed.source == "good"
    stored = {"bucket": {"name": "b"}, "object": {"key": "Other+Birds/_SUCCESS", "eTag": "1"}}
    record = {"eventName": "ObjectCreated:Put", "s3": stored}
    message = parse(json.dumps({"Records": [record]}))
    assert message.closed == () and message.fault is None
    said = [line.message for line in caplog.records]
    assert [line.split(" is no source")[0] for line in said] == ["'My Birds'", "'Other Birds'"]
