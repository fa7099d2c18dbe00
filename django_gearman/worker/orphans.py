"""
Orphans: jobs whose worker process has died.

gearmand gives the job of a closed connection to another worker, and does not report how often it did so.
A job that kills its process would kill one process after another. So the job has to end before its
connection closes. A worker process sends its parent a duplicate of each socket that it opens. The
connection then outlives the process: for gearmand, the dead worker still runs the job. The supervisor
knows from the scoreboard which job that is, and ends it over the duplicate. The job fails, or its next
attempt is submitted. To leave it to another worker, the supervisor hangs up without a report.

A separate process does this. It runs code of the project (signal receivers, `backoff`), and reads the
workload that may have killed the worker. If it dies or hangs, the supervisor continues.

Over TLS there is no duplicate: the keys died with the process. gearmand then gives the job to another
worker.
"""

from __future__ import annotations

import logging

from ..backends import get_backend
from ..backends.base import AssignedJob, WorkComplete, WorkFail
from ..backends.gearmand.orphan import OrphanSession, hang_up
from ..exceptions import BackendError, JobTimeLimitExceeded, WorkerDied
from ..jobs import counting, keeping
from ..jobs.definition import JobDefinition
from ..jobs.functions import functions_of
from ..jobs.identity import identity_of
from ..jobs.registry import registry
from ..protocol.names import server_of, server_of_lane
from ..serializers.failures import dump_error
from ..supervisor import Reported, WorkerExit
from ..utils.records import get_logger, log
from .execution import Run
from .process import ENDED, HARD_LIMIT_SECONDS, decode_task
from .reporting import fail_unknown, log_failed, report_unread, signal_failed, tell_failed
from .runs import Ending

logger = get_logger("django_gearman.jobs")

#: The most processes that a job without `retries` may crash.
MOST_DEATHS = 3


def describe(task: bytes) -> str:
    """Describe the job of a task."""
    try:
        assigned, _ = decode_task(task)
    except ValueError:  # the process was writing the next task
        return "a job"
    return f"job {assigned.function} ({assigned.handle})"


def end_orphan(death: WorkerExit) -> None:
    """Report on the current job of a dead worker process, or leave it to another worker."""
    assigned, has_workload = decode_task(death.task)
    server = server_of(assigned.handle)
    # It is unknown which connection to the server has the job; the others report nothing.
    opened = [each for name, each in death.sockets.items() if server_of_lane(name) == server]
    session = OrphanSession(opened, hangs_up=death.is_last)
    try:
        _end(assigned, has_workload, session if opened else None, death)
    except BackendError as error:
        log(logger, logging.WARNING, "job %s (%s): %s", assigned.function, assigned.handle, error)
    finally:
        if death.is_last:  # otherwise the server would give away the others of the process
            hang_up(death.sockets.values())


def _end(
    assigned: AssignedJob, has_workload: bool, session: OrphanSession | None, death: WorkerExit
) -> None:
    if death.reported is Reported.ALL:
        if session is not None:
            session.close()  # sent data is lost unless the server has read it
        return
    job = declared = functions_of(registry.jobs()).get(assigned.function)
    if declared is not None and declared.varies and has_workload and death.times < MOST_DEATHS:
        job = Run(declared, assigned, session or OrphanSession([]), get_backend().submit).job
    is_last = job is None or is_last_run(job, assigned, has_workload, death)
    if session is None or not (is_last or death.reported is Reported.NEXT):
        message = "job %s (%s) is given to another worker: its process %s"
        log(logger, logging.WARNING, message, assigned.function, assigned.handle, death.how)
        return
    if not session.has(assigned):  # it died between sending the outcome and recording that
        session.close()
    elif death.reported is Reported.NEXT:
        session.send(assigned, WorkComplete(b""))
        _count(job, "retried", death)
        session.close()
    elif job is None or declared is None:
        fail_unknown(assigned, session)  # counts it, too
        death.count(ENDED["failed"])
        session.close()
    elif has_workload and may_run_again(job, assigned, death):
        run = Run(declared, assigned, session, get_backend().submit)
        ending = fail_orphan(run, death)
        death.count(ENDED[ending.state])
        session.close()  # before receivers and log handlers, which may end this process too
        if ending.exception is not None:
            tell_failed(run, ending)
    else:
        # Report the end before reading the workload: reading it may be what kills the processes.
        error = error_of(job, death)
        kept = assigned if has_workload else assigned._replace(workload=b"")
        reason = dump_error(error, with_traceback=False)
        ending = report_unread(kept, session, job, error, reason) or Ending(WorkFail(), error)
        _count(job, ending.state, death)
        session.close()
        submit = get_backend().submit
        unread = Run(declared, assigned._replace(workload=b""), session, submit)
        unread.identity = identity_of(assigned, 1, None)
        log_failed(unread, ending)
        signal_failed(Run(declared, assigned, session, submit) if has_workload else unread, ending)


def is_last_run(
    job: JobDefinition, assigned: AssignedJob, has_workload: bool, death: WorkerExit
) -> bool:
    """Return True if this run was the last one with its handle."""
    if death.is_overdue:
        return True
    if job.retries is None:
        return death.times >= MOST_DEATHS
    # Each attempt of a background job is a new submission; other jobs keep their handle.
    return death.times > job.retries or bool(assigned.background and has_workload)


def may_run_again(job: JobDefinition, assigned: AssignedJob, death: WorkerExit) -> bool:
    """
    Return True if a next attempt may follow, according to the workload.

    After several crashes with one handle it may not: reading the workload would kill the reporting
    processes. The crashes of a job of another program all have the same handle.
    """
    may_be_background = death.is_overdue if assigned.background is None else assigned.background
    return job.retries is not None and may_be_background and death.times < MOST_DEATHS


def fail_orphan(run: Run, death: WorkerExit) -> Ending:
    """Report that a run has failed because its process died, or submit its next attempt."""
    run.was_called = run.was_called or death.is_overdue
    if keeping.keeper is not None and (known := keeping.keeper.ending_of(run)) is not None:
        run.answer(known)
        ended: Ending = known
        return ended
    ended = run.report(run.failed(error_of(run.job, death), died=not death.is_overdue))
    if counting.counter is not None:
        counting.counter.ended_unseen(run.job, ended.state)
    return ended


def _count(job: JobDefinition | None, state: str, death: WorkerExit) -> None:
    death.count(ENDED[state])
    if counting.counter is not None:
        counting.counter.ended_unseen(job, state)


def error_of(job: JobDefinition, death: WorkerExit) -> Exception:
    """Return the error of the job."""
    if death.is_overdue:
        return JobTimeLimitExceeded(
            f"job {job.name} did not end within {HARD_LIMIT_SECONDS:g} s after its timeout, and its "
            "process was killed"
        )
    count = f"; it has killed {death.times} processes" if death.times > 1 else ""
    return WorkerDied(f"job {job.name}: its worker process {death.how}{count}")
