"""Sources that arrive by themselves: heard of however often, each is one event; nothing they hold leaves its folder."""

import json
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tasks.sources import events, s3, watcher
from tasks.sources.closing import Rest, in_bucket, in_folder
from tasks.sources.s3 import Closed
from tests.support.bucket import BUCKET, forget, put
from wethink.common.errors import UserError


class Prefect:
    """Stands in for the server: remembers whom it was told of; may be down."""

    def __init__(self) -> None:
        self.down: Exception | None = None
        self.runs, self.attempts = list[str](), list[int]()

    def __call__(self, closed: Closed, attempt: int) -> str:
        self.attempts.append(attempt)
        if self.down:
            raise self.down
        self.runs.append(closed.event_id)
        return closed.source


def teller(tell: Prefect, folder: Path, quiet: float | None = None) -> watcher.Teller:
    """A watcher that was started just now, with what earlier ones have noted in the folder."""
    return watcher.Teller(watcher.Told(folder / "told"), tell, Rest(quiet))


def drain(queue: tuple[Any, str], store: Any, told: watcher.Teller) -> int:
    return watcher.drain(queue[0], queue[1], store, BUCKET, told, wait=1)


def waiting(queue: tuple[Any, str]) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = queue[0].get_queue_attributes(QueueUrl=queue[1], AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def test_a_source_is_told_when_its_marker_lands_and_only_then(store: Any, queue: Any, tmp_path: Path) -> None:
    tell = Prefect()
    told = teller(tell, tmp_path)
    put(store, new__a="1", new__b="2", new__deep___SUCCESS="", _SUCCESS="")
    while drain(queue, store, told):
        pass
    assert tell.runs == [] and waiting(queue) == 0
    put(store, new__manifest="no marker")
    store.put_object(Bucket=BUCKET, Key="new/_SUCCESS", Body=b"")
    while drain(queue, store, told):
        pass
    assert len(tell.runs) == 1 and waiting(queue) == 0


def test_a_message_stays_until_the_run_is_recorded(store: Any, queue: Any, tmp_path: Path) -> None:
    tell = Prefect()
    told = teller(tell, tmp_path)
    drain(queue, store, told)  # the test event
    store.put_object(Bucket=BUCKET, Key="new/_SUCCESS", Body=b"")
    tell.down = events.NotAccepted("nobody listens")
    assert drain(queue, store, told) >= 1 and waiting(queue) == 1
    tell.down = None
    body = s3.parse(_body("new/_SUCCESS"))
    queue[0].send_message(QueueUrl=queue[1], MessageBody=body.body)  # as when it comes again
    drain(queue, store, told)
    assert len(tell.runs) == 1 and waiting(queue) == 1  # the first delivery is still hidden


def test_twice_delivered_out_of_order_and_listed_besides_is_one_run(store: Any, queue: Any, tmp_path: Path) -> None:
    tell = Prefect()
    told = teller(tell, tmp_path)
    for key in ("two/_SUCCESS", "one/_SUCCESS"):
        store.put_object(Bucket=BUCKET, Key=key, Body=b"")
    queue[0].send_message(QueueUrl=queue[1], MessageBody=_body("two/_SUCCESS"))
    while drain(queue, store, told):
        pass
    told(in_bucket(store, BUCKET, told.rest))
    anew = teller(tell, tmp_path)
    anew(in_bucket(store, BUCKET, anew.rest))
    assert len(tell.runs) == len(set(tell.runs)) == 2
    store.put_object(Bucket=BUCKET, Key="one/_SUCCESS", Body=b"closed again, with more images")
    told(in_bucket(store, BUCKET, told.rest))
    assert len(set(tell.runs)) == 3


def test_the_same_marker_written_again_closes_the_source_again(store: Any, queue: Any, tmp_path: Path) -> None:
    """Rows are mended and the source is closed with the same empty marker: its etag has not changed, its time has."""
    tell = Prefect()
    told = teller(tell, tmp_path)
    store.put_object(Bucket=BUCKET, Key="birds/_SUCCESS", Body=b"")
    while drain(queue, store, told):
        pass
    time.sleep(1.1)  # S3 keeps whole seconds
    store.put_object(Bucket=BUCKET, Key="birds/_SUCCESS", Body=b"")
    while drain(queue, store, told):
        pass
    assert len(set(tell.runs)) == 2
    time.sleep(1.1)
    store.put_object(Bucket=BUCKET, Key="birds/manifest.json", Body=b"{}")  # the older marker still lies there
    told(in_bucket(store, BUCKET, told.rest))
    told(in_bucket(store, BUCKET, told.rest))
    assert len(set(tell.runs)) == len(tell.runs) == 3


def test_nonsense_is_put_aside_with_a_reason_and_does_not_come_again(store: Any, queue: Any, tmp_path: Path) -> None:
    tell = Prefect()
    told = teller(tell, tmp_path)
    for body in ("not JSON", "[]", '{"Records": [{"s3": 3}]}'):
        queue[0].send_message(QueueUrl=queue[1], MessageBody=body)
    while drain(queue, store, told):
        pass
    kept = [item.key for item in s3.objects(store, BUCKET, "quarantine/messages/")]
    assert len(kept) == 3 and waiting(queue) == 0 and tell.runs == []
    said = json.loads(store.get_object(Bucket=BUCKET, Key=kept[0])["Body"].read())
    assert "no notification of S3" in said["reason"] and said["message"]


def _body(key: str, name: str = "ObjectCreated:Put", etag: str = "abc") -> str:
    record = {"eventName": name, "s3": {"bucket": {"name": BUCKET}, "object": {"key": key, "eTag": etag}}}
    return json.dumps({"Records": [record]})


def test_keys_are_unquoted_and_test_events_and_deletions_say_nothing() -> None:
    assert s3.parse('{"Service": "Amazon S3", "Event": "s3:TestEvent"}') == s3.Message(
        (), "", '{"Service": "Amazon S3", "Event": "s3:TestEvent"}'
    )
    assert s3.parse(_body("new/_SUCCESS", "ObjectRemoved:Delete")).closed == ()
    quoted = s3.parse(_body(urllib.parse.quote_plus("new/_SUCCESS")))
    assert quoted.closed == (Closed("new", BUCKET, "new/_SUCCESS", "abc"),)
    assert s3.parse(_body("New+Source/_SUCCESS")).closed == (), "no name for a source"
    assert s3.parse(_body("quarantine/x/_SUCCESS")).closed == ()


def test_the_event_id_follows_from_bucket_key_etag_and_time_of_the_marker_alone() -> None:
    one = Closed("new", BUCKET, "new/_SUCCESS", "abc")
    assert one.event_id == Closed("new", BUCKET, "new/_SUCCESS", "abc").event_id
    assert (
        len(
            {
                one.event_id,
                *(
                    Closed("new", *rest).event_id
                    for rest in (("x", "k", "e"), ("x", "k", "f"), ("x", "l", "e"), ("x", "k", "e", "later"))
                ),
            }
        )
        == 5
    )


def test_what_a_look_found_while_the_server_was_down_is_told_without_another_look(store: Any, tmp_path: Path) -> None:
    tell = Prefect()
    told = teller(tell, tmp_path)
    store.put_object(Bucket=BUCKET, Key="new/_SUCCESS", Body=b"")
    tell.down = events.NotAccepted("nobody listens")
    assert not told(in_bucket(store, BUCKET, told.rest))
    tell.down = None
    told.again()
    told.again()
    assert len(tell.runs) == 1


def test_an_event_that_the_server_took_without_a_run_is_told_again_under_another_id(tmp_path: Path) -> None:
    closed, tell = Closed("new", BUCKET, "new/_SUCCESS", "abc"), Prefect()
    told = teller(tell, tmp_path)
    for down in (events.NotAccepted("nobody listens"), events.MadeNoRun("no run"), None):
        tell.down = down
        told([closed])
    assert tell.attempts == [0, 0, 1], "only a server that took it has its id in mind"
    said = [events.event(closed, attempt) for attempt in (0, 0, 1)]
    assert said[0]["id"] == said[1]["id"] == closed.event_id != said[2]["id"]
    assert said[0]["payload"] == said[2]["payload"], "the run is the same one"


def test_a_watched_folder_is_told_once_and_links_are_not_followed(tmp_path: Path) -> None:
    tell = Prefect()
    told = teller(tell, tmp_path)
    root = tmp_path / "incoming"
    (root / "new").mkdir(parents=True)
    (root / "new/a.png").write_bytes(b"1")
    (root / "link").symlink_to(root / "new")
    told(in_folder(root, told.rest))
    assert tell.runs == []
    (root / "new/_SUCCESS").touch()
    for _ in range(2):
        told(in_folder(root, told.rest))
    assert len(tell.runs) == 1


def test_a_source_comes_here_once_and_a_second_call_fetches_only_what_changed(store: Any, tmp_path: Path) -> None:
    put(store, new__a="one", new__deep__b="two", new___SUCCESS="", other__c="three")
    first = s3.sync(store, BUCKET, "new", tmp_path, 1)
    assert (first.found, first.fetched, first.kept, first.quarantined) == (2, 2, 0, {})
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert files == {"new/a", "new/deep/b", ".state/new.json"}
    put(store, new__a="changed")
    store.delete_object(Bucket=BUCKET, Key="new/deep/b")
    again = s3.sync(store, BUCKET, "new", tmp_path, 1)
    assert (again.found, again.fetched, again.kept) == (1, 1, 0)
    assert (tmp_path / "new/a").read_text() == "changed" and not (tmp_path / "new/deep").exists()
    assert s3.sync(store, BUCKET, "new", tmp_path, 1).kept == 1


def test_objects_that_cannot_be_files_here_are_moved_to_the_quarantine_with_a_reason(
    store: Any, tmp_path: Path
) -> None:
    bad = {
        "new/../../evil": "leads out",
        "new//abs": "leads out",
        "new/back\\slash": "backslash",
        "new/" + "n" * 300: "longer",
        "new/a/below": "below another",
        "new/large": "too large",
    }
    put(store, new__a="one")
    for key in bad:
        store.put_object(Bucket=BUCKET, Key=key, Body=b"x" * (2 * 2**20 if key == "new/large" else 1))
    found = s3.sync(store, BUCKET, "new", tmp_path / "sources", 1)
    assert found.found == found.fetched + found.kept + len(found.quarantined) == 1 + len(bad)
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} == {"a", "new.json"}
    for key, reason in bad.items():
        assert reason in found.quarantined[key]
    left = {item.key for item in s3.objects(store, BUCKET)}
    assert not left & set(bad), "they were moved"
    reasons = [key for key in left if key.endswith(".reason.json")]
    assert len(reasons) == len(bad) and all(key.startswith("quarantine/") for key in left - {"new/a"})
    said = json.loads(store.get_object(Bucket=BUCKET, Key="quarantine/new/large.reason.json")["Body"].read())
    assert said == {"key": "new/large", "reason": bad["new/large"] + ": 2.0 MB, ingest.max_file_mb is 1"}
    assert s3.sync(store, BUCKET, "new", tmp_path / "sources", 1).quarantined == {}


