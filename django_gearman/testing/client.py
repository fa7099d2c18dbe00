"""What a test holds in its hands: a client that knows all that is submitted, and a worker."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import Any

from ..backends.eager import EagerBackend
from ..client import GearmanClient, resolve
from ..jobs import AnyJob, Job, JobContext
from ..registry import registry
from ..serializers import Call
from ..signals import job_finished
from .assertions import Assertions
from .faults import ConnectionBroken, Fault, OutcomeLost, ServerDown
from .harness import Harness
from .outbox import SubmittedJob
from .stubs import Stub


class RecordingClient(Assertions, GearmanClient):
    """
    A client that knows every job that anybody submits in this test.

    Set `raise_failures` to False to have failing jobs do no more than fail, as in production, where
    the client that waits is told by `result`, and nobody else is.
    """

    def __init__(self, harness: Harness) -> None:
        super().__init__()
        self._harness = harness

    @property
    def submitted(self) -> list[SubmittedJob]:
        return self._harness.records()

    @property
    def raise_failures(self) -> bool:
        """Whether what a job raises reaches the test, with its traceback."""
        return self._harness.raise_failures

    @raise_failures.setter
    def raise_failures(self, value: bool) -> None:
        self._harness.raise_failures = value

    def stub(
        self,
        job: str | AnyJob,
        function: Callable[..., Any] | None = None,
        /,
        *,
        returns: Any = None,
        raises: Exception | type[Exception] | None = None,
    ) -> Stub:
        """
        Answer for a job whose worker is not here: by a function of its arguments, a value or an error.

        The value goes through the serializer that the submitter chose. An error reaches him as the
        JobRaised that workers in other languages bring about. In force until the test ends, or as a
        context manager until the block does; so are the faults below.
        """
        return Stub(self._harness.stubs.all, job, function, returns, raises)

    def server_down(self) -> Fault:
        """Let no job server be reached: submitting raises ServerUnavailable, workers get no jobs."""
        return ServerDown(self._harness.faults.all)

    def lose_connection(self, *, after: str) -> Fault:
        """
        Break the connection of each submission, after="submit" or after="created".

        After "submit" the job has been sent, and will run, but its submitter is never told: submitting
        raises SubmitUncertain. After "created" waiting for the job raises ConnectionLost.
        """
        return ConnectionBroken(self._harness.faults.all, after)

    def crash_worker_during(self, job: str | AnyJob, *, times: int = 1) -> Fault:
        """
        Have workers die at the end of this job, before they can report: another one runs it again.

        `times` is how often that happens to each job. Raises JobNotRegistered for an unknown one.
        """
        return OutcomeLost(self._harness.faults.all, job, "crash_worker_during()", times)

    def deliver_twice(self, job: str | AnyJob) -> Fault:
        """Have each job of this name run twice, as after a connection that broke: does that do harm?"""
        return OutcomeLost(self._harness.faults.all, job, "deliver_twice()")


class ManualWorker:
    """A worker that works when the test says so, in its thread, by the code of the real one."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness

    def run(
        self,
        queue: str | Iterable[str] | None = None,
        only: str | AnyJob | Iterable[str | AnyJob] | None = None,
        limit: int | None = None,
    ) -> int:
        """
        Run what is queued, and what that submits, until nothing is left; return how many ran.

        `queue` is what `gearman_worker -q` takes, one or several; `only` are jobs, or their names;
        `limit` is how many to run at most. Raises what the first of the jobs that failed has raised,
        when all have run. Raises ValueError for a queue that no job has, JobNotRegistered for a name
        that no job has.
        """
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise ValueError(f"limit is how many jobs to run, 1 or more, not {limit!r}")
        jobs = None
        if only is not None:
            several = [only] if isinstance(only, (str, Job)) else only
            jobs = [registry.get(job) if isinstance(job, str) else job for job in several]
        self._harness.records()  # sends what has been committed
        return self._harness.runner.run(queue, jobs, limit)

    def run_one(
        self,
        queue: str | Iterable[str] | None = None,
        only: str | AnyJob | Iterable[str | AnyJob] | None = None,
    ) -> bool:
        """Run the next job; return whether there was one. Takes and raises what `run` does."""
        return self.run(queue, only, limit=1) == 1

    def advance(self, delta: datetime.timedelta | None = None, /, **units: float) -> int:
        """
        Move the clock of the test's job server: jobs that are delayed no longer are due.

        Takes a timedelta, or its arguments: `advance(minutes=5)`. Where jobs run at once, they do so
        now; elsewhere `run` runs them. Returns how many ran. Raises RuntimeError on real servers.
        """
        seconds = (delta or datetime.timedelta()).total_seconds()
        seconds += datetime.timedelta(**units).total_seconds()
        if seconds <= 0:
            raise ValueError("advance by how much? Time goes forward: advance(minutes=5)")
        self._harness.records()
        return self._harness.runner.advance(seconds)


def perform_job(job: str | AnyJob, /, *args: Any, **kwargs: Any) -> Any:
    """
    Run one job here, with these arguments, and return its result; it counts as no submission.

    Arguments and result go through the serializer, as on a worker. What the job submits goes where
    the test's jobs go. Raises what the job raises, TypeError for arguments that it cannot have, and
    SerializationError.
    """
    declared = resolve(job) or registry.get(str(job))
    request = GearmanClient().prepare(declared, Call(args, kwargs), background=False)
    raised: list[BaseException] = []

    def note(*, context: JobContext, exception: BaseException | None, **_: Any) -> None:
        if context.unique == request.unique and exception is not None:
            raised.append(exception)

    job_finished.connect(note)
    try:
        [submission] = EagerBackend().submit([request.spec])
    finally:
        job_finished.disconnect(note)
    if raised:
        raise raised[0]
    request.sent(submission)
    return request.wait(0).result
