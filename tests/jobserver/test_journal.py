"""The store: what is acknowledged is on disk, whatever happens, and no other file is touched."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from django_gearman.jobserver.journal import APPLICATION_ID, VERSION, Journal, JournalError
from django_gearman.jobserver.state import Function, Job, Offer

PATIENCE = 60.0


class Written:
    """A recorder of the journal's reports, with a way to wait for them."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.errors: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, jobs: Sequence[Job], error: str) -> None:
        with self._changed:
            self.jobs += jobs
            self.errors.append(error)
            self._changed.notify_all()

    def wait(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.jobs) >= count, PATIENCE)


def make_job(number: int, workload: bytes = b"\0work") -> Job:
    offer = Offer(b"f\xff", b"u%d" % number, workload, 2, True, 1234.5)
    return Job(b"H:test:%d" % number, offer, offer.unique, Function(b"f\xff"))


def stored(path: Path) -> list[tuple[int, bytes, Offer]]:
    journal = Journal(path, lambda jobs, error: None)
    try:
        return list(journal.load())
    finally:
        journal.close()


def test_jobs_come_back_as_they_were_until_they_end(tmp_path):
    path, written = tmp_path / "jobs.db", Written()
    journal = Journal(path, written)
    journal.start()
    jobs = [make_job(number) for number in range(3)]
    for job in jobs:
        journal.add(job)
    written.wait(3)
    journal.remove(jobs[1].row)
    journal.close()

    assert written.errors.count("") == len(written.errors)
    assert [(handle, offer) for _, handle, offer in stored(path)] == [
        (b"H:test:0", Offer(b"f\xff", b"u0", b"\0work", 2, True, 1234.5)),
        (b"H:test:2", Offer(b"f\xff", b"u2", b"\0work", 2, True, 1234.5)),
    ]


def test_rows_are_not_used_twice_after_a_restart(tmp_path):
    path = tmp_path / "jobs.db"
    for expected in (1, 2):
        journal = Journal(path, written := Written())
        journal.start()
        journal.add(job := make_job(expected))
        written.wait(1)
        journal.close()
        assert job.row == expected


class Slow(Journal):
    """Waits at the beginning of each transaction until it may go on."""

    gate: threading.Event
    transactions = 0

    def _execute(self, statement, rows=None):
        if statement.startswith("BEGIN"):
            self.transactions += 1
            assert self.gate.wait(PATIENCE)
        super()._execute(statement, rows)


def test_writes_that_gather_meanwhile_are_one_transaction(tmp_path):
    journal = Slow(tmp_path / "jobs.db", written := Written())
    journal.gate = threading.Event()
    journal.start()
    journal.add(make_job(0))
    for number in range(1, 1000):
        journal.add(make_job(number))
    journal.gate.set()
    written.wait(1000)
    journal.close()

    assert journal.transactions <= 3  # the first, what had gathered, and the last look


class TestFull:
    class Journal(Journal):
        """A disk that is full for a while."""

        is_full = True

        def _execute(self, statement, rows=None):
            if self.is_full and statement == "COMMIT":
                raise sqlite3.OperationalError("database or disk is full")
            super()._execute(statement, rows)

    def test_a_job_that_cannot_be_written_is_reported_and_not_kept(self, tmp_path):
        path = tmp_path / "jobs.db"
        journal = self.Journal(path, written := Written())
        journal.start()
        journal.add(make_job(1))
        written.wait(1)
        journal.is_full = False
        journal.add(make_job(2))
        written.wait(2)
        journal.close()

        assert [bool(error) for error in written.errors] == [True, False]
        assert [handle for _, handle, _ in stored(path)] == [b"H:test:2"]

    def test_a_job_that_cannot_be_deleted_is_tried_again(self, tmp_path):
        path = tmp_path / "jobs.db"
        journal = self.Journal(path, written := Written())
        journal.is_full = False
        journal.start()
        journal.add(job := make_job(1))
        written.wait(1)
        journal.is_full = True
        journal.remove(job.row)
        journal.add(make_job(2))
        written.wait(2)
        journal.is_full = False
        journal.add(make_job(3))
        written.wait(3)
        journal.close()

        assert [handle for _, handle, _ in stored(path)] == [b"H:test:3"]


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE mine (value)")
    database.close()


def other_version(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE job (value)")
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()


def damaged(path: Path) -> None:
    journal = Journal(path, written := Written())
    journal.start()
    for number in range(200):
        journal.add(make_job(number, b"x" * 500))
    written.wait(200)
    journal.close()
    content = bytearray(path.read_bytes())
    content[4096:16384] = os.urandom(12288)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_text("a letter"), "is a file of another program"),
        (lambda path: path.write_bytes(bytes(5000)), "is a file of another program"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(100)), "another program"),
        (other_database, "is a database of another program"),
        (other_version, f"has version {VERSION + 1}"),
        (damaged, "is damaged"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_a_file_that_is_not_a_store_is_reported_and_left_as_it_is(tmp_path, make, complaint):
    path = tmp_path / "jobs.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None

    with pytest.raises(JournalError, match=complaint) as raised:
        Journal(path, Written())

    assert str(path) in str(raised.value)
    assert (path.read_bytes() if path.is_file() else None) == before


def test_an_empty_file_becomes_a_store(tmp_path):
    path = tmp_path / "jobs.db"
    path.touch()
    assert stored(path) == []


def test_a_directory_that_does_not_exist(tmp_path):
    with pytest.raises(JournalError, match="does not exist"):
        Journal(tmp_path / "nowhere" / "jobs.db", Written())


def test_a_store_has_one_server(tmp_path):
    path = tmp_path / "jobs.db"
    journal = Journal(path, Written())
    try:
        with pytest.raises(JournalError, match="in use by another gearman_server"):
            Journal(path, Written())
    finally:
        journal.close()
    assert stored(path) == []


class Killed(Journal):
    """Dies before, or after, one statement of the write path."""

    left: int
    after: bool

    def _execute(self, statement, rows=None):
        self.left -= 1
        if not self.left and not self.after:
            os._exit(9)
        super()._execute(statement, rows)
        if not self.left:
            os._exit(9)


def write_until_killed(path: Path, statement: int, after: bool, message: str) -> None:
    acknowledged = os.open(message, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def written(jobs: Sequence[Job], error: str) -> None:
        os.write(acknowledged, b"".join(job.handle + b"\n" for job in jobs if not error))
        done.release()

    done = threading.Semaphore(0)
    journal = Killed(path, written)
    journal.left, journal.after = statement, after
    journal.start()
    for number in range(3):
        journal.add(make_job(number))
        done.acquire()
    os._exit(0)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("statement", range(1, 10))
def test_killed_at_any_statement_it_keeps_what_was_acknowledged(tmp_path, statement, after):
    path, message = tmp_path / "jobs.db", tmp_path / "acknowledged"
    stored(path)
    process = multiprocessing.get_context("fork").Process(
        target=write_until_killed, args=(path, statement, after, str(message))
    )
    process.start()
    process.join(PATIENCE)

    assert process.exitcode == 9
    acknowledged = message.read_bytes().split() if message.exists() else []
    kept = [handle for _, handle, _ in stored(path)]
    assert set(acknowledged) <= set(kept)
    assert len(kept) <= len(acknowledged) + 1
