"""Observers of a worker, for example its supervisor."""

from __future__ import annotations

from ..backends.base import AssignedJob, WorkerSession


class WorkerObserver:
    """An observer of a worker; this one does nothing."""

    #: True if another process ends the current job if the worker dies; then nothing is closed before.
    ends_jobs = False

    def registered(self, session: WorkerSession) -> None:
        """Note that the worker is about to request jobs."""

    def of_slot(self, number: int) -> WorkerObserver:
        """
        Return the observer of the jobs in a slot, from 0, of a worker with several jobs at a time.

        Its methods are called in the thread of the job.
        """
        return self

    def full(self) -> None:
        """Note that all slots of a worker with several ones are taken."""

    def idle(self) -> None:
        """Note that none of the slots is taken."""

    def serving(self) -> None:
        """Note that a server knows the worker, and that it looks for jobs."""

    def arriving(self, assigned: AssignedJob | None) -> None:
        """Note that a large job is about to be read; None when it is complete."""

    def time_limit(self, timeout: float | None) -> float | None:
        """
        Return the time limit in seconds of a job that declares this timeout; None is no limit.

        By default no job has a limit, because only the main thread of a process can set one.
        """
        return None

    def began(self, assigned: AssignedJob, seconds: float | None) -> None:
        """Note that a job with this time limit is about to run."""

    def limited(self, assigned: AssignedJob, seconds: float | None) -> None:
        """Note that the arguments of the job choose this time limit."""

    def returned(self) -> None:
        """Note that the job's function has ended, and that its outcome is about to be reported."""

    def resubmitted(self) -> None:
        """
        Note that the job's next attempt is queued, but the end of this one is not reported yet.
        """

    def reported(self, state: str) -> None:
        """Note that the outcome was sent to the server; `state` is that of `Ending`."""

    def lost(self, assigned: AssignedJob) -> None:
        """Note that the outcome could not be reported; raise if the job has caused that."""

    def ended(self) -> None:
        """Note that the job is no longer the current one."""

    def withheld(self) -> frozenset[str] | None:
        """Return the queues whose jobs the worker must leave alone; None if they are as before."""
        return None

    def is_over(self, count: int) -> bool:
        """Return True if the worker should exit after this number of jobs."""
        return False

    def leaving(self) -> None:
        """Note that the worker runs no more jobs, and is about to disconnect."""


NO_OBSERVER = WorkerObserver()
