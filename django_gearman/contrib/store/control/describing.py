"""The description of this process's supervisor, from the scoreboards of its processes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import django

from .... import conf
from ....jobs.definition import JobDefinition
from ....jobs.functions import job_functions
from ....jobs.identity import attempt_of_unique, id_of, identity_of
from ....protocol.messages import AssignedJob
from ....serializers.pickle import PickleSerializer
from ....supervisor import Cell, Stage
from ....supervisor.overview import Seen
from ....utils.release import VERSION
from ....worker import attendant
from ....worker.process import decode_task
from ..counters import gearman_store_errors_total
from .messages import host_name
from .values import ProcessInfo, RunningJob, SupervisorInfo

_ENDING = (Stage.LEAVING, Stage.DONE)


def describe(pid: int, seen: Sequence[Seen]) -> SupervisorInfo:
    """Describe the supervisor with this process id, and these processes."""
    host, shared = host_name(), gearman_store_errors_total.shared
    functions = job_functions()
    return SupervisorInfo(
        name=f"{host}:{pid}",
        host=host,
        pid=pid,
        queues=attendant.command.queues,
        release=f"django-gearman {VERSION}, Django {django.get_version()}, {os.getcwd()}",
        uptime=time.monotonic() - attendant.command.began,
        memory=memory_of(pid),
        processes=tuple(_process(each, functions) for each in seen if each.is_worker),
        store_errors=None if shared is None else shared.read(),
    )


def _process(seen: Seen, functions: dict[str, JobDefinition]) -> ProcessInfo:
    board = seen.scoreboard
    jobs = _jobs(seen, functions)
    stage, tally = board.stage, board.tally
    if stage in _ENDING or board.is_ending:
        state = "leaving"
    elif stage is Stage.STARTING:
        state = "starting"
    else:
        state = "running" if jobs else "idle"
    return ProcessInfo(
        seen.pid, seen.name, state, memory_of(seen.pid), jobs, tally.done, tally.failed
    )


def _jobs(seen: Seen, functions: dict[str, JobDefinition]) -> tuple[RunningJob, ...]:
    now = time.monotonic()
    jobs = (_job(cell, functions, now) for cell in seen.scoreboard.running())
    return tuple(job for job in jobs if job is not None)


def _job(cell: Cell, functions: dict[str, JobDefinition], now: float) -> RunningJob | None:
    try:
        assigned, has_workload = decode_task(cell.task)
    except ValueError:  # the process was writing the next one
        return None
    job = functions.get(assigned.function)
    job_id, name = _identify(assigned, has_workload, job)
    queue = "" if job is None else job.queue
    seconds = max(0.0, now - cell.began_at) if cell.began_at else 0.0  # of an older release
    return RunningJob(job_id, name, queue, assigned.function, assigned.handle, seconds)


def identify(task: bytes, functions: Mapping[str, JobDefinition]) -> tuple[str, str]:
    """Return the id and the handle of the job of a task; "" for one that is unknown."""
    try:
        assigned, has_workload = decode_task(task)
    except ValueError:  # the process was writing the next one
        return "", ""
    return _identify(assigned, has_workload, functions.get(assigned.function))[0], assigned.handle


def _identify(
    assigned: AssignedJob, has_workload: bool, job: JobDefinition | None
) -> tuple[str, str]:
    """
    Return the id and the name of a job; "" for an id that is unknown.

    Reading pickled arguments would run code of the project here.
    """
    name = assigned.function if job is None else job.name
    generated = id_of(assigned.function, assigned.unique)
    job_id = generated if assigned.unique.startswith(generated) else ""
    if job is None or not has_workload or (job_id and not job.varies):
        return job_id, name
    serializer = job.serializer_for(assigned.function, conf.serializer())
    if isinstance(serializer, PickleSerializer):
        return job_id, name
    with suppress(Exception):  # of the project's serializer; the worker reports it
        call = serializer.loads_call(assigned.workload)
        attempt = max(call.attempt, attempt_of_unique(assigned.unique))
        job_id = identity_of(assigned, attempt, call.context).id
        name = str(call.header.get("task", name)) if call.header else name
    return job_id, name


def memory_of(pid: int) -> float:
    """Return the resident memory of a process in MB; 0.0 if it has ended, or this is unknown."""
    with suppress(OSError, ValueError, IndexError):
        if sys.platform == "linux":
            with open(f"/proc/{pid}/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0
