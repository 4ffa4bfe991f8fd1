"""S3 access: queue notifications, object listing, sync of image sources to disk, quarantine.

A source is a prefix of a bucket, or a folder. It is closed by a marker (`_SUCCESS` or `manifest.json`) or by a quiet
period. After a queue notification, as in a scan, the marker itself is read (tasks.sources.closing): both give the same
`Closed`, whose event id is a function of the marker's key, etag and time, so a source that both report is one event.

Bucket contents are untrusted. A key names a file only below its source's own folder; an object that cannot be a file
there is moved to `quarantine/` with its reason. No other module creates boto3 clients.
"""

import functools
import hashlib
import json
import logging
import os
import re
import shutil
import urllib.parse
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, write_json

LOG = logging.getLogger("wethink.watcher")
MARKERS = ("_SUCCESS", "manifest.json")
QUARANTINE = "quarantine/"
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # of a source; the same as wethink.config.Source
EVENTS = uuid.uuid5(uuid.NAMESPACE_URL, "wethink:source-closed")
LONGEST = 255  # bytes of a file name on common file systems


@dataclass(frozen=True)
class Closed:
    """A complete source. `key`, `etag` and `closed_at` are those of the closing object."""

    source: str  # its name: the first part of its keys
    bucket: str  # or the absolute path of the watched folder
    key: str
    etag: str
    closed_at: str = ""  # when the marker was written: one with the same bytes, written again, closes the source again

    @property
    def event_id(self) -> str:
        """Derive the id from bucket, key, etag and time: equal for every sighting of one object."""
        return str(uuid.uuid5(EVENTS, f"{self.bucket}/{self.key}#{self.etag}@{self.closed_at}"))


@dataclass(frozen=True)
class Message:
    """A queue message. `fault`: why it is not an S3 notification."""

    closed: tuple[Closed, ...]  # without the time of the marker, which a notification does not have
    receipt: str
    body: str
    fault: str | None = None
    stirred: frozenset[str] = frozenset()  # sources with a changed object that closes nothing


@dataclass(frozen=True)
class Object:
    key: str
    etag: str
    size: int
    modified: float  # seconds since the epoch


def client(service: str, endpoint: str | None = None) -> Any:
    """Create a boto3 client with up to ten attempts and backoff.

    Credentials come from the environment. Ten attempts tolerate a store that returns 503 to every fifth request.
    """
    import boto3
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": 10}
    config = Config(retries=retries, connect_timeout=5, read_timeout=60)
    return boto3.client(service, endpoint_url=endpoint, config=config)


# --- notifications ---------------------------------------------------------------------------------------------------


def receive(queue: Any, url: str, wait: int = 10, hidden: int = 120) -> list[Message]:
    """Receive up to ten messages, waiting up to `wait` seconds.

    A message is delivered again after `hidden` seconds unless it is deleted.
    """
    answer = queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, VisibilityTimeout=hidden)
    return [parse(found["Body"], found["ReceiptHandle"]) for found in answer.get("Messages", [])]


def parse(body: str, receipt: str = "") -> Message:
    """Parse an S3 notification; a malformed body gives a message with a `fault`.

    A test event has no closed sources; an object that is no marker only adds its source to `stirred`.
    """
    try:
        said = json.loads(body)
        if said.get("Event") == "s3:TestEvent":
            return Message((), receipt, body)
        found, stirred = [], set()
        for record in said["Records"]:
            key = urllib.parse.unquote_plus(record["s3"]["object"]["key"])  # S3 quotes them, spaces as +
            source, _, rest = key.partition("/")
            if record["eventName"].removeprefix("s3:").startswith("ObjectCreated") and closes(key):
                etag = record["s3"]["object"]["eTag"].strip('"')
                found.append(Closed(source, record["s3"]["bucket"]["name"], key, etag))
            elif rest and NAME.fullmatch(source) is not None:
                stirred.add(source)
            elif rest in MARKERS:
                passed_over(source)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Message((), receipt, body, f"no notification of S3 ({type(error).__name__}: {error})")
    return Message(tuple(found), receipt, body, stirred=frozenset(stirred))


@functools.cache
def passed_over(name: str) -> None:
    """Log once that a prefix's or folder's name cannot name a source."""
    if f"{name}/" != QUARANTINE:
        LOG.warning("%r is no source: its name may have a-z, 0-9, - and _, and begins with a letter or digit", name)


def closes(key: str) -> bool:
    """Return whether a key is `<source>/<marker>` with a valid source name."""
    parts = key.split("/")
    return len(parts) == 2 and NAME.fullmatch(parts[0]) is not None and parts[1] in MARKERS


def delete(queue: Any, url: str, message: Message) -> None:
    queue.delete_message(QueueUrl=url, ReceiptHandle=message.receipt)


def show_again(queue: Any, url: str, message: Message, seconds: int = 10) -> None:
    """Make a message visible again after `seconds`."""
    queue.change_message_visibility(QueueUrl=url, ReceiptHandle=message.receipt, VisibilityTimeout=seconds)


# --- listing ---------------------------------------------------------------------------------------------------------


def objects(store: Any, bucket: str, prefix: str = "") -> Iterator[Object]:
    """Yield the objects below a prefix in key order, in pages of 1,000."""
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            yield Object(found["Key"], found["ETag"].strip('"'), found["Size"], found["LastModified"].timestamp())


