"""The watcher: hears of closed sources and tells Prefect, each once, and forgets none.

    python -m tasks.sources.watcher --bucket wethink --queue https://sqs.../wethink-closed   # looks over once a day
    python -m tasks.sources.watcher --bucket wethink                    # a look every --every seconds
    python -m tasks.sources.watcher --folder incoming                   # the same for a folder of this machine

A message is deleted only after Prefect has recorded the run (tasks.sources.events); until then it comes again. What
was told
is noted in a file, so that a look, which finds every source that ever was, tells only what is new.
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
Tell = Callable[[Closed, int], object]  # (what, how often it made no run before); raises events.NotAccepted


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


class Teller:
    """Tells what was not told yet. What is not accepted waits here, and is told again."""

    def __init__(self, told: Told, tell: Tell, rest: Rest) -> None:
        self.told, self.tell, self.rest = told, tell, rest
        self.waiting: dict[str, Closed] = {}  # by event id
        self._attempts = Counter[str]()

    def __call__(self, found: Iterable[Closed]) -> bool:
        """Whether all of it is told now."""
        complete = True
        for closed in found:
            if closed not in self.told and not self._told_now(closed):
                complete = False
            elif closed.key == f"{closed.source}/":
                self.rest.told(closed.source)
        return complete

    def again(self) -> None:
        """Tell what was not accepted before."""
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
    """Take what the queue has, and delete what is done; return how many messages there were.

    A message that is none of ours is kept in the bucket's quarantine: it would come back for ever.
    """
    messages = s3.receive(queue, url, wait)
    for message in messages:
        for source in message.stirred:
            teller.rest.stirred(source)
        if message.fault is not None:
            LOG.warning("a message is put aside: %s", message.fault)
            s3.put_aside(store, bucket, message)
        elif not teller(message.closed):
            s3.show_again(queue, url, message)
            continue
        s3.delete(queue, url, message)
    return len(messages)


def watch(args: argparse.Namespace, stop: threading.Event) -> None:
    """Until told to stop. A bucket that does not answer is asked again."""
    alive = WORK / "watcher" / "alive"  # touched every round: who looks after this process knows that it goes on
    rest = Rest(args.quiet)

    begin = int(time.time())  # the server remembers the attempts of a watcher that was here before

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
        except Exception as error:  # a process boundary: whatever the network does, the next round tries again
            LOG.warning("%s: %s; trying again.", type(error).__name__, error)
            stop.wait(5)
        if args.once:
            return
        if queue is None:
            stop.wait(min(10.0, max(0.0, next_look - time.monotonic())))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m tasks.sources.watcher", description="Tell Prefect of closed image sources."
    )
    place = top.add_mutually_exclusive_group(required=True)
    place.add_argument("--bucket")
    place.add_argument("--folder", type=Path)
    top.add_argument("--queue", help="URL of the SQS queue that gets the bucket's notifications")
    top.add_argument("--endpoint", help="of an S3-compatible store other than AWS")
    top.add_argument("--api", default=os.environ.get("PREFECT_API_URL", "http://127.0.0.1:4200/api"))
    top.add_argument("--every", type=float, default=60.0, help="seconds between looks where there is no queue")
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
