"""Content-addressed store of model responses, with a ledger of every call.

A SQLite file of one machine (sqlite_store.py) or a PostgreSQL database of several (postgres_store.py), outside outputs
and scratch. A response is committed before it is used, so a killed process loses only the calls in flight. Several
processes may fill the store concurrently; a call in flight is locked, so that no other process sends it, too. The store
records which calls are paid for, never which stages are done; a failed call is in the ledger only.
"""

import hashlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from wethink.clients.postgres_store import PostgresStore
from wethink.clients.sqlite_store import SqliteStore
from wethink.clients.thoughts import split
from wethink.common.errors import UserError
from wethink.config.launch import is_url, plain_store

PAGE = 1_000  # rows read at a time
ANSWERS = "key, text, finish, thoughts"


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
    differed from the one asked for, because the server takes no other; `words`: the server's reason for a refusal;
    `at`: when it ended, in seconds of the epoch.
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
    at: float = field(default_factory=time.time)


CALLS = ", ".join(field.name for field in fields(Call))


class ResponseStore:
    """Responses by request key. Use as a context manager, from one thread.

    Other processes may have the same store open.
    """

    def __init__(self, place: Path | str) -> None:
        """Open or create the store.

        Args:
            place: a SQLite file, or `postgresql://USER@HOST/DATABASE`.

        Raises:
            UserError: it is no response store, cannot be written, or its server is away or refuses.
        """
        if is_url(str(place)):
            try:
                self._base: SqliteStore | PostgresStore = PostgresStore(plain_store(str(place)))
            except ValueError as error:
                raise UserError(f"launch.answers: {error}.") from None
        else:
            self._base = SqliteStore(Path(place))
        self._holder = secrets.randbits(60)  # locked while this object lives, so that others see whether it does
        self._base.lock(self._holder)

    def __enter__(self) -> "ResponseStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def get(self, key: str) -> Answer | None:
        """Return the stored response, or None."""
        found = self._base.execute("SELECT text, finish, thoughts FROM answers WHERE key = ?", (key,))
        return Answer(*found[0]) if found else None

    def claim(self, key: str) -> bool:
        """Lock a key for a call; return False if another holder has it in flight.

        The lock ends with `disclaim`, or with its holder.
        """
        return self._base.lock(_lock_of(key))

    def disclaim(self, key: str) -> None:
        """Free a key once its call has ended."""
        self._base.unlock(_lock_of(key))

    def put(self, answer: Answer, call: Call, promise: int | None = None) -> None:
        """Store a response and its ledger entry in one transaction.

        The first response to a key stays. `promise` is the reservation to release.
        """

        def work() -> None:
            self._base.execute(
                f"INSERT INTO answers ({ANSWERS}) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (call.key, answer.text, answer.finish, answer.thoughts),
            )
            self._bill(call, promise)

        self._base.transaction(work)

    def failed(self, call: Call, promise: int | None = None) -> None:
        """Record a failed attempt in the ledger."""
        self._base.transaction(lambda: self._bill(call, promise))

    def reserve(self, cost: float, limit: float) -> int | None:
        """Reserve `cost`, so that all processes on this store together keep `limit`.

        Returns:
            The reservation's id, or None if `limit` could be passed.
        """

        def work() -> int | None:
            for attempt in ("at once", "without the promises of the dead"):
                [(promised,)] = self._base.execute("SELECT COALESCE(SUM(cost), 0) FROM promises")
                if self.spent() + promised + cost <= limit:
                    values = (self._holder, cost)
                    made = self._base.execute("INSERT INTO promises (pid, cost) VALUES (?, ?) RETURNING id", values)
                    return int(made[0][0])
                if attempt == "at once":
                    self._drop_stale_reservations()
            return None

        return self._base.transaction(work)

    def release(self, promise: int | None) -> None:
        """Delete the reservation of a call that was never billed."""
        if promise is not None:
            self._base.execute("DELETE FROM promises WHERE id = ?", (promise,))

    def spent(self) -> float:
        """Return the cost of all calls in the ledger."""
        return float(self._base.execute("SELECT cost FROM total")[0][0])

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
            f"SELECT {', '.join(columns)} FROM calls JOIN answers USING (key) WHERE id IN (SELECT MIN(id) FROM calls "
            f"WHERE outcome = 'answered' AND role {'=' if having else '<>'} ? GROUP BY key) ORDER BY key LIMIT ?",
            (role, count),
        )
        return [dict(zip(columns, row, strict=True)) for row in found]

    def duplicate_charges(self) -> int:
        """Count calls that were sent although their response was stored; expected 0.

        Two calls with one key in flight at once, as in stores that were merged, do not count.
        """
        found = self._base.execute(
            "SELECT COUNT(*) FROM calls JOIN (SELECT key, MIN(at) AS stored FROM calls WHERE outcome = 'answered' "
            "GROUP BY key) AS earliest USING (key) WHERE at - seconds > stored"
        )
        return int(found[0][0])

    def merge(self, place: Path | str) -> dict[str, int]:
        """Take over responses and ledger entries that another store has and this one has not; idempotent.

        Where both have a response to a key, this one's stays.

        Returns:
            Counts: `answers` and `calls` that were new, and `kept`, keys to which the two have different responses.

        Raises:
            UserError: `place` does not exist or is no response store.
        """
        if not exists(place):
            raise UserError(f"{place} does not exist; name a response store, as launch.answers does.")
        with ResponseStore(place) as other:
            return self._base.transaction(lambda: self._take_over(other))

    def _take_over(self, other: "ResponseStore") -> dict[str, int]:
        run = self._base.execute
        for table, columns in (("answers", ANSWERS), ("calls", CALLS)):
            run(f"CREATE TEMPORARY TABLE their_{table} AS SELECT {columns} FROM {table} WHERE FALSE")
        self._base.insert("their_answers", other._pages("answers", "key", ANSWERS, ""), 1 + ANSWERS.count(","))
        self._base.insert("their_calls", other._pages("calls", "id", CALLS, 0), 1 + CALLS.count(","))
        differ = "SELECT COUNT(*) FROM answers JOIN their_answers AS theirs USING (key) "
        [(kept,)] = run(f"{differ} WHERE (answers.text, answers.finish) <> (theirs.text, theirs.finish)")
        new = "FROM their_answers AS theirs WHERE NOT EXISTS (SELECT 1 FROM answers WHERE answers.key = theirs.key)"
        [(answers,)] = run(f"SELECT COUNT(*) {new}")
        run(f"INSERT INTO answers ({ANSWERS}) SELECT {ANSWERS} {new}")
        unknown = f"(SELECT {CALLS} FROM their_calls EXCEPT SELECT {CALLS} FROM calls) AS unknown"
        [(calls, cost)] = run(f"SELECT COUNT(*), COALESCE(SUM(cost), 0) FROM {unknown}")
        run(f"INSERT INTO calls ({CALLS}) SELECT {CALLS} FROM {unknown}")
        run("UPDATE total SET cost = cost + ?", (cost,))
        for table in ("answers", "calls"):
            run(f"DROP TABLE their_{table}")
        return {"answers": answers, "calls": calls, "kept": kept}

    def _pages(self, table: str, by: str, columns: str, last: Any) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a table, read page by page in the order of a unique column."""
        ask = f"SELECT {by}, {columns} FROM {table} WHERE {by} > ? ORDER BY {by} LIMIT {PAGE}"
        while page := self._base.execute(ask, (last,)):
            yield from (row[1:] for row in page)
            last = page[-1][0]

    def _bill(self, call: Call, promise: int | None) -> None:
        marks = ", ".join("?" * len(fields(Call)))
        billed = self._base.execute(
            f"INSERT INTO calls ({CALLS}) VALUES ({marks}) ON CONFLICT DO NOTHING RETURNING id", astuple(call)
        )
        if call.cost and billed:
            self._base.execute("UPDATE total SET cost = cost + ?", (call.cost,))
        self.release(promise)

    def _drop_stale_reservations(self) -> None:
        """Delete the reservations of holders that are gone."""
        for (holder,) in self._base.execute("SELECT DISTINCT pid FROM promises"):
            if holder != self._holder and self._base.lock(holder):
                self._base.unlock(holder)
                self._base.execute("DELETE FROM promises WHERE pid = ?", (holder,))


def exists(place: Path | str) -> bool:
    """Return whether there is a file of this name; of a database this is not asked."""
    return is_url(str(place)) or Path(place).is_file()


def _lock_of(key: str) -> int:
    return int(hashlib.sha256(key.encode()).hexdigest()[:15], 16)
