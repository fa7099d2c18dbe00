"""Calls of async code wait in separate threads."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from django_gearman import GearmanWorker
from django_gearman.backends import close_backends, get_backend
from django_gearman.backends.base import WorkComplete
from django_gearman.client import threads
from django_gearman.exceptions import JobRaised, JobTimeout
from tests.app import gearman_jobs as jobs
from tests.support.gearmand import wait_until

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 60.0  # seconds until a test gives up
pytestmark = pytest.mark.usefixtures("memory", "production", "own_waiters")


@pytest.fixture
def own_waiters(monkeypatch) -> Iterator[threads.Waiters]:
    ours = threads.Waiters()
    monkeypatch.setattr(threads, "_waiters", ours)
    monkeypatch.setattr(threads, "_IDLE_SECONDS", 0.1)
    yield ours
    wait_until(lambda: not waiting_threads(), "the threads end")


@pytest.fixture
def workers() -> Iterator[None]:
    """Run 20 workers in threads."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            GearmanWorker(clean_connections=False).work(burst=True)
            stop.wait(0.01)

    with ThreadPoolExecutor(20) as threads:
        for _ in range(20):
            threads.submit(work)
        yield
        stop.set()


@pytest.fixture
def slow_workers() -> Iterator[threading.Barrier]:
    """Run 20 workers; each ends its job when all have one, and the test passes the barrier too."""

    def work() -> None:
        session = get_backend().register(["tests.app.echo"])
        job = session.grab_job(PATIENCE)
        barrier.wait(PATIENCE)
        session.send(job, WorkComplete(b'"echoed"'))

    barrier = threading.Barrier(21)
    with ThreadPoolExecutor(20) as threads:
        for _ in range(20):
            threads.submit(work)
        yield barrier


def waiting_threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("gearman-wait-")]


def test_many_calls_wait_at_once_and_leave_the_loops_threads_alone(slow_workers):
    async def call_all() -> list[object]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        calls = [asyncio.create_task(jobs.echo.ado(n)) for n in range(20)]
        while slow_workers.n_waiting < 20:  # all of them are waited for at once
            await asyncio.sleep(0.01)
        await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80)  # waits for no job
        slow_workers.wait(PATIENCE)
        return await asyncio.gather(*calls)

    assert asyncio.run(asyncio.wait_for(call_all(), PATIENCE)) == ["echoed"] * 20


def test_the_threads_are_named_and_bounded_and_end(own_waiters):
    own_waiters._most = 3

    async def call_all() -> list[object]:
        calls = [jobs.add.using(wait=2).ado(n) for n in range(10)]
        results = asyncio.gather(*calls, return_exceptions=True)
        while not results.done():
            names.update(waiting_threads())
            await asyncio.sleep(0.01)
        return await results

    names: set[str] = set()
    started = time.monotonic()
    results = asyncio.run(call_all())

    assert sorted(names) == ["gearman-wait-1", "gearman-wait-2", "gearman-wait-3"]
    assert {type(result) for result in results} == {JobTimeout}
    assert time.monotonic() - started < 7, "the time was not counted from the call"


def test_a_call_that_finds_no_thread_in_its_time_is_reported(own_waiters):
    own_waiters._most = 1

    async def call_both() -> None:
        other = asyncio.create_task(jobs.add.ado(1))
        await asyncio.sleep(0)
        with pytest.raises(JobTimeout, match=r"tests\.app\.add was not submitted within 0\.2 s"):
            await jobs.add.using(wait=0.2).ado(2)
        with pytest.raises(JobTimeout, match="was not submitted"):
            await jobs.add.amap([1, 2], timeout=0.2)
        other.cancel()

    asyncio.run(call_both())


def test_a_cancelled_call_frees_its_thread(own_waiters):
    own_waiters._most = 1

    async def call_all() -> None:
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(jobs.add.ado(1), 0.1)
        with pytest.raises(JobTimeout, match="has not finished"):
            await jobs.add.using(wait=3).ado(2)

    asyncio.run(call_all())


def test_several_loops_share_the_threads(workers):
    def loop(number: int) -> list[int]:
        return asyncio.run(jobs.add.amap([number, number + 1]))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(loop, range(8))) == [[n + 10, n + 11] for n in range(8)]


def test_an_exception_of_a_job_is_raised_by_its_await(workers):
    with pytest.raises(JobRaised):
        asyncio.run(jobs.fail.ado("no"))


def test_a_forked_child_has_threads_of_its_own(workers):
    assert asyncio.run(jobs.add.ado(1)) == 11

    if (child := os.fork()) == 0:
        status = 1
        try:
            close_backends()
            asyncio.run(jobs.add.using(wait=0.2).ado(1))
        except JobTimeout:  # the workers are the parent's
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_nothing_hangs_at_the_end_of_a_process():
    script = """
        import asyncio, os
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        import django
        django.setup()
        from django.conf import settings
        settings.GEARMAN_BACKEND = "memory"
        from tests.app import gearman_jobs as jobs
        async def leave():
            asyncio.create_task(jobs.add.ado(1))
            await asyncio.sleep(0.2)
        asyncio.run(leave())
        print("left", flush=True)
    """
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (run.returncode, run.stdout.strip(), run.stderr) == (0, "left", "")


def test_no_finished_call_is_kept(workers, own_waiters):
    async def call() -> None:
        await jobs.echo.ado("x")

    asyncio.run(call())
    gc.collect()

    assert not own_waiters._calls