# --- copying a source to disk -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Synced:
    """Counts of a source's objects: found = fetched + kept + quarantined."""

    found: int
    fetched: int
    kept: int  # on disk already with the same etag
    quarantined: dict[str, str]  # key → reason


def sync(store: Any, bucket: str, source: str, home: Path, max_file_mb: int) -> Synced:
    """Mirror `<source>/` of a bucket to `home/<source>/`; quarantine unusable objects.

    Files are written atomically; files that are no longer in the bucket are deleted. A second call fetches
    only changed objects. Markers are not copied.

    Raises:
        UserError: `source` is not a valid source name.
    """
    if not NAME.fullmatch(source):
        raise UserError(f"'{source}' cannot be the name of a source: lower-case letters, digits, - and _ only.")
    root, memory = home / source, home / ".state" / f"{source}.json"
    known: dict[str, str] = read_json(memory) if memory.is_file() and root.is_dir() else {}
    root.mkdir(parents=True, exist_ok=True)
    have: dict[str, str] = {}
    quarantined: dict[str, str] = {}
    fetched = found = 0
    for item in objects(store, bucket, f"{source}/"):
        if item.key.endswith("/") or closes(item.key):
            continue  # folder objects, which S3 consoles create, and markers
        found += 1
        name = item.key.removeprefix(f"{source}/")
        fault = misnamed(name) or clash(name, have)
        if fault is None and item.size > max_file_mb * 2**20:
            fault = f"too large: {item.size / 2**20:.1f} MB, ingest.max_file_mb is {max_file_mb}"
        if fault is not None:
            quarantined[item.key] = fault
            continue
        if known.get(name) != item.etag or not (root / name).is_file():
            _make_way(root, name)
            _fetch(store, bucket, item, root / name)
            fetched += 1
        have[name] = item.etag
    for key, fault in quarantined.items():  # after the listing, which must not change while it is read
        quarantine(store, bucket, key, fault)
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_symlink() or (path.is_file() and path.relative_to(root).as_posix() not in have):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    write_json(memory, have)
    return Synced(found, fetched, found - fetched - len(quarantined), quarantined)


def misnamed(name: str) -> str | None:
    """Return why a key cannot be a file below its source, or None.

    >>> misnamed("a/../../b.png")
    'the key leads out of its source'
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or PurePosixPath(name).is_absolute():
        return "the key leads out of its source"
    if "\\" in name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name):
        return "the key holds a backslash or a control character"
    if any(len(part.encode("utf-8", "replace")) > LONGEST for part in parts):
        return f"a part of the key is longer than {LONGEST} bytes"
    return None


def clash(name: str, have: dict[str, str]) -> str | None:
    """Return why a key conflicts with stored files, or None.

    A bucket may hold both `a` and `a/b`; a file system cannot.
    """
    if any(str(parent) in have for parent in PurePosixPath(name).parents):
        return "the key lies below another object of the source"
    return None


def _make_way(root: Path, name: str) -> None:
    """Create a file's parent folders, deleting links, files and folders in the way."""
    path = root
    for part in name.split("/")[:-1]:
        path = path / part
        if path.is_symlink() or path.is_file():
            path.unlink()
        path.mkdir(exist_ok=True)
    if (root / name).is_dir() and not (root / name).is_symlink():
        shutil.rmtree(root / name)


def _fetch(store: Any, bucket: str, item: Object, path: Path) -> None:
    """Write an object to `path` atomically.

    Raises:
        ConnectionError: fewer bytes arrived than were listed.
        botocore.exceptions.ClientError: the object has changed since the listing.
    """
    staged = path.with_name(f".{hashlib.sha256(item.key.encode()).hexdigest()[:16]}.part")
    answer = store.get_object(Bucket=bucket, Key=item.key, IfMatch=item.etag)
    with staged.open("wb") as handle:
        shutil.copyfileobj(answer["Body"], handle, 2**20)
        handle.flush()
        os.fsync(handle.fileno())
    if staged.stat().st_size != item.size:
        staged.unlink()
        raise ConnectionError(f"s3://{bucket}/{item.key}: {item.size} bytes were announced, fewer came")
    os.replace(staged, path)


def quarantine(store: Any, bucket: str, key: str, reason: str) -> None:
    """Move an object to `quarantine/` and write its reason beside it; idempotent."""
    place = f"{QUARANTINE}{key.replace('..', '__').lstrip('/')}"
    said = json.dumps({"key": key, "reason": reason}, sort_keys=True, ensure_ascii=False)
    store.put_object(Bucket=bucket, Key=f"{place}.reason.json", Body=said.encode("utf-8", "replace"))
    store.copy_object(Bucket=bucket, Key=place, CopySource={"Bucket": bucket, "Key": key})
    store.delete_object(Bucket=bucket, Key=key)


def put_aside(store: Any, bucket: str, message: Message) -> None:
    """Store a malformed message in the quarantine with its reason."""
    name = hashlib.sha256(message.body.encode()).hexdigest()[:16]
    said = json.dumps({"message": message.body, "reason": message.fault}, sort_keys=True)
    store.put_object(Bucket=bucket, Key=f"{QUARANTINE}messages/{name}.reason.json", Body=said.encode())
