"""
The cases of the benchmark, on one system at a time.

A drain is measured by its jobs: the first and the last of the queue are marked, and a marked job
writes its time. So the start and the end of a system do not count, nor the way to ask for the
queue's length. The queue is filled before the worker starts; filling it is measured too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from .clients import Agent
from .marks import FILE
from .names import (
    DRAIN_BY_TWO,
    LATENCY,
    MANY,
    RELAY,
    TRANSACTION,
    TRANSACTION_WITH_JOB,
    WAKE_UPS,
    cpu,
)
from .processes import Program, busiest, pss, switches
from .servers import gearmand, postgresql
from .systems import PYTHON, Meter, Stage, System

#: A figure's title, its unit, and its value.
Measured = Iterator[tuple[str, str, float]]

#: The jobs of `benchmarks.ours.Client.fill`.
PLAIN, ASYNC, NAP, DOZE = range(4)

INSTRUCTIONS = "instructions"
MICROSECONDS, MILLISECONDS, SECONDS, PER_SECOND, MEGABYTES = "us", "ms", "s", "jobs/s", "MB"

_FOR_P99 = 100  # calls
_METERED = 100  # bytes: with larger payloads, the processor time is not measured


def size_name(size: int) -> str:
    return f"{size // 1000} KB" if size >= 1000 else f"{size} B"


def percentile(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def round_trip(system: System, size: int, count: int) -> Measured:
    """Call a job that returns its argument, one call after the other."""
    with Stage(system) as stage:
        stage.start_worker()
        yield from _calls(stage, size, count)


def _calls(stage: Stage, size: int, count: int) -> Measured:
    stage.call("round_trip", size=size, count=1)  # the imports and first calls are not metered
    meter = stage.meter()
    times = stage.call("round_trip", size=size, count=count)
    title = f"round trip, {size_name(size)}"
    yield f"{title}, p50", MICROSECONDS, statistics.median(times) * 1e6
    if count >= _FOR_P99:
        yield f"{title}, p99", MICROSECONDS, percentile(times, 0.99) * 1e6
    if size == _METERED:
        yield from _cpu(title, meter.used(count))


def _cpu(title: str, used: dict[str, float], *parts: str) -> Measured:
    """Yield the processor time of a job, by part: of these, or of all."""
    for part, microseconds in used.items():
        if not parts or part in parts:
            yield cpu(title, part), MICROSECONDS, microseconds


def background(system: System, size: int, singly: int, in_bulk: int) -> Measured:
    """Queue jobs that do nothing, one by one and then in bulk, and let one worker run them all."""
    with Stage(system) as stage:
        if system.worker is None:
            yield from _in_process(stage, size, singly, in_bulk)
        else:
            yield from _queue(stage, size, singly, in_bulk)


def peer(system: System, jobs: int, calls: int) -> Measured:
    """Measure a peer like `background` and `round_trip`, with one start of its worker."""
    with Stage(system) as stage:
        yield from _queue(stage, 100, jobs, 0)
        yield from _calls(stage, 100, calls)


def _queue(stage: Stage, size: int, singly: int, in_bulk: int) -> Measured:
    stage.call("mark")
    for method, title, count in (("submit", "submit", singly), ("bulk", "submit in bulk", in_bulk)):
        if count:
            yield from _submit(stage, method, f"{title}, {size_name(size)}", size, count)
    stage.call("mark")
    worker = stage.start_worker(wait=False)
    assert worker is not None
    stage.marks(1, worker)
    meter, jobs = stage.meter(), singly + in_bulk + 1
    first, last = stage.marks(2, worker)
    title = f"drain, {size_name(size)}"
    yield title, PER_SECOND, jobs / (last - first)
    stage.server.wait_until_empty()
    if size == _METERED:
        yield from _cpu(title, meter.used(jobs), "server", "worker")
        yield "start of a worker to its first job", SECONDS, first - worker.started_at
        yield "memory of a worker after its jobs", MEGABYTES, pss(worker.pid)


def _submit(stage: Stage, method: str, title: str, size: int, count: int) -> Measured:
    meter = stage.meter()
    seconds = stage.call(method, size=size, count=count)
    yield title, PER_SECOND, count / seconds
    if size == _METERED:
        yield from _cpu(title, meter.used(count), "client", "server")


def many(system: System, count: int) -> Measured:
    """Queue jobs with `enqueue_many`."""
    with Stage(system) as stage:
        stage.call("many", size=100, count=1)  # the imports and first calls are not metered
        yield from _submit(stage, "many", MANY, 100, count)


def drain_by_two(system: System, count: int) -> Measured:
    """Let two worker processes run jobs that do nothing."""
    with Stage(system) as stage:
        stage.call("fill", job=PLAIN, count=count)
        worker = stage.start_worker(2, wait=False)
        assert worker is not None
        first, last = stage.marks(2, worker)
        yield DRAIN_BY_TWO, PER_SECOND, count / (last - first)


def delayed(system: System, number: int, count: int) -> Measured:
    """Queue and run jobs, alone and beside a number of others that are due in two hours."""
    for title, later in (("alone", 0), (f"beside {number:,} delayed", number)):
        with Stage(system) as stage:
            stage.call("later", count=later)
            worker = stage.start_worker()
            assert worker is not None
            started = time.monotonic()
            stage.call("fill", job=PLAIN, count=count)
            _, last = stage.marks(2, worker)
            yield f"{count:,} jobs {title}", SECONDS, last - started


def idle(system: System, seconds: int) -> Measured:
    """Count how often an idle worker process wakes up."""
    with Stage(system) as stage:
        worker = stage.start_worker()
        assert worker is not None
        stage.call("round_trip", size=100, count=10)
        time.sleep(2)  # until it has become idle
        process = busiest(worker.pid)
        before, meter = switches(process), Meter({"worker": process})
        time.sleep(seconds)
        yield WAKE_UPS, "/s", (switches(process) - before) / seconds
        yield "idle worker, CPU of a second", MICROSECONDS, meter.used(seconds)["worker"]


def drain(system: System, size: int, count: int) -> Measured:
    """Measure the worker's part of `background`."""
    for title, unit, value in background(system, size, 1, count - 1):
        if title.startswith("drain"):
            yield title, unit, value


