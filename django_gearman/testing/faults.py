"""Failures that a test causes: of the server, of connections, and of workers."""

from __future__ import annotations

import math
import threading
from collections import Counter

from .. import conf
from ..backends.base import AssignedJob, Submission, UnsentSubmission, Update
from ..client.builder import resolve
from ..exceptions import ConnectionLost, ServerUnavailable, SubmitUncertain
from ..jobs.definition import JobDefinition
from .installed import Installed


class Fault(Installed):
    """A failure; each subclass overrides one of these methods."""

    is_server_down = False

    def change(self, submission: Submission) -> Submission:
        """Return the submitter's view of a job that a server has accepted."""
        return submission

    def loses(self, job: AssignedJob) -> bool:
        """Return True if the outcome of this run is lost."""
        return False

    def crashes(self, job: AssignedJob, submission: object) -> int:
        """
        Return the number of workers that have died of a submission, with this one; 0 if it does not
        die.
        """
        return 0


class ServerDown(Fault):
    """The failure that no job server can be reached."""

    is_server_down = True


class ConnectionBroken(Fault):
    """The failure of a connection after jobs were sent: before or after they are acknowledged."""

    def __init__(self, faults: list[Fault], after: str, times: int | None) -> None:
        if after not in ("submit", "created"):
            raise ValueError(
                f"lose_connection(after={after!r}): it is 'submit' (sent, not acknowledged) or "
                "'created' (acknowledged, and the result is waited for)"
            )
        self._after = after
        self._left = math.inf if times is None else _count(times)
        super().__init__(faults)

    def change(self, submission: Submission) -> Submission:
        if submission.error is not None or self._left <= 0:
            return submission
        self._left -= 1
        message = f"lose_connection(after={self._after!r}) is active"
        if self._after == "created":
            return _CutOff(submission.handle, message)
        return UnsentSubmission(
            SubmitUncertain(
                f"a job was sent but not acknowledged, so it may or may not be queued: {message}"
            )
        )


class _CutOff(Submission):
    """A job that was acknowledged before the connection broke."""

    def __init__(self, handle: str, text: str) -> None:
        self.handle = handle
        self._text = text

    def next_update(self, timeout: float | None = None) -> Update | None:
        raise ConnectionLost(f"the connection of job {self.handle} was lost: {self._text}")


class _OfJob(Fault):
    """A failure of one job, `times` times for each submission of it."""

    def __init__(self, faults: list[Fault], job: str | JobDefinition, times: int = 1) -> None:
        resolve(job)
        self._function = conf.function_name(job if isinstance(job, str) else job.name)
        self._times = _count(times)
        self._happened: Counter[object] = Counter()
        self._lock = threading.Lock()
        super().__init__(faults)

    def _happens(self, job: AssignedJob, submission: object) -> int:
        """
        Return how often it has happened to the submission, with this time; 0 if it does not happen.
        """
        with self._lock:
            if job.function != self._function or self._happened[submission] >= self._times:
                return 0
            self._happened[submission] += 1
            return self._happened[submission]


class WorkerCrash(_OfJob):
    """The death of workers at the end of a job."""

    def crashes(self, job: AssignedJob, submission: object) -> int:
        return self._happens(job, submission)


class OutcomeLost(_OfJob):
    """The loss of outcomes, so that another worker runs the job again."""

    def loses(self, job: AssignedJob) -> bool:
        return self._happens(job, job.handle) > 0


def _count(times: int) -> int:
    if type(times) is not int or times < 1:
        raise ValueError(f"times is how often, 1 or more, not {times!r}")
    return times


class Faults:
    """The active failures of a test."""

    def __init__(self) -> None:
        self.all: list[Fault] = []

    @property
    def is_server_down(self) -> bool:
        return bool(self.all) and any(fault.is_server_down for fault in self.all)

    def check_server(self) -> None:
        if self.is_server_down:
            raise ServerUnavailable("no job server can be reached: server_down() is active")

    def change(self, submissions: list[Submission]) -> list[Submission]:
        for fault in list(self.all):
            submissions = [fault.change(submission) for submission in submissions]
        return submissions

    def loses(self, job: AssignedJob) -> bool:
        return any(fault.loses(job) for fault in list(self.all))

    def crashes(self, job: AssignedJob, submission: object) -> int:
        return sum(fault.crashes(job, submission) for fault in list(self.all))
