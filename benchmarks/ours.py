"""The client of this library, through the public API only; GEARMAN_BACKEND sets the backend."""

from __future__ import annotations

import asyncio
import datetime
import threading
import time

import django

django.setup()

from django.apps import apps  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402

from benchmarks.agent import batches, seconds, timed  # noqa: E402
from benchmarks.gearman_jobs import async_noop, doze, echo, nap, noop  # noqa: E402
from benchmarks.marks import MARK  # noqa: E402
from django_gearman import GearmanClient, GearmanWorker  # noqa: E402

WARM_UP = 50


class Client:
    def __init__(self) -> None:
        self._client = GearmanClient()
        self._serving: GearmanWorker | None = None
        if apps.is_installed("django_gearman.contrib.store"):
            call_command("migrate", verbosity=0)

    def _serve(self) -> None:
        """Run the jobs of the memory backend, in a thread of this process."""
        if settings.GEARMAN_BACKEND == "memory" and self._serving is None:
            self._serving = GearmanWorker()
            threading.Thread(target=self._serving.work, daemon=True).start()

    def mark(self) -> None:
        noop.do_background(MARK)

    def round_trip(self, size: int, count: int) -> list[float]:
        self._serve()
        payload = "x" * size
        timed(lambda: echo.do(payload), WARM_UP)
        return timed(lambda: echo.do(payload), count)

    def map(self, size: int, count: int) -> float:
        self._serve()
        payloads = ["x" * size] * count
        echo.map(payloads[:WARM_UP])
        return seconds(lambda: echo.map(payloads))

    def awaited(self, count: int) -> tuple[float, float]:
        """Await jobs at once in one event loop; return the seconds, and those of the processor."""

        async def all_at_once() -> tuple[float, float]:
            await asyncio.gather(*(echo.ado("x") for _ in range(WARM_UP)))
            started, cpu = time.perf_counter(), time.process_time()
            await asyncio.gather(*(echo.ado("x") for _ in range(count)))
            return time.perf_counter() - started, time.process_time() - cpu

        return asyncio.run(all_at_once())

    def submit(self, size: int, count: int) -> float:
        payload = "x" * size
        return sum(timed(lambda: noop.do_background(payload), count))

    def bulk(self, size: int, count: int) -> float:
        payload = "x" * size
        started = time.perf_counter()
        for batch in batches(count):
            self._client.submit_multiple_jobs(
                [{"task": noop, "data": payload} for _ in range(batch)], background=True
            )
        return time.perf_counter() - started

    def many(self, size: int, count: int) -> float:
        payloads = ["x" * size] * count
        started = time.perf_counter()
        for batch in batches(count):
            noop.enqueue_many(payloads[:batch])
        return time.perf_counter() - started

    def later(self, count: int) -> None:
        """Queue jobs that are due in two hours."""
        for batch in batches(count):
            noop.using(run_after=datetime.timedelta(hours=2)).enqueue_many(["x"] * batch)

    def fill(self, job: int, count: int) -> None:
        """Queue one of the jobs PLAIN, ASYNC, NAP and DOZE; the first and the last are marked."""
        chosen = (noop, async_noop, nap, doze)[job]
        chosen.enqueue_many([MARK, *["x"] * (count - 2), MARK])

    def drain(self) -> float:
        """Run queued jobs in this process, if the backend has them here."""
        return seconds(lambda: GearmanWorker().work(burst=True))

    def queue(self, count: int) -> tuple[float, float]:
        """Queue jobs of 100 B; return the seconds, and the growth of this process in MB."""
        before = resident()
        return self.bulk(100, count), resident() - before


def resident() -> float:
    with open("/proc/self/status") as status:
        [line] = [line for line in status if line.startswith("VmRSS:")]
    return int(line.split()[1]) / 1024
