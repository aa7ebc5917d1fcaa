"""The journal: what must outlive the process, in one SQLite file. One row an object, JSON by field name.

Transactions come in order and are committed in groups: whatever waits while one group is being synced goes together
into the next, so durability costs one fdatasync a group. The journal knows rows, not classes; undoing in memory what
could not be kept is the store's business, by way of the callback.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCHEMA = 1
SMALLEST = 512
"""Octets of the smallest file that SQLite does not take for an empty one."""
RESTORE = "put a copy back with 'xen-host-agent restore FILE', or move it away to start anew"
Row = tuple[str, str, bytes | None]
"""Class, uuid, and the record as JSON; None where the object is gone."""


class JournalError(Exception):
    """The state folder cannot be used; the text says why and what to do."""


@dataclass(eq=False, slots=True)
class Commit:
    """One transaction on its way to the disk. `finished` is called once, from the journal's thread."""

    rows: Sequence[Row]
    changes: Sequence[tuple[str, Any]]
    undo: Sequence[Callable[[], None]]
    error: Exception | None = None
    settled: bool = False
    finished: Callable[[Commit], None] | None = None
    _gate: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._gate.acquire()  # held until it is settled: a lock costs a tenth of an Event

    def wait(self) -> None:
        """Return when it is durable; raise what kept it from being so."""
        with self._gate:
            pass
        if self.error is not None:
            raise self.error

    def settle(self) -> None:
        """Tell who waits."""
        self.settled = True
        self._gate.release()
        if self.finished is not None:
            self.finished(self)


class Journal:
    """The file `path`, written by one thread. `durable` is called with each committed group, `failed` with each lost
    one.
    """

    def __init__(self, path: Path | None) -> None:
        self._connection = self._open(path)
        self._queue: deque[Commit] = deque()
        self._wake = threading.Condition()
        self._busy = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self.durable: Callable[[Commit], None] = lambda commit: None
        self.failed: Callable[[list[Commit], Exception], None] = lambda commits, error: None

    @staticmethod
    def _open(path: Path | None) -> sqlite3.Connection:
        connection = None
        try:
            if path is not None and path.exists() and path.stat().st_size < SMALLEST:
                # SQLite would take it for a new one.
                raise JournalError(f"{path} cannot be used as the journal: it is empty or cut; {RESTORE}")
            connection = sqlite3.connect(
                path or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=16
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise JournalError(f"{path} is damaged ({found}): {RESTORE}")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA:
                raise JournalError(
                    f"{path} was written by a newer xen-host-agent (format {version}, this one reads {SCHEMA}): "
                    "install that version again, or move the file away to start anew"
                )
            connection.execute(
                "CREATE TABLE IF NOT EXISTS records "
                "(class TEXT NOT NULL, uuid TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (class, uuid)) WITHOUT ROWID"
            )
            connection.execute(
                "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
            )
            connection.execute(f"PRAGMA user_version={SCHEMA}")
            return connection
        except (sqlite3.Error, JournalError) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, JournalError):
                raise
            raise JournalError(f"{path} cannot be used as the journal: {error}; {RESTORE}") from error

    def rows(self) -> Iterator[tuple[str, str, bytes]]:
        """All records kept. Only before `start`. JournalError where the file is damaged."""
        try:
            yield from self._connection.execute("SELECT class, uuid, data FROM records")
        except sqlite3.Error as error:
            raise JournalError(f"the journal cannot be read: {error}") from error

    def meta(self, key: str, default: str) -> str:
        """A value beside the records. Only before `start`."""
        row = self._connection.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return default if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Keep a value beside the records. Only before `start`. JournalError where the disk is full or read-only."""
        try:
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
        except sqlite3.Error as error:
            raise JournalError(f"the journal cannot be written: {error}") from error

    def start(self) -> None:
        """Begin to take commits."""
        self._thread.start()

    def submit(self, commit: Commit) -> None:
        """Put a transaction behind those that wait. Callers hold the store's lock, which gives the order.

        One without rows has nothing to sync: with none before it, it is settled here and now. After `close` it is lost.
        """
        with self._wake:
            closed = self._closing
            if not closed and (commit.rows or self._queue or self._busy):
                self._queue.append(commit)
                self._wake.notify()
                return
        if closed:
            self.failed([commit], sqlite3.ProgrammingError("it is closed: the agent is ending"))
            return
        self.durable(commit)
        commit.settle()

    def drain(self) -> list[Commit]:
        """Take back all that waits; for the store, when a group before them was lost."""
        with self._wake:
            waiting = list(self._queue)
            self._queue.clear()
            return waiting

    def close(self) -> None:
        """Write what waits and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while True:
            with self._wake:
                self._busy = False
                while not self._queue and not self._closing:
                    self._wake.wait()
                if not self._queue:
                    return
                group = list(self._queue)
                self._queue.clear()
                self._busy = True
            try:
                if rows := [row for commit in group for row in commit.rows]:
                    self.write(rows)
            except (sqlite3.Error, OSError) as error:
                self.failed(group, error)
                continue
            for commit in group:
                self.durable(commit)
                commit.settle()

    def write(self, rows: Sequence[Row]) -> None:
        """Put rows on the disk, all or none. Only its own thread calls it. sqlite3.Error where that cannot be."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for class_name, uuid, data in rows:
                if data is None:
                    execute("DELETE FROM records WHERE class=? AND uuid=?", (class_name, uuid))
                else:
                    execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", (class_name, uuid, data))
            execute("COMMIT")
        except sqlite3.Error:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
