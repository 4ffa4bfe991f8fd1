"""Detection of closed (complete) image sources, by a marker object or by a quiet period.

A scan lists source names (one request per thousand) and requests their markers; it lists the objects of a source only
if that has no marker and may have been quiet long enough. So a bucket of 100,000 known objects costs a handful of
requests and constant memory. Quiet periods are measured between observed changes, on a monotonic clock.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tasks.sources.s3 import MARKERS, NAME, QUARANTINE, Closed, Object, closes, objects, passed_over

DAY = 24 * 3600.0


class Rest:
    """Tracker of quiet periods: sources without a marker, and when each last changed."""

    def __init__(self, quiet: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with no known sources.

        Args:
            quiet: seconds without a change that close a source; None: only a marker closes one.
            clock: monotonic time in seconds.
        """
        self._quiet, self._clock = quiet, clock
        self._since: dict[str, tuple[str | None, float]] = {}  # source → (content as last listed, when it changed)
        self._told: dict[str, float] = {}  # source → time of its next allowed listing

    def stirred(self, source: str) -> None:
        """Record that a source has changed now."""
        if self._quiet is not None:
            self._since[source] = (None, self._clock())
            self._told.pop(source, None)

    def due(self) -> list[str]:
        """List the changed sources whose quiet period has passed."""
        now, quiet = self._clock(), self._quiet
        return [] if quiet is None else sorted(name for name, (_, since) in self._since.items() if now - since >= quiet)

    def wants(self, source: str) -> bool:
        """Return whether to list a source's objects: not within a day of its report."""
        return self._quiet is not None and self._clock() >= self._told.get(source, 0.0)

    def closes(self, source: str, content: str) -> bool:
        """Record a source's content; return whether its quiet period has passed."""
        assert self._quiet is not None
        now = self._clock()
        known, since = self._since.get(source, (content, now))
        since = since if known in (None, content) else now
        self._since[source] = (content, since)
        return now - since >= self._quiet

    def told(self, source: str) -> None:
        """Record that a source was reported; its next listing follows a change or a day."""
        self._since.pop(source, None)
        self._told[source] = self._clock() + DAY


def in_bucket(store: Any, bucket: str, rest: Rest) -> Iterator[Closed]:
    """Yield every closed source of a bucket."""
    for page in store.get_paginator("list_objects_v2").paginate(Bucket=bucket, Delimiter="/"):
        for found in page.get("CommonPrefixes", []):
            source = found["Prefix"].removesuffix("/")
            if is_source(source):
                yield from of_bucket(store, bucket, source, rest)
            else:
                passed_over(source)


def of_bucket(store: Any, bucket: str, source: str, rest: Rest) -> Iterator[Closed]:
    """Yield one source of a bucket, if it is closed; of two markers the newer one counts."""
    markers = [found for name in MARKERS if (found := _marker(store, bucket, source, name)) is not None]
    if markers:
        yield max(markers, key=lambda closed: closed.closed_at)
        return
    if rest.wants(source):
        yield from _at_rest(objects(store, bucket, f"{source}/"), bucket, source, rest)


def in_folder(root: Path, rest: Rest) -> Iterator[Closed]:
    """Yield every closed source of a watched folder, ignoring symbolic links."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.is_symlink()):
        if not is_source(folder.name):
            passed_over(folder.name)
            continue
        markers = [folder / n for n in MARKERS if (folder / n).is_file() and not (folder / n).is_symlink()]
        if markers:
            found = _file(root, max(markers, key=lambda path: path.stat().st_mtime_ns))
            yield Closed(folder.name, str(root.resolve()), found.key, found.etag)
        elif rest.wants(folder.name):
            files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
            yield from _at_rest((_file(root, path) for path in files), str(root.resolve()), folder.name, rest)


def is_source(name: str) -> bool:
    """Return whether a prefix or folder of this name can be a source."""
    return NAME.fullmatch(name) is not None and f"{name}/" != QUARANTINE


def _at_rest(found: Iterable[Object], bucket: str, source: str, rest: Rest) -> Iterator[Closed]:
    """Yield the source if its quiet period has passed; one pass, constant memory."""
    digest, anything = hashlib.sha256(), False
    for item in found:
        if not item.key.endswith("/") and not closes(item.key):
            anything = True
            digest.update(f"{item.key}\n{item.etag}\n".encode())
    content = digest.hexdigest()[:32]
    if anything and rest.closes(source, content):
        yield Closed(source, bucket, f"{source}/", content)


def _marker(store: Any, bucket: str, source: str, name: str) -> Closed | None:
    key = f"{source}/{name}"
    try:
        found = store.head_object(Bucket=bucket, Key=key)
        return Closed(source, bucket, key, str(found["ETag"]).strip('"'), found["LastModified"].isoformat())
    except store.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise


def _file(root: Path, path: Path) -> Object:
    status = path.stat()
    key = path.relative_to(root).as_posix()
    return Object(key, f"{status.st_size}-{status.st_mtime_ns}", status.st_size, status.st_mtime)
