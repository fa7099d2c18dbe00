"""The loop of `async def` jobs, which one worker keeps."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction

from django_gearman import current_job
from django_gearman.exceptions import JobTimeLimitExceeded
from django_gearman.signals import job_failed, job_finished
from django_gearman.worker.observer import WorkerObserver
from django_gearman.worker.worker import GearmanWorker
from tests.app import gearman_jobs as jobs


@pytest.fixture
def run(request, settings, monkeypatch):
    """Run coroutine functions as jobs of one worker, and return what each returned or raised."""
    settings.GEARMAN_BACKEND = "memory"
    settings.GEARMAN_OPTIONS = {"name": request.node.nodeid}
    results: list[object] = []

    def receive(sender, outcome=None, exception=None, **named) -> None:
        if exception is not None:
            results.append(exception)

    job_failed.connect(receive)

    def run(*functions, **options):
        del results[:]
        left = [*functions]

        async def act(number: int) -> None:
            results.append(await left.pop(0)())

        monkeypatch.setattr(jobs.note, "func", act)
        monkeypatch.setattr(jobs.note, "is_async", True)
        for number, _ in enumerate(functions):
            jobs.note.do_background(number)
        worker = GearmanWorker(clean_connections=False)
        assert worker.work(burst=True, **options) == len(functions)
        return [*results]

    yield run
    job_failed.disconnect(receive)


async def running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


async def thread() -> threading.Thread:
    return threading.current_thread()


def test_all_jobs_of_a_worker_have_one_loop_in_one_thread(run):
    first, second, of_first, of_second = run(running_loop, running_loop, thread, thread)

    assert first is second
    assert of_first is of_second is not threading.current_thread()


def test_the_loop_and_its_thread_end_with_the_worker(run):
    [loop, started] = run(running_loop, thread)

    assert loop.is_closed()
    assert not started.is_alive()


def test_the_generators_of_the_loop_are_closed_with_it(run):
    closed: list[asyncio.AbstractEventLoop] = []

    async def keep():
        try:
            yield
        finally:
            await asyncio.sleep(0)
            closed.append(asyncio.get_running_loop())

    async def use() -> None:
        use.kept = keep()
        await anext(use.kept)

    _, loop = run(use, running_loop)

    assert closed == [loop]


def test_a_def_job_starts_no_loop(settings, monkeypatch):
    settings.GEARMAN_BACKEND = "memory"
    names: list[str] = []
    monkeypatch.setattr(
        jobs.note, "func", lambda number: names.extend(t.name for t in threading.enumerate())
    )
    jobs.note.do_background(1)

    GearmanWorker(clean_connections=False).work(burst=True)

    assert names
    assert "gearman-loop" not in names


def test_each_job_knows_which_it_is(run):
    async def ask() -> str:
        await asyncio.sleep(0)
        inside = await sync_to_async(current_job)()
        assert inside is current_job()
        task = asyncio.create_task(asyncio.sleep(0, current_job()))
        assert (await task) is inside
        return inside.id

    first, second = run(ask, ask)
    assert first != second
    assert current_job() is None


@pytest.mark.django_db
def test_sync_parts_run_in_the_thread_of_the_worker_with_its_connection(run):
    """Also inside of the transaction of a test case, which no other connection sees."""
    ContentType.objects.create(app_label="ada", model="byron")

    async def count() -> tuple[int, threading.Thread]:
        found = await ContentType.objects.filter(app_label="ada").acount()
        return found, await sync_to_async(threading.current_thread)()

    assert run(count, count) == [(1, threading.current_thread())] * 2


@pytest.mark.django_db
def test_a_transaction_that_is_left_open_is_rolled_back(run, caplog):
    async def begin() -> None:
        await sync_to_async(transaction.atomic().__enter__)()

    async def look() -> int:
        return await sync_to_async(lambda: len(connection.atomic_blocks))()

    depth = len(connection.atomic_blocks)
    assert run(begin, look) == [None, depth]
    assert "has left a transaction open, which was rolled back" in caplog.text


def test_tasks_that_a_job_leaves_are_cancelled_before_the_next(run, caplog):
    ends: list[str] = []

    async def linger() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ends.append("cancelled")

    async def leave() -> None:
        leave.task = asyncio.create_task(linger())
        await asyncio.sleep(0)

    async def look() -> list[str]:
        return [*ends]

    assert run(leave, look) == [None, ["cancelled"]]
    assert "has left 1 tasks running, which were cancelled: " in caplog.text
    assert "linger" in caplog.text


def test_a_task_that_fails_when_it_is_cancelled_is_reported(run, caplog):
    async def fail() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise ValueError("in the end")

    async def leave() -> None:
        leave.task = asyncio.create_task(fail())
        await asyncio.sleep(0)

    assert run(leave, running_loop)[0] is None
    assert "a task that its job has left failed" in caplog.text
    assert "ValueError: in the end" in caplog.text


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit()])
def test_a_task_that_wants_to_exit_ends_its_job_only(run, error):
    async def leave() -> None:
        raise error

    async def outer() -> None:
        await asyncio.create_task(leave())

    assert run(leave, outer, thread)[:2] == [error, error]


def test_threads_of_a_job_are_waited_for_and_not_used_again(run):
    done: list[int] = []

    async def work() -> int:
        asyncio.get_running_loop().run_in_executor(None, lambda: (time.sleep(0.1), done.append(1)))
        return await asyncio.to_thread(threading.get_ident)

    async def look() -> tuple[int, int]:
        return len(done), await asyncio.to_thread(threading.get_ident)

    first, (number, second) = run(work, look)
    assert number == 1, "the thread ended with its job"
    assert first != second


def test_async_to_sync_in_a_sync_part_uses_the_loop_of_the_job(run):
    async def outer() -> bool:
        loop = asyncio.get_running_loop()
        return loop is await sync_to_async(lambda: async_to_sync(running_loop)())()

    assert run(outer, outer) == [True, True]


def test_code_outside_of_a_job_does_not_use_its_loop(run):
    loops: list[object] = []

    def receive(sender, **named) -> None:
        loops.append(async_to_sync(running_loop)())

    job_finished.connect(receive)
    try:
        [loop] = run(running_loop)
    finally:
        job_finished.disconnect(receive)
    assert len(loops) == 1
    assert loop is not loops[0]


def test_the_time_limit_is_exact(run):
    class Observer(WorkerObserver):
        def time_limit(self, timeout):
            return 0.05

    async def linger() -> None:
        await asyncio.sleep(3600)

    error, _ = run(linger, running_loop, observer=Observer())

    assert isinstance(error, JobTimeLimitExceeded)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_does_not_use_the_loop_of_its_parent(run):
    async def fork() -> int:
        def child() -> int:
            pid = os.fork()
            if not pid:
                ok = async_to_sync(running_loop)() is not None
                os._exit(0 if ok else 1)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

        return await sync_to_async(child)()

    if sys.version_info >= (3, 12):
        pytest.skip("a fork of a process with threads is a warning there")
    assert run(fork) == [0]
