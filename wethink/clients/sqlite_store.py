"""SQLite file as the database of a response store; processes of one machine share it.

Locks are advisory locks on bytes of a file beside it (`fcntl(2)`, "open file description locks"). The kernel frees them
when their holder ends, however it ends.
"""

import fcntl
import os
import sqlite3
import struct
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from wethink.common.errors import UserError

T = TypeVar("T")

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
  key TEXT PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL, thoughts TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, role TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
  outcome TEXT NOT NULL, seconds REAL NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
  cost REAL NOT NULL, at REAL NOT NULL, form TEXT NOT NULL DEFAULT '', words TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY CHECK (id = 0), cost REAL NOT NULL);
INSERT OR IGNORE INTO total VALUES (0, 0.0);
CREATE TABLE IF NOT EXISTS promises (id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, cost REAL NOT NULL);
"""
LATER = (("answers", "thoughts"), ("calls", "form"), ("calls", "words"))  # columns that older files lack
BUSY = 60.0  # seconds to wait for another writer
FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, pid


class SqliteStore:
    """A connection to the file, for one thread."""

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            UserError: it is no response store, or cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
            self._base.execute("PRAGMA journal_mode=WAL")  # readers and one writer at a time, across processes
            self._base.execute(
                "PRAGMA synchronous=NORMAL"
            )  # a commit outlives the process; a power cut may take the last
            self._base.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
            self.transaction(self._add_columns)
            # Not SQLite's own file: closing a descriptor of that frees SQLite's locks (sqlite.org/howtocorrupt.html).
            self._locks = os.open(f"{path}.locks", os.O_RDWR | os.O_CREAT, 0o644)
        except (sqlite3.Error, OSError) as error:
            raise UserError(f"launch.answers: {path} cannot be opened as a response store ({error}).") from None

    def close(self) -> None:
        """Close the file; its locks are free."""
        self._base.close()
        os.close(self._locks)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement with `?` for its values; return its rows."""
        return self._base.execute(statement, values).fetchall()

    def insert(self, table: str, rows: Iterable[Sequence[Any]], columns: int) -> None:
        """Insert rows of so many columns."""
        self._base.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", rows)

    def transaction(self, work: Callable[[], T]) -> T:
        """Run `work` in one transaction; waiting for another writer comes first."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            result = work()
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")
        return result

    def lock(self, number: int) -> bool:
        """Take a lock unless another connection holds it; return whether this one has it."""
        try:
            fcntl.fcntl(self._locks, fcntl.F_OFD_SETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, number, 1, 0))
        except BlockingIOError:
            return False
        return True

    def unlock(self, number: int) -> None:
        """Free a lock."""
        fcntl.fcntl(self._locks, fcntl.F_OFD_SETLK, struct.pack(FLOCK, fcntl.F_UNLCK, os.SEEK_SET, number, 1, 0))

    def _add_columns(self) -> None:
        """Bring a file of an earlier version to this schema; its answers stay."""
        for table, column in LATER:
            known = {row[1] for row in self._base.execute(f"PRAGMA table_info({table})")}
            if column not in known:
                self._base.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
