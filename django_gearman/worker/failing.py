"""Reports of failed jobs to the job server."""

from __future__ import annotations

from .. import conf
from ..backends.base import AssignedJob, WorkerSession, WorkFail, WorkWarning
from ..exceptions import JobNotRegistered
from ..serializers.failures import dump_error
from .reporting import tell_unknown


def fail_unknown(assigned: AssignedJob, session: WorkerSession) -> None:
    """Fail a job of a function that this process does not know, instead of keeping it forever."""
    error = JobNotRegistered(f"no job is declared for the function {assigned.function!r}")
    shows = conf.sends_traceback(to_own_client=False)
    report_failure(assigned, session, dump_error(error, with_traceback=shows))
    tell_unknown(assigned, error)


def report_failure(assigned: AssignedJob, session: WorkerSession, reason: bytes) -> None:
    """Send the error and the failure of a job to the clients that wait for it."""
    session.send(assigned, WorkWarning(reason))
    session.send(assigned, WorkFail())