def test_a_link_planted_in_the_folder_is_not_written_through(store: Any, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine", encoding="utf-8")
    (tmp_path / "sources/new").mkdir(parents=True)
    (tmp_path / "sources/new/a").symlink_to(outside)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "sources/new/deep").symlink_to(tmp_path / "elsewhere")
    put(store, new__a="theirs", new__deep__b="theirs")
    s3.sync(store, BUCKET, "new", tmp_path / "sources", 1)
    assert not list((tmp_path / "elsewhere").iterdir())
    assert outside.read_text() == "mine" and (tmp_path / "sources/new/a").read_text() == "theirs"


@pytest.mark.parametrize("name", ["..", "New", "a/b", "", "-x", ".state"])
def test_a_name_that_cannot_be_a_sources_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name of a source"):
        s3.sync(None, BUCKET, name, tmp_path, 1)


def test_a_server_that_is_down_is_told_so_at_once() -> None:
    begin = time.monotonic()
    with pytest.raises(events.NotAccepted):
        events.tell(Closed("new", BUCKET, "new/_SUCCESS", "abc"), "http://127.0.0.1:9/api")
    assert time.monotonic() - begin < 5


def test_an_event_that_becomes_no_run_is_not_accepted_and_one_that_did_is_not_told_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    closed, asked, runs = Closed("new", BUCKET, "new/_SUCCESS", "abc"), list[str](), list[dict[str, Any]]()

    def server(url: str, body: Any) -> Any:
        asked.append(url.rsplit("/", 1)[1])
        return runs if url.endswith("filter") else None

    monkeypatch.setattr(events, "_ask", server)
    with pytest.raises(events.NotAccepted, match="made no run"):
        events.tell(closed, "api", patience=0.2, every=0.05)
    assert asked.count("events") == 1
    runs.append({"id": "7", "parameters": {"event_id": closed.event_id}})
    assert events.tell(closed, "api") == "7" and asked.count("events") == 1


def test_a_store_that_answers_503_to_every_fifth_request_loses_nothing(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fault_injection.services import KEYS, Store

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    forget(endpoint)
    shaky = Store()
    try:
        client, tell = s3.client("s3", shaky.endpoint), Prefect()
        for number in range(40):
            shaky.s3.put_object(Bucket=BUCKET, Key=f"new/images/{number}.png", Body=str(number).encode())
        shaky.close("new")
        shaky.refuse = 0.2
        told = teller(tell, tmp_path)
        while watcher.drain(s3.client("sqs", shaky.endpoint), shaky.queue, client, BUCKET, told, wait=1):
            pass
        told(in_bucket(client, BUCKET, told.rest))
        found = s3.sync(client, BUCKET, "new", tmp_path / "sources", 1)
        assert shaky.refused > 5, "the fault was not injected"
        assert len(tell.runs) == 1 and shaky.waiting() == 0
        assert (found.found, found.fetched, found.quarantined) == (40, 40, {})
        texts = {path.read_text() for path in (tmp_path / "sources/new/images").iterdir()}
        assert texts == {str(number) for number in range(40)}
    finally:
        shaky.stop()
