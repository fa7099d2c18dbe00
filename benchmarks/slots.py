"""
Cases of one worker process with several jobs at a time.

The first and the last job of the queue are marked, at their beginning and at their end. So a rate is
of all jobs, from the beginning of the first to the end of the last one: start-up does not count. The
processor time is that of the worker from the first mark on, its supervisor included.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

from .cases import ASYNC, DOZE, MEGABYTES, MICROSECONDS, NAP, PER_SECOND, Measured
from .clients import Environment
from .names import cpu
from .processes import busiest, peak_rss, pss
from .systems import Command, Stage, System, Worker

_NAMES = {
    ASYNC: "async no-op, {} slots",
    NAP: "50 ms in {} threads",
    DOZE: "50 ms in {} coroutines",
}
_LAST_OUTCOMES = 0.2  # seconds in which a worker reports them


def title(job: int, slots: int) -> str:
    return _NAMES[job].format(f"{slots:,}")


def with_slots(system: System, number: int) -> System:
    """Return one of our systems with a worker process that runs a number of jobs at a time."""
    assert system.worker is not None
    return replace(system, worker=partial(_with_threads, system.worker, number))


def _with_threads(worker: Worker, number: int, environment: Environment, processes: int) -> Command:
    return [*worker(environment, processes), "--threads", str(number)]


def slots(system: System, job: int, number: int, count: int) -> Measured:
    """Let one process run queued jobs, this number at a time."""
    with Stage(system) as stage:
        stage.call("fill", job=job, count=count)
        program = stage.start_worker(wait=False)
        assert program is not None
        stage.marks(1, program)
        meter = stage.meter()
        times = stage.marks(2 if job == ASYNC else 4, program)
        stage.server.wait_until_empty()
        time.sleep(_LAST_OUTCOMES)
        name = title(job, number)
        yield name, PER_SECOND, count / (max(times) - min(times))
        yield cpu(name), MICROSECONDS, meter.used(count)["worker"]
        process = busiest(program.pid)
        yield f"{name}, memory", MEGABYTES, pss(program.pid)
        yield f"{name}, memory of the process", MEGABYTES, pss(process)
        yield f"{name}, peak RSS", MEGABYTES, peak_rss(process)