def _in_process(stage: Stage, size: int, singly: int, in_bulk: int) -> Measured:
    seconds = stage.call("submit", size=size, count=singly)
    yield f"submit, {size_name(size)}", PER_SECOND, singly / seconds
    seconds = stage.call("bulk", size=size, count=in_bulk)
    yield f"submit in bulk, {size_name(size)}", PER_SECOND, in_bulk / seconds
    seconds = stage.call("drain")
    yield f"drain, {size_name(size)}", PER_SECOND, (singly + in_bulk) / seconds


def map_calls(system: System, count: int) -> Measured:
    """Call a job on two workers: one call after the other, and many in parallel."""
    with Stage(system) as stage:
        stage.start_worker(2)
        times = stage.call("round_trip", size=100, count=count)
        yield "two workers, one by one", PER_SECOND, count / sum(times)
        for items in (50, 1000):
            seconds = stage.call("map", size=100, count=items)
            yield f"two workers, map of {items:,}", PER_SECOND, items / seconds


def awaited(system: System, count: int) -> Measured:
    """Await jobs of 50 ms at once on one event loop, with a worker that holds them all."""
    with Stage(system) as stage:
        stage.start_holder(count)
        seconds, used = stage.call("awaited", count=count)
        title = f"await {count:,} jobs of 50 ms at once"
        yield title, PER_SECOND, count / seconds
        yield cpu(title), MICROSECONDS, used / count * 1e6


def worker_memory(system: System, calls: int) -> Measured:
    """Measure the memory of one worker process and of five, with their parent, after some jobs."""
    for processes in (1, 5):
        with Stage(system) as stage:
            worker = stage.start_worker(processes)
            assert worker is not None
            stage.call("map", size=100, count=calls * processes)
            noun = "worker" if processes == 1 else "workers"
            yield f"memory of {processes} {noun}", MEGABYTES, pss(worker.pid)


def queued(system: System, count: int) -> Measured:
    """Queue many jobs of 100 B, and measure the growth of the process that holds them."""
    with Stage(system) as stage:
        real = system.worker is not None
        before = stage.server.memory() if real else 0.0
        seconds, grown = stage.call("queue", count=count)
        if real:
            grown = stage.server.memory() - before
        yield f"queue {count:,} jobs, time", SECONDS, seconds
        yield f"queue {count:,} jobs, growth", MEGABYTES, grown


def outbox(rows: int) -> Measured:
    """Measure the outbox on a PostgreSQL that writes each commit to the disk."""
    with postgresql() as database, gearmand() as server, TemporaryDirectory() as directory:
        environment = {
            **database.environment,
            **server.environment,
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            FILE: str(Path(directory) / "marks"),
        }
        with Agent(PYTHON, "benchmarks.outbox:Client", environment) as client:
            times = client.call("transactions")
            yield TRANSACTION, MILLISECONDS, times["alone"]
            yield TRANSACTION_WITH_JOB, MILLISECONDS, times["outbox"]
            yield RELAY, PER_SECOND, client.call("relay", rows=rows)
            with Program([PYTHON, "-m", "django", "gearman_worker"], environment=environment):
                yield LATENCY, MILLISECONDS, statistics.median(client.call("latencies", count=200))
