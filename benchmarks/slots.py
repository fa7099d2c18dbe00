"""Cases of one worker process with several jobs at a time."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from .cases import MEGABYTES, MICROSECONDS, PER_SECOND, Measured
from .clients import Environment
from .processes import pss, tree
from .systems import Command, Stage, System

Worker = Callable[[Environment, int], Command]

#: The jobs of `benchmarks.ours.Client.fill`.
NOOP, NAP, DOZE = range(3)

_NAMES = {
    NOOP: "async no-op, {} slots",
    NAP: "50 ms in {} threads",
    DOZE: "50 ms in {} coroutines",
}
_TICKS = os.sysconf("SC_CLK_TCK")


def title(job: int, slots: int) -> str:
    return _NAMES[job].format(f"{slots:,}")


def slots(system: System, job: int, number: int, count: int) -> Measured:
    """
    Let one process run queued jobs, this number at a time.

    The first and the last job are marked when they begin, so the last ones at a time do not count.
    """
    worker = system.worker
    assert worker is not None
    with Stage(replace(system, worker=partial(_with_threads, worker, number))) as stage:
        stage.call("fill", job=job, count=count)
        program = stage.start_worker(wait=False)
        assert program is not None
        first, last = stage.marks(2, program)
        memory = sum(pss(each) for each in tree(program.pid)[1:])  # without the supervisor
        stage.server.wait_until_empty()
        yield title(job, number), PER_SECOND, (count - number) / (last - first)
        yield f"{title(job, number)}, CPU", MICROSECONDS, _cpu(program.pid) / count * 1e6
        yield f"{title(job, number)}, memory", MEGABYTES, memory


def _with_threads(worker: Worker, number: int, environment: Environment, processes: int) -> Command:
    return [*worker(environment, processes), "--threads", str(number)]


def _cpu(process: int) -> float:
    """Return the seconds of the processor that the workers have used, their start included."""
    total = 0
    for each in tree(process)[1:]:
        with open(f"/proc/{each}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS
