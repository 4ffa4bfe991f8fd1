"""Content-addressed store of model responses in SQLite, with a ledger of every call.

One file outside outputs and scratch. A response is committed before it is used, so a killed process loses only the
calls in flight. Several processes may fill the store concurrently. It records which calls are paid for, never
which stages are done; a failed call is in the ledger only.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from wethink.clients.thoughts import split
from wethink.common.errors import UserError

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


@dataclass(frozen=True)
class Answer:
    """A model's response.

    `finish` is 'stop', 'length', 'refusal', 'overlong' or 'empty' (nothing but thoughts). `text` is as the server sent
    it, so it may begin with thoughts as well; `thoughts` are those that the server sent apart.
    """

    text: str
    finish: str
    thoughts: str = ""

    @property
    def said(self) -> str:
        """The answer without the thoughts before it."""
        return split(self.text)[1]

    @property
    def thinking(self) -> str:
        """All thoughts, wherever they stood."""
        return "\n".join(filter(None, (self.thoughts, split(self.text)[0])))


@dataclass(frozen=True)
class Call:
    """One attempt, for the ledger.

    `outcome` is 'answered' or the name of the fault; `cost` is in the currency of the prices. `form`: how the request
    differed from the one asked for, because the server takes no other; `words`: the server's reason for a refusal.
    """

    key: str
    role: str
    endpoint: str
    model: str
    outcome: str
    seconds: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    form: str = ""
    words: str = ""


class ResponseStore:
    """Responses by request key. Use as a context manager, from one thread.

    Other processes may have the same file open.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file.

        Raises:
            UserError: the file is no response store, or cannot be written.
        """
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
            self._base.execute("PRAGMA journal_mode=WAL")  # readers and one writer at a time, across processes
            self._base.execute(
                "PRAGMA synchronous=NORMAL"
            )  # a commit outlives the process; a power cut may take the last
            self._base.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
            self._add_columns()
        except (sqlite3.Error, OSError) as error:
            raise UserError(f"launch.answers: {path} cannot be opened as a response store ({error}).") from None

    def __enter__(self) -> "ResponseStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def get(self, key: str) -> Answer | None:
        """Return the stored response, or None."""
        found = self._base.execute("SELECT text, finish, thoughts FROM answers WHERE key = ?", (key,)).fetchone()
        return Answer(*found) if found else None

    def put(self, answer: Answer, call: Call, promise: int | None = None) -> None:
        """Store a response and its ledger entry in one transaction.

        The first response to a key stays. `promise` is the reservation to release.
        """
        with self._transaction():
            self._base.execute(
                "INSERT OR IGNORE INTO answers (key, text, finish, thoughts) VALUES (?, ?, ?, ?)",
                (call.key, answer.text, answer.finish, answer.thoughts),
            )
            self._bill(call, promise)

    def failed(self, call: Call, promise: int | None = None) -> None:
        """Record a failed attempt in the ledger."""
        with self._transaction():
            self._bill(call, promise)

    def reserve(self, cost: float, limit: float) -> int | None:
        """Reserve `cost`, so that all processes on this store together keep `limit`.

        Returns:
            The reservation's id, or None if `limit` could be passed.
        """
        with self._transaction():
            for attempt in ("at once", "without the promises of the dead"):
                spent, promised = self.spent(), "SELECT COALESCE(SUM(cost), 0) FROM promises"
                if spent + self._base.execute(promised).fetchone()[0] + cost <= limit:
                    row = self._base.execute("INSERT INTO promises (pid, cost) VALUES (?, ?)", (os.getpid(), cost))
                    return row.lastrowid
                if attempt == "at once":
                    self._drop_stale_reservations()
        return None

    def release(self, promise: int | None) -> None:
        """Delete the reservation of a call that was never billed."""
        if promise is not None:
            self._base.execute("DELETE FROM promises WHERE id = ?", (promise,))

    def spent(self) -> float:
        """Return the cost of all calls in the ledger."""
        return float(self._base.execute("SELECT cost FROM total").fetchone()[0])

    def ledger(self) -> list[dict[str, Any]]:
        """Sum calls, tokens and cost by role, endpoint, model, outcome and form.

        The mean latency is in seconds.
        """
        columns = ("role", "endpoint", "model", "outcome", "form")
        totals = ("calls", "prompt_tokens", "completion_tokens", "cost", "mean_seconds")
        found = self._base.execute(
            f"SELECT {', '.join(columns)}, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens), SUM(cost), "
            f"AVG(seconds) FROM calls GROUP BY {', '.join(columns)} ORDER BY {', '.join(columns)}"
        )
        return [dict(zip((*columns, *totals), row, strict=True)) for row in found]

    def sample(self, count: int, role: str, having: bool) -> list[dict[str, Any]]:
        """Return a random sample of answered calls with their responses.

        Args:
            count: the maximum number; the first by key, which is random because keys are hashes.
            role: the role to select or exclude.
            having: True: calls of this role; False: calls of all others.
        """
        said = ("key", "role", "endpoint", "model", "text", "finish")
        columns = (*said, "seconds", "prompt_tokens", "completion_tokens", "cost", "at")
        found = self._base.execute(
            f"SELECT {', '.join(columns)} FROM calls JOIN answers USING (key) WHERE outcome = 'answered' "
            f"AND role {'=' if having else '<>'} ? GROUP BY key ORDER BY key LIMIT ?",
            (role, count),
        )
        return [dict(zip(columns, row, strict=True)) for row in found]

    def duplicate_charges(self) -> int:
        """Count calls that were sent although their response was stored; expected 0.

        Two calls with one key in flight at once, from two processes or around a kill, do not count.
        """
        found = self._base.execute(
            "SELECT COUNT(*) FROM calls JOIN (SELECT key, MIN(at) AS stored FROM calls WHERE outcome = 'answered' "
            "GROUP BY key) USING (key) WHERE at - seconds > stored"
        )
        return int(found.fetchone()[0])

    def merge(self, other: Path) -> dict[str, int]:
        """Take over responses and ledger entries that another store has and this one has not; idempotent.

        Where both have a response to a key, this one's stays.

        Returns:
            Counts: `answers` and `calls` that were new, and `kept`, keys to which the two have different responses.

        Raises:
            UserError: `other` does not exist or is no response store.
        """
        if not other.is_file():
            raise UserError(f"{other} does not exist; name the file of a response store (launch.answers).")
        if other.samefile(self._path):
            return {"answers": 0, "calls": 0, "kept": 0}
        with ResponseStore(other):  # it is one, of this version
            pass
        columns = ", ".join((*(field.name for field in fields(Call)), "at"))
        theirs = f"(SELECT {columns} FROM other.calls EXCEPT SELECT {columns} FROM main.calls)"
        self._base.execute("ATTACH DATABASE ? AS other", (str(other),))
        try:
            with self._transaction():
                differ = "SELECT COUNT(*) FROM main.answers JOIN other.answers AS theirs USING (key) WHERE "
                differ += "(main.answers.text, main.answers.finish) <> (theirs.text, theirs.finish)"
                kept = int(self._base.execute(differ).fetchone()[0])
                calls, cost = self._base.execute(f"SELECT COUNT(*), COALESCE(SUM(cost), 0) FROM {theirs}").fetchone()
                self._base.execute(f"INSERT INTO main.calls ({columns}) SELECT * FROM {theirs}")
                self._base.execute("UPDATE main.total SET cost = cost + ?", (cost,))
                answers = self._base.execute(
                    "INSERT OR IGNORE INTO main.answers (key, text, finish, thoughts) "
                    "SELECT key, text, finish, thoughts FROM other.answers"
                )
            return {"answers": answers.rowcount, "calls": int(calls), "kept": kept}
        finally:
            self._base.execute("DETACH DATABASE other")

    def _add_columns(self) -> None:
        """Bring a file of an earlier version to this schema; its answers stay."""
        with self._transaction():
            for table, column in LATER:
                known = {row[1] for row in self._base.execute(f"PRAGMA table_info({table})")}
                if column not in known:
                    self._base.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")

    def _bill(self, call: Call, promise: int | None) -> None:
        self._base.execute(
            "INSERT INTO calls (key, role, endpoint, model, outcome, seconds, prompt_tokens, completion_tokens, cost, "
            "form, words, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*astuple(call), time.time()),
        )
        if call.cost:
            self._base.execute("UPDATE total SET cost = cost + ?", (call.cost,))
        self.release(promise)

    def _drop_stale_reservations(self) -> None:
        """Delete the reservations of processes that no longer run."""
        for (pid,) in self._base.execute("SELECT DISTINCT pid FROM promises").fetchall():
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                self._base.execute("DELETE FROM promises WHERE pid = ?", (pid,))
            except PermissionError:
                continue

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run the block in one transaction; waiting for another writer comes first."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")
