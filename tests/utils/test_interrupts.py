"""A time limit strikes only where that leaves nothing half done."""

from __future__ import annotations

import contextlib
import importlib
import logging
import random
import sys
import time
from contextlib import ExitStack

import pytest
from django.db import DatabaseError, OperationalError, connections, transaction
from django.db.utils import ConnectionHandler

from django_gearman import GearmanClient
from django_gearman.backends.reach import Race, Standing
from django_gearman.exceptions import JobTimeLimitExceeded
from django_gearman.utils.interrupts import brief, undisturbed, undisturbed_between_waits, waits
from django_gearman.worker.timelimit import limited
from tests.support.postgres import Postgres, find_postgres


def spend(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


never = undisturbed(lambda: spend(0.3))
soon = brief(lambda: spend(0.3))


@waits
def wait() -> None:
    spend(20)


@undisturbed_between_waits
def between() -> None:
    spend(0.3)
    done.append("between")
    wait()


done: list[str] = []


@pytest.fixture(autouse=True)
def nothing_done():
    done.clear()


def interrupted(func) -> float:
    """Return how many seconds a function ran that was to be interrupted after 0.05."""
    started = time.perf_counter()
    with pytest.raises(JobTimeLimitExceeded):
        limited(0.05, func, [], {})
    assert sys.getprofile() is None
    return time.perf_counter() - started


class Manager:
    def __enter__(self):
        soon()
        done.append("entered")

    def __exit__(self, *error):
        soon()
        done.append("left")


def in_manager() -> None:
    with Manager():
        spend(20)


class Deleted:
    def __del__(self) -> None:
        spend(0.3)
        done.append("deleted")


def in_del() -> None:
    Deleted()
    spend(20)


class SlowHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            spend(0.3)
            done.append(record.getMessage())
        except Exception:
            self.handleError(record)


def in_logging() -> None:
    logger = logging.Logger("slow")
    logger.addHandler(SlowHandler())
    logger.warning("logged")
    spend(20)


@pytest.mark.parametrize(
    ("func", "expected"),
    [
        (lambda: (never(), done.append("called"), spend(20)), []),
        (lambda: (soon(), spend(20)), []),
        (between, ["between"]),
        (in_manager, ["entered", "left"]),
        (in_del, ["deleted"]),
        (in_logging, ["logged"]),
    ],
)
def test_work_that_has_begun_ends_first(func, expected):
    took = interrupted(func)

    assert 0.3 < took < 10
    assert done == expected


def test_an_import_is_not_cut_in_half(tmp_path, monkeypatch):
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.3)\nWHOLE = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    def work() -> None:
        importlib.import_module("slow_to_import")
        spend(20)

    interrupted(work)

    assert sys.modules.pop("slow_to_import").WHOLE


def test_patience_has_an_end():
    forever = brief(lambda: spend(60))
    assert 2 <= interrupted(forever) < 20


def test_code_that_never_calls_anything_is_interrupted_afterwards():
    def work() -> None:
        never()
        while True:
            pass

    assert interrupted(work) < 10


@pytest.mark.django_db(transaction=True)
def test_callbacks_on_commit_are_interrupted():
    def work() -> None:
        with transaction.atomic():
            transaction.on_commit(lambda: spend(20))

    assert interrupted(work) < 15
    assert not connections["default"].in_atomic_block
    assert connections["default"].get_autocommit()


def test_a_profiler_of_the_job_is_not_an_obstacle():
    def profiler(*about: object) -> None:
        pass

    def work() -> None:
        sys.setprofile(profiler)
        brief(lambda: spend(1.5))()
        spend(20)

    try:
        with pytest.raises(JobTimeLimitExceeded):
            limited(1, work, [], {})
    finally:
        sys.setprofile(None)


def test_a_database_error_that_comes_of_it_is_reported_as_what_it_is():
    def wrapped() -> None:
        try:
            spend(20)
        except JobTimeLimitExceeded as error:
            raise DatabaseError("the driver's own words") from error

    with pytest.raises(JobTimeLimitExceeded) as caught:
        limited(0.05, wrapped, [], {})
    assert isinstance(caught.value.__cause__, DatabaseError)


def test_another_error_is_the_jobs_own():
    def tells() -> None:
        try:
            spend(20)
        except JobTimeLimitExceeded as error:
            raise LookupError("too slow for the shop") from error

    with pytest.raises(LookupError):
        limited(0.05, tells, [], {})

    def fails() -> None:
        raise OperationalError("before its time")

    with pytest.raises(OperationalError):
        limited(60, fails, [], {})


@contextlib.contextmanager
def database(settings):
    """Replace the default database by another one."""
    handler = ConnectionHandler({"default": settings})
    before = connections["default"]
    connections["default"] = handler["default"]
    try:
        yield handler["default"]
    finally:
        handler["default"].close()
        connections["default"] = before


def rows() -> None:
    while True:
        with transaction.atomic(), connections["default"].cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (1)")
            with transaction.atomic():
                cursor.execute("SELECT count(*) FROM t WHERE n = 2")


def stay_whole(connection, count: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (n integer)")
    for _ in range(count):
        with pytest.raises(JobTimeLimitExceeded):
            limited(random.uniform(0.005, 0.02), rows, [], {})
        assert not connection.in_atomic_block
        assert connection.get_autocommit()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")


def test_transactions_on_sqlite_end_whole(tmp_path, django_db_blocker):
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")}
    with django_db_blocker.unblock(), database(settings) as connection:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")
        stay_whole(connection, 100)


@pytest.mark.integration
def test_transactions_on_postgresql_end_whole(django_db_blocker):
    def sleep() -> None:
        with transaction.atomic(), connections["default"].cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")

    programs = find_postgres()
    assert programs is not None, "not installed. Debian: apt-get install postgresql"
    with ExitStack() as stack:
        server = stack.enter_context(Postgres(programs))
        stack.enter_context(django_db_blocker.unblock())
        address = {"NAME": "postgres", "USER": "test", "HOST": "127.0.0.1", "PORT": server.port}
        engine = {"ENGINE": "django.db.backends.postgresql"}
        connection = stack.enter_context(database({**engine, **address}))
        stay_whole(connection, 100)
        process = connection.connection.info.backend_pid
        assert interrupted(sleep) < 10
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert connection.connection.info.backend_pid == process, "it did not need another one"


@pytest.mark.gearmand
def test_submitting_continues_after_an_interrupt(settings, own_gearmand):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [own_gearmand.address]
    client = GearmanClient()

    def submit() -> None:
        while True:
            client.submit_job("tests.app.note", 1, background=True)

    for _ in range(100):
        with pytest.raises(JobTimeLimitExceeded):
            limited(random.uniform(0.001, 0.01), submit, [], {})
        started = time.perf_counter()
        assert client.submit_job("tests.app.note", 2, background=True).handle
        assert time.perf_counter() - started < 20


def test_a_limit_that_strikes_while_a_server_is_reached_is_not_the_fault_of_the_server():
    standing: Standing[str] = Standing()
    race = Race({"one": lambda: spend(20)}, standing, id)

    assert interrupted(lambda: race.run_here("one")) < 10
    assert not standing.passed_over("one", 60)


@pytest.mark.gearmand
def test_a_job_that_waits_for_another_one_is_interrupted(settings, own_gearmand):
    settings.GEARMAN_BACKEND = "gearman"
    settings.GEARMAN_SERVERS = [own_gearmand.address]
    client = GearmanClient()

    assert interrupted(lambda: client.submit_job("tests.app.note", 1)) < 60
    assert client.submit_job("tests.app.note", 2, background=True).handle
