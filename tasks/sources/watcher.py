"""Watcher of S3 buckets and folders that starts one Prefect run per closed image source.

    python -m tasks.sources.watcher --bucket wethink --queue https://sqs.../wethink-closed   # full scan once a day
    python -m tasks.sources.watcher --bucket wethink                    # full scan every --every seconds
    python -m tasks.sources.watcher --folder incoming                   # the same for a folder of this machine

A queue message is deleted only after Prefect has created the run (tasks.sources.events); until then SQS delivers it
again. Reported event ids are kept in a file, because a full scan finds every closed source, old ones included.
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tasks.sources import events, s3
from tasks.sources.closing import DAY, Rest, in_bucket, in_folder, of_bucket
from tasks.sources.s3 import Closed
from wethink.common.errors import UserError
from wethink.common.paths import WORK

LOG = logging.getLogger("wethink.watcher")
Tell = Callable[[Closed, int], object]  # (source, earlier attempts without a run) → run id; raises events.NotAccepted


class Told:
    """Persistent set of event ids that have a run: a file with one id a line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        self._ids = {line for line in text.splitlines() if len(line) == 36}  # the last line may be incomplete

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


class Teller:
    """Reporter of closed sources to Prefect; keeps rejected events for a retry."""

    def __init__(self, told: Told, tell: Tell, rest: Rest) -> None:
        self.told, self.tell, self.rest = told, tell, rest
        self.waiting: dict[str, Closed] = {}  # by event id
        self._attempts = Counter[str]()

    def __call__(self, found: Iterable[Closed]) -> bool:
        """Report new sources; return whether Prefect has a run for every one."""
        complete = True
        for closed in found:
            if closed not in self.told and not self._told_now(closed):
                complete = False
            elif closed.key == f"{closed.source}/":
                self.rest.told(closed.source)
        return complete

    def again(self) -> None:
        """Retry the events that were not accepted."""
        self(list(self.waiting.values()))

    def _told_now(self, closed: Closed) -> bool:
        try:
            run = self.tell(closed, self._attempts[closed.event_id])
        except events.NotAccepted as why:
            LOG.warning("source '%s' waits: %s", closed.source, why)
            self.waiting[closed.event_id] = closed
            self._attempts[closed.event_id] += isinstance(why, events.MadeNoRun)
            return False
        self.told.add(closed)
        self.waiting.pop(closed.event_id, None)
        LOG.info("source '%s' is closed (%s): run %s", closed.source, closed.key, run)
        return True


def drain(queue: Any, url: str, store: Any, bucket: str, teller: Teller, wait: int = 10) -> int:
    """Process up to ten queue messages; return how many were received.

    A message is deleted once Prefect has a run for each of its sources; otherwise it is delivered again.

    A malformed message moves to the bucket's quarantine; left in the queue, it would be delivered for ever.
    """
    messages = s3.receive(queue, url, wait)
    for message in messages:
        for source in message.stirred:
            teller.rest.stirred(source)
        if message.fault is not None:
            LOG.warning("a message is put aside: %s", message.fault)
            s3.put_aside(store, bucket, message)
        elif not teller(_markers(store, message, teller)):
            s3.show_again(queue, url, message)
            continue
        s3.delete(queue, url, message)
    return len(messages)


def _markers(store: Any, message: s3.Message, teller: Teller) -> Iterable[Closed]:
    """Yield the sources that a message closes, with the time of their markers."""
    for notified in message.closed:
        for closed in of_bucket(store, notified.bucket, notified.source, teller.rest):
            if closed in teller.told:
                LOG.info("source '%s': its marker of %s was told before", closed.source, closed.closed_at)
            yield closed


def watch(args: argparse.Namespace, stop: threading.Event) -> None:
    """Watch until `stop` is set, retrying after every network error."""
    alive = WORK / "watcher" / "alive"  # touched every round: the supervisor's health check
    rest = Rest(args.quiet)

    begin = int(time.time())  # Prefect remembers the attempt ids of an earlier watcher process

    def tell(closed: Closed, attempt: int) -> object:
        return events.tell(closed, args.api, attempt and begin + attempt)

    teller = Teller(Told(WORK / "watcher" / "told.txt"), tell, rest)
    store = s3.client("s3", args.endpoint) if args.bucket else None
    queue = s3.client("sqs", args.endpoint) if args.queue else None
    next_look = 0.0
    while not stop.is_set():
        alive.touch()
        try:
            if time.monotonic() >= next_look:
                teller(in_folder(args.folder, rest) if store is None else in_bucket(store, args.bucket, rest))
                next_look = time.monotonic() + (DAY if queue is not None else args.every)
            if queue is not None:
                drain(queue, args.queue, store, args.bucket, teller)
                for source in rest.due():
                    teller(of_bucket(store, args.bucket, source, rest))
            teller.again()
        except Exception as error:  # process boundary: the next round retries any error
            LOG.warning("%s: %s; trying again.", type(error).__name__, error)
            stop.wait(5)
        if args.once:
            return
        if queue is None:
            stop.wait(min(10.0, max(0.0, next_look - time.monotonic())))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m tasks.sources.watcher", description="Report closed image sources to Prefect."
    )
    place = top.add_mutually_exclusive_group(required=True)
    place.add_argument("--bucket")
    place.add_argument("--folder", type=Path)
    top.add_argument("--queue", help="URL of the SQS queue that gets the bucket's notifications")
    top.add_argument("--endpoint", help="URL of an S3-compatible store other than AWS")
    top.add_argument("--api", default=os.environ.get("PREFECT_API_URL", "http://127.0.0.1:4200/api"))
    top.add_argument("--every", type=float, default=60.0, help="seconds between full scans without a queue")
    top.add_argument("--quiet", type=float, help="seconds without a change that close a source without a marker")
    top.add_argument("--once", action="store_true", help="run one round and exit")
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
