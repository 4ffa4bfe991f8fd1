"""Image sources that arrive by themselves: a prefix of an S3 bucket, or a folder, that its owner has closed.

A source is closed by a marker (`_SUCCESS` or `manifest.json`), or by not having changed for a while. Notifications in a
queue say so, and looking says so (tasks.sources.closing). Both lead to the same `Closed`, whose event id is a
function of
bucket, key and etag: heard of twice, it is one event still.

What comes from a bucket is data from outside. Keys name files only below the source's own folder, and an object that
cannot be a file there is moved to `quarantine/` with a file that says why. The only module that makes boto3 clients.
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
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")  # of a source: wethink.config.Source
EVENTS = uuid.uuid5(uuid.NAMESPACE_URL, "wethink:source-closed")
LONGEST = 255  # bytes of a file name, on the file systems that we know


@dataclass(frozen=True)
class Closed:
    """A source that is complete. `key` and `etag` are those of what closed it."""

    source: str  # its name: the first part of its keys
    bucket: str  # or the absolute path of the watched folder
    key: str
    etag: str

    @property
    def event_id(self) -> str:
        """The same for the same closing object, whoever saw it and when."""
        return str(uuid.uuid5(EVENTS, f"{self.bucket}/{self.key}#{self.etag}"))


@dataclass(frozen=True)
class Message:
    """A message of the queue: what it says, and what deletes it. `fault`: why it is none of ours."""

    closed: tuple[Closed, ...]
    receipt: str
    body: str
    fault: str | None = None
    stirred: frozenset[str] = frozenset()  # sources of which something has changed


@dataclass(frozen=True)
class Object:
    key: str
    etag: str
    size: int
    modified: float  # seconds since the epoch


def client(service: str, endpoint: str | None = None) -> Any:
    """A boto3 client that tries again, with backoff; credentials come from the environment.

    A store that answers 503 to every fifth request is slow, not down.
    """
    import boto3
    from botocore.config import Config

    retries = {"mode": "standard", "total_max_attempts": 10}
    config = Config(retries=retries, connect_timeout=5, read_timeout=60)
    return boto3.client(service, endpoint_url=endpoint, config=config)


# --- notifications ---------------------------------------------------------------------------------------------------


def receive(queue: Any, url: str, wait: int = 10, hidden: int = 120) -> list[Message]:
    """Messages of the queue, waiting up to `wait` seconds; each comes again after `hidden` seconds, unless deleted."""
    answer = queue.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait, VisibilityTimeout=hidden)
    return [parse(found["Body"], found["ReceiptHandle"]) for found in answer.get("Messages", [])]


def parse(body: str, receipt: str = "") -> Message:
    """What a notification says. Test events and objects that close nothing say nothing; nonsense has a fault."""
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
    """Say once that a prefix or folder cannot be a source by its name."""
    if f"{name}/" != QUARANTINE:
        LOG.warning("%r is no source: its name may have a-z, 0-9, - and _, and begins with a letter or digit", name)


def closes(key: str) -> bool:
    """Whether an object of this key closes a source: a marker directly in a prefix that can be a source."""
    parts = key.split("/")
    return len(parts) == 2 and NAME.fullmatch(parts[0]) is not None and parts[1] in MARKERS


def delete(queue: Any, url: str, message: Message) -> None:
    queue.delete_message(QueueUrl=url, ReceiptHandle=message.receipt)


def show_again(queue: Any, url: str, message: Message, seconds: int = 10) -> None:
    """Let a message that could not be acted on come again soon."""
    queue.change_message_visibility(QueueUrl=url, ReceiptHandle=message.receipt, VisibilityTimeout=seconds)


# --- listing ---------------------------------------------------------------------------------------------------------


def objects(store: Any, bucket: str, prefix: str = "") -> Iterator[Object]:
    """Every object below a prefix in the order of their keys; one page of a thousand is held in memory."""
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", []):
            yield Object(found["Key"], found["ETag"].strip('"'), found["Size"], found["LastModified"].timestamp())


# --- bringing a source here ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Synced:
    """How the objects of a source ended: found = fetched + kept + quarantined."""

    found: int
    fetched: int
    kept: int  # here already, by etag
    quarantined: dict[str, str]  # key → reason


def sync(store: Any, bucket: str, source: str, home: Path, max_file_mb: int) -> Synced:
    """Make `home/<source>/` what the bucket has below `<source>/`; the objects that cannot be are quarantined.

    A file appears whole or not at all, and files that are no longer in the bucket go. A second call fetches only
    what has changed. What closed the source is no part of it.

    Raises:
        UserError: the name cannot be a source's.
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
            continue  # folders that consoles make; markers
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
    for key, fault in quarantined.items():  # after the listing: it must not change while it is read
        quarantine(store, bucket, key, fault)
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_symlink() or (path.is_file() and path.relative_to(root).as_posix() not in have):
            path.unlink()
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    write_json(memory, have)
    return Synced(found, fetched, found - fetched - len(quarantined), quarantined)


def misnamed(name: str) -> str | None:
    """Why a key cannot be a file below its source, or None.

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
    """Why a key cannot stand beside those that are here: in a bucket, `a` and `a/b` may both be objects."""
    if any(str(parent) in have for parent in PurePosixPath(name).parents):
        return "the key lies below another object of the source"
    return None


def _make_way(root: Path, name: str) -> None:
    """The folders of a file, real ones: a link or a file in their place goes, and a folder in the file's own."""
    path = root
    for part in name.split("/")[:-1]:
        path = path / part
        if path.is_symlink() or path.is_file():
            path.unlink()
        path.mkdir(exist_ok=True)
    if (root / name).is_dir() and not (root / name).is_symlink():
        shutil.rmtree(root / name)


def _fetch(store: Any, bucket: str, item: Object, path: Path) -> None:
    """Write one object to `path`, if it is still what was listed."""
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
    """Move an object to `quarantine/` with a file beside it that says why; once more changes nothing."""
    place = f"{QUARANTINE}{key.replace('..', '__').lstrip('/')}"
    said = json.dumps({"key": key, "reason": reason}, sort_keys=True, ensure_ascii=False)
    store.put_object(Bucket=bucket, Key=f"{place}.reason.json", Body=said.encode("utf-8", "replace"))
    store.copy_object(Bucket=bucket, Key=place, CopySource={"Bucket": bucket, "Key": key})
    store.delete_object(Bucket=bucket, Key=key)


def put_aside(store: Any, bucket: str, message: Message) -> None:
    """Keep a message that says nothing we know in the quarantine, with the reason."""
    name = hashlib.sha256(message.body.encode()).hexdigest()[:16]
    said = json.dumps({"message": message.body, "reason": message.fault}, sort_keys=True)
    store.put_object(Bucket=bucket, Key=f"{QUARANTINE}messages/{name}.reason.json", Body=said.encode())
