"""The watcher: hears of closed sources and tells Prefect, each once, and forgets none.

    python -m tasks.watcher --bucket wethink --queue http://…   # notifications, and a listing at start and once a day
    python -m tasks.watcher --bucket wethink                    # a listing every --every seconds
    python -m tasks.watcher --folder incoming                   # the same for a folder of this machine

A message is deleted only after Prefect has recorded the run (tasks.events); until then it comes again. What was told
is noted in a file, so that a listing, which finds every source that ever was, tells only what is new.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tasks import events, sources
from tasks.sources import Closed
from wethink.errors import UserError
from wethink.runs import WORK

LOG = logging.getLogger("wethink.watcher")
DAY = 24 * 3600.0
Tell = Callable[[Closed], object]  # raises events.NotAccepted


class Told:
    """Event ids that led to a run: a file with one a line, appended to when the run is there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        self._ids = {line for line in text.splitlines() if len(line) == 36}  # the last one may be half written

    def __contains__(self, closed: Closed) -> bool:
        return closed.event_id in self._ids

    def add(self, closed: Closed) -> None:
        if closed in self:
            return
        with self._path.open("a", encoding="utf-8") as handle:
            handle.write(f"\n{closed.event_id}\n")
            handle.flush()
            os.fsync(handle.fileno())
        self._ids.add(closed.event_id)


def tell_all(found: Iterable[Closed], told: Told, tell: Tell) -> bool:
    """Tell what was not told yet; whether all of it is told now."""
    complete = True
    for closed in found:
        if closed in told:
            continue
        try:
            run = tell(closed)
        except events.NotAccepted as why:
            LOG.warning("source '%s' waits: %s", closed.source, why)
            complete = False
            continue
        told.add(closed)
        LOG.info("source '%s' is closed (%s): run %s", closed.source, closed.key, run)
    return complete


def drain(queue: Any, url: str, store: Any, bucket: str, told: Told, tell: Tell, wait: int = 10) -> int:
    """Take what the queue has, and delete what is done; return how many messages there were.

    A message that is none of ours is kept in the bucket's quarantine: it would come back for ever.
    """
    messages = sources.receive(queue, url, wait)
    for message in messages:
        if message.fault is not None:
            LOG.warning("a message is put aside: %s", message.fault)
            sources.put_aside(store, bucket, message)
        elif not tell_all(message.closed, told, tell):
            continue  # it comes again
        sources.delete(queue, url, message)
    return len(messages)


def scan(store: Any, bucket: str, quiet: float | None, told: Told, tell: Tell) -> None:
    """One pass over the bucket."""
    tell_all(sources.closed_in(sources.objects(store, bucket), bucket, quiet, time.time()), told, tell)


def scan_folder(root: Path, quiet: float | None, told: Told, tell: Tell) -> None:
    """One pass over the folder."""
    found = sources.folder_objects(root)
    tell_all(sources.closed_in(found, str(root.resolve()), quiet, time.time()), told, tell)


def watch(args: argparse.Namespace, stop: threading.Event) -> None:
    """Until told to stop. A bucket that does not answer is asked again."""
    told = Told(WORK / "watcher" / "told.txt")
    alive = WORK / "watcher" / "alive"  # touched every round: who looks after this process knows that it goes on

    def tell(closed: Closed) -> object:
        return events.tell(closed, args.api)

    if args.folder is not None:
        while not stop.wait(0 if args.once else args.every):
            alive.touch()
            scan_folder(args.folder, args.quiet, told, tell)
            if args.once:
                return
        return
    store = sources.client("s3", args.endpoint)
    queue = sources.client("sqs", args.endpoint) if args.queue else None
    next_scan = 0.0
    while not stop.is_set():
        alive.touch()
        try:
            if time.monotonic() >= next_scan:
                scan(store, args.bucket, args.quiet, told, tell)
                next_scan = time.monotonic() + (DAY if queue is not None else args.every)
            if queue is not None:
                drain(queue, args.queue, store, args.bucket, told, tell)
        except Exception as error:  # a process boundary: whatever the network does, the next round tries again
            LOG.warning("%s: %s; trying again.", type(error).__name__, error)
            stop.wait(5)
        if args.once:
            return
        if queue is None:
            stop.wait(max(0.0, next_scan - time.monotonic()))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m tasks.watcher", description="Tell Prefect of closed image sources.")
    place = top.add_mutually_exclusive_group(required=True)
    place.add_argument("--bucket")
    place.add_argument("--folder", type=Path)
    top.add_argument("--queue", help="URL of the SQS queue that gets the bucket's notifications")
    top.add_argument("--endpoint", help="of an S3-compatible store other than AWS")
    top.add_argument("--api", default=os.environ.get("PREFECT_API_URL", "http://127.0.0.1:4200/api"))
    top.add_argument("--every", type=float, default=60.0, help="seconds between listings where there is no queue")
    top.add_argument("--quiet", type=float, help="a source without a marker is closed after so many seconds of rest")
    top.add_argument("--once", action="store_true", help="one round, then end")
    return top


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    args, stop = parser().parse_args(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        if args.folder is not None and not args.folder.is_dir():
            raise UserError(f"{args.folder} is no folder; make it, or name the one to watch.")
        watch(args, stop)
    except UserError as error:
        print(f"wethink watcher: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
