"""Each run has a separate context and separate transactions, also inside its caller."""

from __future__ import annotations

import asyncio
import decimal
import functools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import caches
from django.db import connection, transaction
from django.utils import timezone, translation

from django_gearman import GearmanWorker, current_job
from django_gearman.signals import job_finished, job_started
from tests.app import gearman_jobs as jobs

user: ContextVar[str] = ContextVar("user", default="nobody")


def chosen() -> list[object]:
    zone = timezone.get_current_timezone_name()
    return [translation.get_language(), zone, decimal.getcontext().prec, user.get()]


def choose() -> None:
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    decimal.getcontext().prec = 3
    user.set("ada")


def wrapped(func):
    @functools.wraps(func)
    def call(*args, **kwargs):
        return func(*args, **kwargs)

    del call.__wrapped__
    return call


@pytest.fixture
def declare(monkeypatch):
    """Declare a job with the test's function."""

    def use(func):
        monkeypatch.setattr(jobs.note, "func", func)
        return jobs.note

    return use


@pytest.fixture(params=["eager", "memory"])
def run(request, settings, declare):
    """Run a function as a job in this thread, and return the list that it filled."""
    settings.GEARMAN_BACKEND = request.param
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid} if request.param == "memory" else {}

    def run(func):
        results: list[object] = []
        declare(lambda number: results.append(func()))
        jobs.note.do_background(1)
        if request.param == "memory":
            GearmanWorker(clean_connections=False).work(burst=True)
        return results

    return run


def test_the_choices_of_a_job_are_its_own(run):
    before = chosen()
    run(choose)
    assert chosen() == before
    assert run(chosen) == [before]


def test_the_choices_of_the_caller_do_not_reach_the_job(run):
    before = chosen()
    with translation.override("fr"), timezone.override("Asia/Tokyo"), decimal.localcontext() as own:
        own.prec = 5
        token = user.set("grace")
        found = run(chosen)
        user.reset(token)
    assert found == [before]


def test_receivers_are_called_in_the_context_of_the_run(run):
    message: list[object] = []

    def note(**about):
        message.append(user.get())

    for signal in (job_started, job_finished):
        signal.connect(note)
    try:
        run(choose)
    finally:
        for signal in (job_started, job_finished):
            signal.disconnect(note)
    assert message == ["nobody", "ada"]


def test_a_job_knows_which_it_is(run):
    assert run(lambda: current_job().name) == ["tests.app.note"]
    assert current_job() is None


def test_caches_stay(run):
    def use() -> list[object]:
        return [caches["default"], *run(lambda: caches["default"]), *run(lambda: caches["default"])]

    with ThreadPoolExecutor(1) as thread:  # in which no other test has run a job
        found = thread.submit(use).result()

    assert len(found) == 3
    assert len({id(cache) for cache in found}) == 1


@pytest.mark.django_db
def test_the_callers_blocks_survive_what_a_job_leaves_open(run, caplog):
    with transaction.atomic():
        depth = len(connection.atomic_blocks)
        run(lambda: [transaction.atomic().__enter__() for _ in range(2)])
        assert len(connection.atomic_blocks) == depth
        assert len(connection.savepoint_ids) == depth - 1
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    assert "job tests.app.note" in caplog.text
    assert "has left a transaction open" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("leave", ["atomic", "autocommit"])
def test_a_transaction_that_is_left_open_is_rolled_back(run, caplog, leave):
    def work() -> None:
        if leave == "atomic":
            transaction.atomic().__enter__()
        else:
            transaction.set_autocommit(False)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO left_open VALUES (1)")

    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE left_open (n integer)")
    run(work)

    assert not connection.in_atomic_block
    assert connection.get_autocommit()
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT * FROM left_open").fetchall() == []
        cursor.execute("DROP TABLE left_open")
    assert caplog.text.count("has left a transaction open") == 1


@pytest.mark.django_db(transaction=True)
def test_a_transaction_of_the_callers_continues(run, caplog):
    transaction.set_autocommit(False)
    try:
        run(lambda: None)
        assert not connection.get_autocommit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert not caplog.text


# Awaitables


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def test_an_awaitable_result_is_awaited(declare, settings):
    settings.GEARMAN_BACKEND = "eager"
    for func in (wrapped(double), lambda number: double(number), functools.partial(double)):
        declare(func)
        assert jobs.note.do(21) == 42


# Async jobs beside async callers


@pytest.mark.django_db(transaction=True)
def test_an_async_job_inside_of_async_code_uses_its_callers_thread(declare, settings):
    settings.GEARMAN_BACKEND = "eager"
    threads: list[object] = []

    def look() -> None:
        threads.append(threading.current_thread())

    async def job(number: int) -> None:
        await sync_to_async(look)()

    declare(wrapped(job))

    def view() -> None:
        threads.append(threading.current_thread())
        jobs.note.do(1)

    async def request() -> None:
        await sync_to_async(view)()

    async_to_sync(request)()
    assert threads == [threading.current_thread()] * 2
    asyncio.run(request())
    assert threads[2] is threads[3]
