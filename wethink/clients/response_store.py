"""What was paid for: answers of models by the content of their request, and the ledger of every call.

One SQLite file outside outputs and scratch. An answer is committed before anything uses it, so that whoever
kills the process loses no more than the calls in flight. Several processes may fill it side by side. It
answers 'is this call paid?', never 'is this stage done?'; a call that failed is in the ledger only.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
  key TEXT PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, role TEXT NOT NULL, endpoint TEXT NOT NULL, model TEXT NOT NULL,
  outcome TEXT NOT NULL, seconds REAL NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
  cost REAL NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS total (id INTEGER PRIMARY KEY CHECK (id = 0), cost REAL NOT NULL);
INSERT OR IGNORE INTO total VALUES (0, 0.0);
CREATE TABLE IF NOT EXISTS promises (id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, cost REAL NOT NULL);
"""
BUSY = 60.0  # seconds to wait for another writer


@dataclass(frozen=True)
class Answer:
    """A model's reply: its text and how it ended ('stop', 'length', 'refusal' or 'overlong')."""

    text: str
    finish: str


@dataclass(frozen=True)
class Call:
    """One attempt, for the ledger. `outcome` is 'answered' or the name of the fault; cost in the price's currency."""

    key: str
    role: str
    endpoint: str
    model: str
    outcome: str
    seconds: float
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


class ResponseStore:
    """Answers by key. Use as a context manager, from one thread; other processes may have it open as well."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            UserError: it is no such file, or cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
            self._base.execute("PRAGMA journal_mode=WAL")  # readers and one writer at a time, across processes
            self._base.execute(
                "PRAGMA synchronous=NORMAL"
            )  # a commit outlives the process; a power cut may take the last
            self._base.executescript(f"BEGIN IMMEDIATE; {SCHEMA} COMMIT;")
        except (sqlite3.Error, OSError) as error:
            raise UserError(f"launch.answers: {path} cannot be opened as a store of answers ({error}).") from None

    def __enter__(self) -> "ResponseStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def get(self, key: str) -> Answer | None:
        """The answer that was paid for, if there is one."""
        found = self._base.execute("SELECT text, finish FROM answers WHERE key = ?", (key,)).fetchone()
        return Answer(*found) if found else None

    def put(self, answer: Answer, call: Call, promise: int | None = None) -> None:
        """Keep an answer and its bill together, or neither; the first answer to a key stays."""
        with self._transaction():
            self._base.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", (call.key, answer.text, answer.finish))
            self._bill(call, promise)

    def failed(self, call: Call, promise: int | None = None) -> None:
        """Note an attempt that brought no answer."""
        with self._transaction():
            self._bill(call, promise)

    def reserve(self, cost: float, limit: float) -> int | None:
        """Set `cost` aside, so that no process on this store can pass `limit`; None if it could be passed."""
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
        """Give back what was set aside for a call that was never answered and never billed."""
        if promise is not None:
            self._base.execute("DELETE FROM promises WHERE id = ?", (promise,))

    def spent(self) -> float:
        """The cost of all calls ever noted here."""
        return float(self._base.execute("SELECT cost FROM total").fetchone()[0])

    def ledger(self) -> list[dict[str, Any]]:
        """Calls, tokens, cost and mean latency by role, endpoint, model and outcome."""
        columns = ("role", "endpoint", "model", "outcome")
        totals = ("calls", "prompt_tokens", "completion_tokens", "cost", "mean_seconds")
        found = self._base.execute(
            f"SELECT {', '.join(columns)}, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens), SUM(cost), "
            f"AVG(seconds) FROM calls GROUP BY {', '.join(columns)} ORDER BY {', '.join(columns)}"
        )
        return [dict(zip((*columns, *totals), row, strict=True)) for row in found]

    def sample(self, count: int, role: str, having: bool) -> list[dict[str, Any]]:
        """Answered calls with their answers, the first by key: a random sample, for keys are hashes.

        Args:
            count: at most so many.
            role: which calls.
            having: those of this role, or (False) those of all others.
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
        """Calls that were sent although their answer was here: never one, whoever was killed when.

        The same question on its way twice, from two processes or around a kill, is not meant: nobody had its answer.
        """
        found = self._base.execute(
            "SELECT COUNT(*) FROM calls JOIN (SELECT key, MIN(at) AS stored FROM calls WHERE outcome = 'answered' "
            "GROUP BY key) USING (key) WHERE at - seconds > stored"
        )
        return int(found.fetchone()[0])

    def _bill(self, call: Call, promise: int | None) -> None:
        self._base.execute(
            "INSERT INTO calls (key, role, endpoint, model, outcome, seconds, prompt_tokens, completion_tokens, cost, "
            "at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*astuple(call), time.time()),
        )
        if call.cost:
            self._base.execute("UPDATE total SET cost = cost + ?", (call.cost,))
        self.release(promise)

    def _drop_stale_reservations(self) -> None:
        """What was set aside by processes that were killed is free again."""
        for (pid,) in self._base.execute("SELECT DISTINCT pid FROM promises").fetchall():
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                self._base.execute("DELETE FROM promises WHERE pid = ?", (pid,))
            except PermissionError:
                continue

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; a writer waits for another one at the start, not half-way."""
        self._base.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._base.execute("ROLLBACK")
            raise
        self._base.execute("COMMIT")
