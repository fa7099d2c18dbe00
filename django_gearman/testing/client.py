"""What a test holds in its hands: a client that knows all that is submitted, and a worker."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

from .. import environment
from ..backends.eager import EagerBackend
from ..client.builder import resolve
from ..client.client import GearmanClient
from ..client.job import Job
from ..jobs.context import JobContext
from ..jobs.definition import JobDefinition
from ..jobs.registry import registry
from ..serializers import Call
from ..signals import job_finished
from ..worker.inline import run_queued
from .assertions import Assertions
from .faults import ConnectionBroken, Fault, OutcomeLost, ServerDown, WorkerCrash
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
        return self._harness.calls.raise_failures

    @raise_failures.setter
    def raise_failures(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError(f"raise_failures is True or False, not {value!r}")
        self._harness.calls.raise_failures = value

    def stub(
        self,
        job: str | JobDefinition,
        function: Callable[..., Any] | None = None,
        /,
        *,
        returns: Any = None,
        raises: Exception | type[Exception] | None = None,
    ) -> Stub:
        """
        Answer for a job whose worker is not here: by a function of its arguments, a value or an error.

        The value goes through the serializer that the submitter chose. An error, be it one that the
        function raises, reaches the test as what a job raises does; with `raise_failures` False the
        client that waits gets JobRaised, with no more than its text, as from another language. In force
        until the test ends, or as a context manager until the block does; so are the faults below.

        Raises TypeError and ValueError for what cannot be a stub, and JobNotRegistered for a name that
        is neither a job's nor in GEARMAN_EXTERNAL_JOBS.
        """
        return Stub(self._harness.stubs.all, job, function, returns, raises)

    def server_down(self) -> Fault:
        """Let no job server be reached: submitting raises ServerUnavailable, workers get no jobs."""
        return ServerDown(self._harness.faults.all)

    def lose_connection(self, *, after: str = "submit", times: int | None = None) -> Fault:
        """
        Break the connection of each submission, or of `times` of them.

        After "submit" the job has been sent, and will run, but its submitter is never told: submitting
        raises SubmitUncertain. After "created" waiting for the job raises ConnectionLost. Raises
        ValueError for another `after`.
        """
        return ConnectionBroken(self._harness.faults.all, after, times)

    def crash_worker_during(self, job: str | JobDefinition, *, times: int = 1) -> Fault:
        """
        Have workers die at the end of this job, before they can report anything.

        What becomes of it is as in production: a background job with `retries` has its next attempt
        after its backoff, another one runs again at once; it fails with WorkerDied when it has no
        attempts left, and at the third death where it declares none. `times` is how many workers
        die of each submission. It must be in force when the job runs. Raises JobNotRegistered for
        an unknown one.
        """
        return WorkerCrash(self._harness.faults.all, job, times)

    def deliver_twice(self, job: str | JobDefinition) -> Fault:
        """
        Have each job of this name run twice, as after a connection that broke: does that do harm?

        It must be in force when the job runs. Raises JobNotRegistered for an unknown one.
        """
        return OutcomeLost(self._harness.faults.all, job)


class ManualWorker:
    """A worker that works when the test says so, in its thread, by the code of the real one."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness

    def run(
        self,
        queue: str | Iterable[str] | None = None,
        only: str | JobDefinition | Iterable[str | JobDefinition] | None = None,
        limit: int | None = None,
    ) -> int:
        """
        Run what is queued, and what that submits, until nothing is left; return how many ran.

        `queue` is what `gearman_worker -q` takes, one or several; `only` are jobs, or their names;
        `limit` is how many to run at most. One that is run again, after a crash, counts again. Raises
        what the first of the jobs that failed has raised, when all have run. Raises ValueError for a
        queue that no job has, and jobs that are not in it, JobNotRegistered for a name that no job has.
        """
        if limit is not None and (type(limit) is not int or limit < 0):
            raise ValueError(f"limit is how many jobs to run, 0 or more, not {limit!r}")
        queues = None if queue is None else _several(queue, str, "queue")
        jobs = None
        if only is not None:
            named = _several(only, (str, Job), "only")
            jobs = [resolve(job) or registry.get(str(job)) for job in named]
        self._harness.records()  # sends what has been committed
        return self._harness.runner.run(queues, jobs, limit)

    def run_one(
        self,
        queue: str | Iterable[str] | None = None,
        only: str | JobDefinition | Iterable[str | JobDefinition] | None = None,
    ) -> bool:
        """Run the next job; return whether there was one. Takes and raises what `run` does."""
        return self.run(queue, only, limit=1) == 1

    def advance(self, delta: datetime.timedelta | None = None, /, **units: float) -> int:
        """
        Move the clock of the test's job server: jobs that are delayed no longer are due.

        Takes a timedelta, or its arguments: `advance(minutes=5)`. Where jobs run at once, they do,
        one after another as their times come; on "memory" `run` runs them. Returns how many ran.
        Raises RuntimeError on real servers, whose clock cannot be moved.
        """
        if not isinstance(delta, datetime.timedelta | None):
            raise TypeError(f"advance(minutes=5), or by a timedelta; not {delta!r}")
        try:
            moved = (delta or datetime.timedelta()) + datetime.timedelta(**units)
        except TypeError:
            raise TypeError(
                f"advance takes weeks, days, hours, minutes and seconds, not {units}"
            ) from None
        if (seconds := moved.total_seconds()) <= 0:
            raise ValueError("advance by how much? Time goes forward: advance(minutes=5)")
        self._harness.records()
        return self._harness.runner.advance(seconds)


def _several(value: Any, kinds: Any, name: str) -> list[Any]:
    """Return a list of one or several; TypeError, or ValueError for none."""
    several = [value] if isinstance(value, kinds) or not isinstance(value, Iterable) else [*value]
    if not all(isinstance(each, kinds) for each in several):
        raise TypeError(f"{name}= is a name, or a list of them, not {value!r}")
    if not several:
        raise ValueError(f"{name}= is empty; leave it out for all")
    return several


def perform_job(job: str | JobDefinition, /, *args: Any, **kwargs: Any) -> Any:
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

    current = environment.current()
    apart = current.calls.apart() if isinstance(current, Harness) else nullcontext()
    job_finished.connect(note)
    try:
        with apart:
            backend = EagerBackend()
            [submission] = backend.submit([request.spec])
            run_queued(backend)
    finally:
        job_finished.disconnect(note)
    if raised:
        raise raised[0]
    request.sent(submission)
    return request.wait(0).result
