"""
The store of a job server: background jobs in a SQLite file, which survive any crash.

A separate thread writes. Jobs that arrive during a write form the next transaction, so a commit,
which waits for the disk, serves a whole batch. A job is acknowledged after its commit.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..utils.records import get_logger
from .state import Job, Offer

logger = get_logger(__name__)

#: In the header of the file, so that a file of another program is not mistaken for a store.
APPLICATION_ID = 0x4765_6172  # "Gear"
VERSION = 1

_MOST = 20_000  # rows in a transaction
_RETRY_SECONDS = 1.0  # until a failed deletion is tried again
_SCHEMA = """
CREATE TABLE job (
    id INTEGER PRIMARY KEY,
    handle BLOB NOT NULL,
    function BLOB NOT NULL,
    uniq BLOB NOT NULL,
    band INTEGER NOT NULL,
    run_at REAL,
    workload BLOB NOT NULL
)
"""

#: Called in the thread of the journal, with the written jobs, and an error if they could not be
#: written.
Written = Callable[[Sequence[Job], str], object]


class JournalError(Exception):
    """The error for a file that cannot be the store; its text names the reason and a remedy."""


class _Add(NamedTuple):
    job: Job
    row: tuple[object, ...]


class _Stop(NamedTuple):
    pass


class Journal:
    """
    The store in `path`, locked while it is open.

    Raises JournalError, and writes nothing, for a file that another server uses, a file of another
    program or version, and a damaged file. `written` is called for each batch.
    """

    def __init__(self, path: Path, written: Written) -> None:
        self.path = path
        self._written = written
        self._last_id = 0
        self._todo: queue.SimpleQueue[_Add | int | _Stop] = queue.SimpleQueue()
        self._database = self._open()
        self._file = path.stat().st_ino
        self._thread = threading.Thread(target=self._work, name="gearman-journal", daemon=True)

    # Opening

    def _open(self) -> sqlite3.Connection:
        self._check_file()
        try:
            database = sqlite3.connect(
                self.path, timeout=0.5, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._error(f"cannot be opened: {error}") from error
        try:
            self._prepare(database)
        except sqlite3.Error as error:
            database.close()
            if "locked" in str(error):
                raise self._error(
                    "is in use by another gearman_server; give this one another file"
                ) from error
            raise self._error(
                f"is damaged or cannot be written: {error}; nothing was changed. Restore a copy, or "
                "move it away to begin with an empty store"
            ) from error
        except JournalError:
            database.close()
            raise
        return database

    def _check_file(self) -> None:
        if self.path.is_dir():
            raise self._error("is a directory; name a file")
        if not self.path.absolute().parent.is_dir():
            raise self._error("is in a directory that does not exist; create it first")
        if not self.path.exists():
            if not os.access(self.path.absolute().parent, os.W_OK):
                raise self._error("is in a directory that cannot be written to")
            return
        if not self.path.is_file():
            raise self._error("is not a regular file")
        try:
            with self.path.open("r+b") as file:
                head = file.read(100)
        except OSError as error:
            raise self._error(f"cannot be written: {error.strerror}") from error
        if not head:
            return
        if head[:16] != b"SQLite format 3\0":
            raise self._error("is a file of another program; nothing was changed")
        application, version = (int.from_bytes(head[at : at + 4], "big") for at in (68, 60))
        if application != APPLICATION_ID:
            raise self._error("is a database of another program; nothing was changed")
        if version != VERSION:
            raise self._error(
                f"has version {version}, and this gearman_server reads version {VERSION}; use the "
                "release that wrote it, let its jobs run, and begin with an empty store"
            )

    def _prepare(self, database: sqlite3.Connection) -> None:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("BEGIN IMMEDIATE")
        is_new = not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        database.execute("COMMIT")
        if is_new:  # before the write-ahead log, so that the file's own header identifies it
            database.execute("BEGIN IMMEDIATE")
            database.execute(_SCHEMA)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute("COMMIT")
        [found] = database.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise self._error(f"is damaged: {found}; nothing was changed. Restore a copy")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        self._last_id = database.execute("SELECT coalesce(max(id), 0) FROM job").fetchone()[0]

    def _error(self, problem: str) -> JournalError:
        return JournalError(f"--store {self.path} {problem}")

    def load(self) -> Iterator[tuple[int, bytes, Offer]]:
        """Yield the stored rows, handles and jobs, in their order of arrival."""
        rows = self._database.execute(
            "SELECT id, handle, function, uniq, workload, band, run_at FROM job ORDER BY id"
        )
        for number, handle, function, unique, workload, band, run_at in rows:
            yield number, handle, Offer(function, unique, workload, band, True, run_at)

    # Writing

    def start(self) -> None:
        self._thread.start()

    def add(self, job: Job) -> None:
        """Store a job; `written` is called when it is on disk."""
        self._last_id += 1
        job.row = self._last_id
        names = job.handle, job.function.name, job.unique
        self._todo.put(_Add(job, (job.row, *names, job.band, job.run_at, job.workload)))

    def remove(self, row: int) -> None:
        """Delete a finished job from the store."""
        self._todo.put(row)

    def close(self) -> None:
        """Write the remaining changes, and release the file."""
        if self._thread.is_alive():
            self._todo.put(_Stop())
            self._thread.join()
        self._database.close()

    def _work(self) -> None:
        left: list[int] = []  # rows whose deletion failed
        stopping = False
        while not stopping:
            added: list[_Add] = []
            removed, left = left, []
            first = self._next(_RETRY_SECONDS if removed else None)
            for each in [first, *self._gathered()]:
                match each:
                    case _Add():
                        added.append(each)
                    case _Stop():
                        stopping = True
                    case int():
                        removed.append(each)
            error = self._commit(added, removed)
            if error:
                left = removed
                if not added and not stopping:
                    time.sleep(_RETRY_SECONDS)
            if added:
                self._written([each.job for each in added], error)

    def _next(self, timeout: float | None) -> _Add | int | _Stop | None:
        try:
            return self._todo.get(timeout=timeout)
        except queue.Empty:
            return None

    def _gathered(self) -> Iterator[_Add | int | _Stop]:
        with contextlib.suppress(queue.Empty):
            for _ in range(_MOST):
                yield self._todo.get_nowait()

    def _commit(self, added: Sequence[_Add], removed: Sequence[int]) -> str:
        """Write a batch completely or not at all; return the error if it failed."""
        if added and not self._is_there():
            logger.error(
                "--store %s was removed or replaced; background jobs are refused", self.path
            )
            return "the file of the store was removed or replaced"
        try:
            self._execute("BEGIN IMMEDIATE")
            if added:
                insert = "INSERT INTO job VALUES (?, ?, ?, ?, ?, ?, ?)"
                self._execute(insert, [each.row for each in added])
            if removed:
                self._execute("DELETE FROM job WHERE id = ?", [(row,) for row in removed])
            self._execute("COMMIT")
        except sqlite3.Error as error:
            logger.error("--store %s: %s; background jobs are refused", self.path, error)
            with contextlib.suppress(sqlite3.Error):  # it may be rolled back already
                self._database.execute("ROLLBACK")
            return str(error)
        return ""

    def _is_there(self) -> bool:
        """Return True if a restarted server would find the stored data."""
        with contextlib.suppress(OSError):
            return self.path.stat().st_ino == self._file
        return False

    def _execute(self, statement: str, rows: list[tuple[object, ...]] | None = None) -> None:
        """Run one statement of the write path; all of them use this function."""
        if rows is None:
            self._database.execute(statement)
        else:
            self._database.executemany(statement, rows)
