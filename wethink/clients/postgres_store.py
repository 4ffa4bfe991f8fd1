"""PostgreSQL database of a response store, which processes of several machines share.

Locks are PostgreSQL's advisory locks of the session (https://www.postgresql.org/docs/current/explicit-locking.html):
the server frees them when the session ends, and ends the session of a machine that is gone after half a minute. A
lost connection is made anew, and what was asked is asked again, so every statement here may run twice.
"""

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

from wethink.common.errors import TRY_AGAIN_LATER, UserError

T = TypeVar("T")

# Text is compared byte by byte, as in SQLite. (key, at) tells a call that was sent to the server twice.
SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
  key TEXT COLLATE "C" PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL, thoughts TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS calls (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key TEXT COLLATE "C" NOT NULL, role TEXT COLLATE "C" NOT NULL,
  endpoint TEXT COLLATE "C" NOT NULL, model TEXT COLLATE "C" NOT NULL, outcome TEXT COLLATE "C" NOT NULL,
  seconds DOUBLE PRECISION NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
  cost DOUBLE PRECISION NOT NULL, at DOUBLE PRECISION NOT NULL, form TEXT COLLATE "C" NOT NULL, words TEXT NOT NULL,
  UNIQUE (key, at));
CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY CHECK (id = 0), cost DOUBLE PRECISION NOT NULL);
INSERT INTO total VALUES (0, 0.0) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS promises (
  id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pid BIGINT NOT NULL, cost DOUBLE PRECISION NOT NULL);
"""
WRITER = 0x77657468696E6B  # advisory lock of the one writer at a time
PASSWORD = "WETHINK_ANSWERS_PASSWORD"  # variable; without it libpq's: PGPASSWORD, PGPASSFILE, ~/.pgpass
PATIENCE = 60.0  # seconds to wait for a server that is away
ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
ROWS = 1_000  # of one INSERT


class PostgresStore:
    """A session of the database, for one thread."""

    def __init__(self, url: str) -> None:
        """Connect, and create the tables that are missing.

        Raises:
            UserError: psycopg2 is not installed, the server is away or refuses, or its encoding is not UTF-8.
        """
        try:
            import psycopg2
            from psycopg2 import extras
        except ImportError:
            raise UserError("a response store in PostgreSQL needs psycopg2: pip install psycopg2-binary.") from None
        self._library, self._extras, self._url = psycopg2, extras, url
        self._lost = (psycopg2.OperationalError, psycopg2.InterfaceError)
        self._held: set[int] = set()
        self._gone: UserError | None = None
        try:
            self._connect()
        except psycopg2.Error as error:
            away = isinstance(error, psycopg2.OperationalError) and "FATAL" not in str(error)  # nothing has answered
            raise UserError(
                f"launch.answers: {url} cannot be opened as a response store ({str(error).strip()}); the "
                f"password comes from ${PASSWORD}, $PGPASSWORD or ~/.pgpass.",
                exit_code=TRY_AGAIN_LATER if away else 2,
            ) from None
        self.transaction(lambda: self.execute(SCHEMA))

    def close(self) -> None:
        """End the session; its locks are free."""
        self._base.close()

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement with `?` for its values; return its rows.

        Raises:
            UserError: the server refuses, or has been away for longer than `PATIENCE`.
        """
        return self._insistently(lambda: self._execute(statement, values))

    def insert(self, table: str, rows: Iterable[Sequence[Any]], columns: int) -> None:
        """Insert rows of so many columns."""
        waiting = iter(rows)
        with self._base.cursor() as cursor:
            while some := [tuple(map(_written, row)) for row in islice(waiting, ROWS)]:
                self._extras.execute_values(cursor, f"INSERT INTO {table} VALUES %s", some, page_size=ROWS)

    def transaction(self, work: Callable[[], T]) -> T:
        """Run `work` in one transaction; waiting for another writer comes first.

        Raises:
            UserError: the server refuses, or has been away for longer than `PATIENCE`.
        """

        def whole() -> T:
            self._within = True
            try:
                self._execute(f"BEGIN; SELECT pg_advisory_xact_lock({WRITER})")
                result = work()
                self._execute("COMMIT")
            except BaseException:
                with contextlib.suppress(self._library.Error):
                    self._execute("ROLLBACK")
                raise
            finally:
                self._within = False
            return result

        return self._insistently(whole)

    def lock(self, number: int) -> bool:
        """Take a lock unless another session holds it; return whether this one has it."""
        if number in self._held:  # the server would count it twice
            return True
        [(taken,)] = self.execute("SELECT pg_try_advisory_lock(?)", (number,))
        if taken:
            self._held.add(number)
        return bool(taken)

    def unlock(self, number: int) -> None:
        """Free a lock."""
        self._held.discard(number)
        self.execute("SELECT pg_advisory_unlock(?)", (number,))

    def _connect(self) -> None:
        """Begin a session, and take the locks that the last one had."""
        password = {"password": os.environ[PASSWORD]} if os.environ.get(PASSWORD) else {}
        self._base = self._library.connect(self._url, connect_timeout=10, **ALIVE, **password)
        self._base.autocommit = True
        self._within = False
        [(encoding,)] = self._execute("SHOW server_encoding")
        if encoding != "UTF8":
            raise self._library.DataError(f"its encoding is {encoding}, not UTF8")
        self._base.set_client_encoding("UTF8")
        for name, value in ALIVE.items():  # the server's side of the connection: it notices a machine that is gone
            self._execute(f"SET {'tcp_' if name.startswith('keep') else ''}{name} = {value}")
        for number in self._held:
            self._execute("SELECT pg_try_advisory_lock(?)", (number,))

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._base.cursor() as cursor:
            cursor.execute(statement.replace("?", "%s"), tuple(map(_written, values)) or None)
            return [tuple(map(_read, row)) for row in cursor.fetchall()] if cursor.description else []

    def _insistently(self, work: Callable[[], T]) -> T:
        """Run `work`; while the connection is lost, make it anew and run it again."""
        if self._within:
            return work()  # the whole transaction is run again
        if self._gone is not None:
            raise self._gone
        until = time.monotonic() + PATIENCE
        while True:
            try:
                if self._base.closed:
                    self._connect()
                return work()
            except self._library.Error as error:
                said = str(error).strip()
                if not isinstance(error, self._lost) or (error.pgcode and not self._base.closed):  # e.g. a full disk
                    raise UserError(f"launch.answers: the server of {self._url} refuses: {said}") from None
                self._base.close()
                if time.monotonic() > until:
                    self._gone = UserError(
                        f"launch.answers: the server of {self._url} has been away for {PATIENCE:.0f} s ({said}); "
                        "stored responses are kept, start again when it is back.",
                        exit_code=TRY_AGAIN_LATER,
                    )
                    raise self._gone from None
                time.sleep(1.0)


def _written(value: Any) -> Any:
    """Escape NUL, which PostgreSQL's text cannot hold."""
    if isinstance(value, str) and ("\0" in value or "\1" in value):
        return value.replace("\1", "\1\1").replace("\0", "\1\2")
    return value


def _read(value: Any) -> Any:
    """Undo `_written`."""
    if isinstance(value, str) and "\1" in value:
        return re.sub("\1([\1\2])", lambda found: "\1" if found[1] == "\1" else "\0", value)
    return value
