"""What somebody may want to know of a worker while it works: its parent process, say."""

from __future__ import annotations

from ..backends.base import AssignedJob, WorkerSession


class Watch:
    """Watches a worker; this one does not care."""

    #: Whether the job in hand is ended by somebody else, should the worker die: then nothing is to be
    #: closed before.
    ends_jobs = False

    def registered(self, session: WorkerSession) -> None:
        """Note that the worker is about to ask for jobs."""

    def serving(self) -> None:
        """Note that a server knows the worker, and that it looks for jobs."""

    def arriving(self, assigned: AssignedJob | None) -> None:
        """Note which large job is about to be read, None when it has been."""

    def began(self, assigned: AssignedJob, timeout: float | None) -> float | None:
        """Note which job is about to run, and return how many seconds it may (None: any)."""
        return None

    def returned(self) -> None:
        """Note that the job's function has ended, and what came of it is about to be reported."""

    def resubmitted(self) -> None:
        """Note that the job's next attempt is queued, and only the end of this one not yet reported."""

    def reported(self) -> None:
        """Note that the server has been sent the outcome."""

    def lost(self, assigned: AssignedJob) -> None:
        """Note that the outcome could not be reported; raise if that is the job's doing."""

    def ended(self) -> None:
        """Note that the job is not in hand any more."""

    def is_over(self, count: int) -> bool:
        """Whether the worker should leave after so many jobs."""
        return False

    def leaving(self) -> None:
        """Note that the worker runs no more jobs, and is about to say so and to disconnect."""


NOBODY = Watch()
