"""
Orphans: jobs whose worker process has died.

gearmand gives the job of a closed connection to another worker, and tells nobody how often it did so. A
job that kills its process would kill one process after another. So the job has to end before its
connection closes. A worker process sends its parent a duplicate of each socket that it opens. The
connection then outlives the process: for gearmand, the dead worker still runs the job. The supervisor
knows from the scoreboard which job that is, and ends it over the duplicate. The job fails, or its next
attempt is submitted. To leave it to another worker, the supervisor hangs up without a report.

A process of its own does this. It runs code of the project (signal receivers, `backoff`), and reads the
workload that may have killed the worker. If it dies or hangs, the supervisor goes on.

Over TLS there is no duplicate: the keys died with the process. gearmand then gives the job to another
worker.
"""

from __future__ import annotations

import logging

from ..backends import get_backend
from ..backends.base import AssignedJob, WorkComplete, WorkFail
from ..backends.gearmand.orphan import OrphanSession, hang_up
from ..exceptions import BackendError, JobTimeLimitExceeded, WorkerDied
from ..jobs.definition import JobDefinition
from ..jobs.functions import functions_of
from ..jobs.identity import identity_of
from ..jobs.registry import registry
from ..protocol.names import server_of, server_of_lane
from ..serializers.failures import dump_error
from ..supervisor import Reported, WorkerExit
from ..utils.records import get_logger, log
from .execution import Run
from .failing import fail_unknown, report_failure
from .process import HARD_LIMIT_SECONDS, decode_task
from .reporting import log_ended, send_ended, tell_ended
from .runs import Ending

logger = get_logger("django_gearman.jobs")

#: How many processes a job may cost that does not declare its `retries`.
MOST_DEATHS = 3


def describe(task: bytes) -> str:
    """Say which job a task is."""
    try:
        assigned, _ = decode_task(task)
    except ValueError:  # the process was just writing down the next one
        return "a job"
    return f"job {assigned.function} ({assigned.handle})"


def end_orphan(death: WorkerExit) -> None:
    """Report on the job that a dead worker process had in hand, or leave it to another worker."""
    assigned, has_workload = decode_task(death.task)
    server = server_of(assigned.handle)
    # Which of the connections to the server has the job is not known; the others' word is nothing.
    opened = [each for name, each in death.sockets.items() if server_of_lane(name) == server]
    session = OrphanSession(opened)
    try:
        _end(assigned, has_workload, session if opened else None, death)
    except BackendError as error:
        log(logger, logging.WARNING, "job %s (%s): %s", assigned.function, assigned.handle, error)
    finally:
        hang_up(death.sockets.values())


def _end(
    assigned: AssignedJob, has_workload: bool, session: OrphanSession | None, death: WorkerExit
) -> None:
    if death.reported is Reported.ALL:
        if session is not None:
            session.close()  # what the process had sent is lost unless the server has taken it in
        return
    job = functions_of(registry.jobs()).get(assigned.function)
    is_last = job is None or is_last_run(job, assigned, has_workload, death)
    if session is None or not (is_last or death.reported is Reported.NEXT):
        told = "job %s (%s) is given to another worker: its process %s"
        log(logger, logging.WARNING, told, assigned.function, assigned.handle, death.how)
        return
    if not session.has(assigned):  # it died between sending the outcome and saying so
        session.close()
    elif death.reported is Reported.NEXT:
        session.send(assigned, WorkComplete(b""))
        session.close()
    elif job is None:
        fail_unknown(assigned, session)
        session.close()
    elif has_workload and may_run_again(job, assigned, death):
        run = Run(job, assigned, session, get_backend().submit)
        ending = fail_orphan(run, death)
        session.close()  # before anybody is told, who may end this process, too
        tell_ended(run, ending)
    else:
        # Nothing that the job brought is touched before the end is reported: to read its workload
        # may be what costs the processes.
        error = error_of(job, death)
        report_failure(assigned, session, dump_error(error, with_traceback=False))
        session.close()
        ending = Ending(WorkFail(), error)
        submit = get_backend().submit
        unread = Run(job, assigned._replace(workload=b""), session, submit)
        unread.identity = identity_of(assigned, 1, None)
        log_ended(unread, ending)
        send_ended(Run(job, assigned, session, submit) if has_workload else unread, ending)


def is_last_run(
    job: JobDefinition, assigned: AssignedJob, has_workload: bool, death: WorkerExit
) -> bool:
    """Whether this run was the last one under its handle."""
    if death.is_overdue:
        return True
    if job.retries is None:
        return death.times >= MOST_DEATHS
    # A background job is submitted anew for each attempt; others keep their handle.
    return death.times > job.retries or bool(assigned.background and has_workload)


def may_run_again(job: JobDefinition, assigned: AssignedJob, death: WorkerExit) -> bool:
    """
    Whether a next attempt may follow, as its workload tells.

    Not after several deaths under one handle: then this cannot be done, but ends the processes that
    try to. A job of another program that has cost processes has had its attempts under this handle.
    """
    may_be_background = death.is_overdue if assigned.background is None else assigned.background
    return job.retries is not None and may_be_background and death.times < MOST_DEATHS


def fail_orphan(run: Run, death: WorkerExit) -> Ending:
    """Report that a run has failed by the death of its process, or submit its next attempt."""
    run.was_called = run.was_called or death.is_overdue
    return run.report(run.failed(error_of(run.job, death), died=not death.is_overdue))


def error_of(job: JobDefinition, death: WorkerExit) -> Exception:
    """Return what has become of a job."""
    if death.is_overdue:
        return JobTimeLimitExceeded(
            f"job {job.name} did not end within {HARD_LIMIT_SECONDS:g} s after its timeout, and its "
            "process was killed"
        )
    count = f"; {death.times} processes have died of it" if death.times > 1 else ""
    return WorkerDied(f"job {job.name}: its worker process {death.how}{count}")
