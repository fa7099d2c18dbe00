"""
The cost of metrics: the CPU time of a job, submitted and run in this process, with and without them,
and the time of a page after many processes have come and gone.

The kinds come in turns, so that a slow period of the machine meets both.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import timeit

import django

django.setup()

from prometheus_client import CollectorRegistry, generate_latest  # noqa: E402
from prometheus_client.registry import Collector  # noqa: E402

from benchmarks.gearman_jobs import echo  # noqa: E402
from django_gearman.contrib.metrics.counting import RunCounter  # noqa: E402
from django_gearman.contrib.metrics.files import file_metrics  # noqa: E402
from django_gearman.contrib.metrics.values import begin_process, share_values  # noqa: E402
from django_gearman.jobs import counting  # noqa: E402

TURNS, JOBS = 20, 500
PROCESSES, NUMBERS, SCRAPES = 1000, 8, 20
_LOOKS = 4  # at the counter, for each job


class _Files(Collector):
    def __init__(self, directory: str) -> None:
        self._directory = directory

    def collect(self) -> list:  # type: ignore[type-arg]
        return file_metrics(self._directory, None, [])


class Client:
    """A process that counts jobs as the processes of `gearman_worker --metrics` do."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        share_values(self._directory.name)
        self._counter = RunCounter(self._directory.name)
        begin_process(1, self._directory.name)

    def costs(self) -> dict[str, float]:
        """Return the microseconds of CPU time that a job takes without and with metrics."""
        times: dict[str, list[float]] = {"off": [], "on": []}
        for turn in range(TURNS + 1):
            for kind, found in times.items():
                counting.install_counter(self._counter if kind == "on" else None)
                echo.do_background("x")  # makes the time series
                began = time.process_time()
                for _ in range(JOBS):
                    echo.do_background("x")
                if turn:  # the first one warms up
                    found.append((time.process_time() - began) / JOBS * 1e6)
        counting.install_counter(None)
        looks = timeit.timeit("counting.counter is not None", globals=globals(), number=100_000)
        costs = {kind: statistics.median(found) for kind, found in times.items()}
        return {**costs, "look": looks / 100_000 * _LOOKS * 1e6}

    def scrape(self) -> float:
        """Return the milliseconds of a page after a thousand processes, eight at a time."""
        counting.install_counter(self._counter)
        for first in range(0, PROCESSES, NUMBERS):
            children = [self._fork(number + 1) for number in range(min(NUMBERS, PROCESSES - first))]
            for child in children:
                if os.waitpid(child, 0)[1]:
                    raise RuntimeError("a process that counts has failed")
        counting.install_counter(None)
        registry = CollectorRegistry()
        registry.register(_Files(self._directory.name))
        times = []
        for _ in range(SCRAPES):
            began = time.perf_counter()
            generate_latest(registry)
            times.append(time.perf_counter() - began)
        return statistics.median(times) * 1000

    def _fork(self, number: int) -> int:
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            begin_process(number, self._directory.name)
            for _ in range(10):
                echo.do_background("x")
            code = 0
        finally:
            os._exit(code)
