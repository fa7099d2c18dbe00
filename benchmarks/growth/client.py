"""The client; each method returns the seconds of processor time that it has taken."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import django

django.setup()

from benchmarks.gearman_jobs import doze, echo, echo_bytes, nap  # noqa: E402
from django_gearman import GearmanClient, JobRequest  # noqa: E402
from django_gearman.client.batch import JobBatch  # noqa: E402

_BULK = 1000  # jobs that are submitted together


def cpu_of(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


class Client:
    """The client of all measurements."""

    _last: list[JobRequest[str]]  # of each batch

    def one_by_one(self, size: int, count: int) -> float:
        payload = "x" * size
        echo.do(payload)
        return cpu_of(lambda: [echo.do(payload) for _ in range(count)])

    def bytes_one_by_one(self, size: int, count: int) -> float:
        payload = b"x" * size
        echo_bytes.do(payload)
        return cpu_of(lambda: [echo_bytes.do(payload) for _ in range(count)])

    def in_bulk(self, size: int, count: int) -> float:
        """Queue jobs in the background, and wait until they have run."""
        client, used = GearmanClient(), self._queue(size, count)
        for last in self._last:
            while client.get_job_status(last).status.known:
                time.sleep(0.02)
        return used

    def waiting(self, coroutines: int, count: int) -> float:
        """Queue jobs of 50 ms, in threads or as coroutines, and wait until they have run."""
        client, job = GearmanClient(), doze if coroutines else nap
        started = time.process_time()
        last = job.enqueue_many(["x"] * count)[-1]
        used = time.process_time() - started
        while client.get_job_status(last).status.known:
            time.sleep(0.1)
        return used

    def fill(self, size: int, count: int) -> float:
        """Queue jobs that nobody runs."""
        return self._queue(size, count)

    def fill_later(self, size: int, count: int) -> float:
        """Queue jobs that are due in two hours."""
        return self._queue(size, count, datetime.timedelta(hours=2))

    def _queue(self, size: int, count: int, after: datetime.timedelta | None = None) -> float:
        job = echo if after is None else echo.using(run_after=after)
        batches = [["x" * size] * min(_BULK, count - start) for start in range(0, count, _BULK)]
        queued: list[JobBatch[str]] = []
        used = cpu_of(lambda: queued.extend(job.enqueue_many(batch) for batch in batches))
        self._last = [batch[-1] for batch in queued]
        return used

    def in_threads(self, threads: int, count: int) -> float:
        """Call jobs in a number of threads at once."""
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(echo.do, ["x"] * threads * 2))  # each thread has its connection
            return cpu_of(lambda: list(pool.map(echo.do, ["x"] * count)))

    def in_tasks(self, tasks: int, count: int) -> float:
        """Call jobs in a number of tasks of one event loop at once."""

        async def call(number: int) -> None:
            for _ in range(number):
                await echo.ado("x")

        async def all_at_once() -> float:
            await call(5)
            started = time.process_time()
            await asyncio.gather(*(call(count // tasks) for _ in range(tasks)))
            return time.process_time() - started

        return asyncio.run(all_at_once())

    def map(self, count: int) -> float:
        """Wait for many results at once."""
        return cpu_of(lambda: echo.map(["x"] * count))
