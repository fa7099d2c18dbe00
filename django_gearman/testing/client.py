"""The client and the worker of a test."""

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
    A client that knows every job submitted in this test.

    With `raise_failures` False, jobs only fail, as in production. Then the client that waits sees
    the error in `result`.
    """

    def __init__(self, harness: Harness) -> None:
        super().__init__()
        self._harness = harness

    @property
    def submitted(self) -> list[SubmittedJob]:
        return self._harness.records()

    @property
    def raise_failures(self) -> bool:
        """True if an exception in a job reaches the test, with its traceback."""
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
        Answer for a job of another program: with a function of its arguments, a value or an error.

        The value goes through the serializer of the submission. An error, also one that the function
        raises, reaches the test like an exception in a job. With `raise_failures` False, the client
        that waits gets JobRaised with the text only, as from another language. The stub stays until
        the test ends, or, as a context manager, until the block ends.

        Raises TypeError and ValueError for an invalid stub, and JobNotRegistered for a name that is
        neither declared nor in GEARMAN_EXTERNAL_JOBS.
        """
        return Stub(self._harness.stubs.all, job, function, returns, raises)

    def server_down(self) -> Fault:
        """
        Make all job servers unreachable: submitting raises ServerUnavailable, workers get no jobs.
        """
        return ServerDown(self._harness.faults.all)

    def lose_connection(self, *, after: str = "submit", times: int | None = None) -> Fault:
        """
        Break the connection of each submission, or of `times` of them.

        After "submit" the job has been sent, and will run, but it is not acknowledged: submitting
        raises SubmitUncertain. After "created", waiting for the job raises ConnectionLost. Raises
        ValueError for another `after`.
        """
        return ConnectionBroken(self._harness.faults.all, after, times)

    def crash_worker_during(self, job: str | JobDefinition, *, times: int = 1) -> Fault:
        """
        Make workers die at the end of this job, before they report anything.

        The job continues as in production. A background job with `retries` is retried after its
        `backoff`; other jobs run again at once. The job fails with WorkerDied if no attempt is left,
        or, without `retries`, at the third crash. `times` is the number of crashes for each
        submission. Call this before the job runs. Raises JobNotRegistered for an unknown job.
        """
        return WorkerCrash(self._harness.faults.all, job, times)

    def deliver_twice(self, job: str | JobDefinition) -> Fault:
        """
        Run each job of this name twice, as after a broken connection, to test that this does no
        harm.

        Call this before the job runs. Raises JobNotRegistered for an unknown job.
        """
        return OutcomeLost(self._harness.faults.all, job)


class ManualWorker:
    """A worker that runs when the test calls it, in its thread, with the code of the real one."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness

    def run(
        self,
        queue: str | Iterable[str] | None = None,
        only: str | JobDefinition | Iterable[str | JobDefinition] | None = None,
        limit: int | None = None,
    ) -> int:
        """
        Run the queued jobs, and those that they submit, until none is left; return the number of
        runs.

        `queue` is one value of `gearman_worker -q`, or several. `only` are jobs, or their names.
        `limit` is the most runs. A job that runs again after a crash counts again. After all have
        run, raises the exception of the first failed job. Raises ValueError for a queue without
        jobs, and for jobs that are not in it, and JobNotRegistered for an unknown name.
        """
        if limit is not None and (type(limit) is not int or limit < 0):
            raise ValueError(f"limit is how many jobs to run, 0 or more, not {limit!r}")
        queues = None if queue is None else _several(queue, str, "queue")
        jobs = None
        if only is not None:
            named = _several(only, (str, Job), "only")
            jobs = [resolve(job) or registry.get(str(job)) for job in named]
        self._harness.records()  # sends the committed jobs
        return self._harness.runner.run(queues, jobs, limit)

    def run_one(
        self,
        queue: str | Iterable[str] | None = None,
        only: str | JobDefinition | Iterable[str | JobDefinition] | None = None,
    ) -> bool:
        """
        Run the next job; return True if there was one. Arguments and exceptions are those of `run`.
        """
        return self.run(queue, only, limit=1) == 1

    def advance(self, delta: datetime.timedelta | None = None, /, **units: float) -> int:
        """
        Move the clock of the test's job server: jobs with at most this delay become due.

        Takes a timedelta, or its arguments: `advance(minutes=5)`. On "eager", the due jobs run, in
        order of their times; on "memory", `run` runs them. Returns the number of runs. Raises
        RuntimeError on real servers, whose clock cannot be moved.
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
    """Return a list of one or several values; raise TypeError, or ValueError for none."""
    several = [value] if isinstance(value, kinds) or not isinstance(value, Iterable) else [*value]
    if not all(isinstance(each, kinds) for each in several):
        raise TypeError(f"{name}= is a name, or a list of them, not {value!r}")
    if not several:
        raise ValueError(f"{name}= is empty; leave it out for all")
    return several


def perform_job(job: str | JobDefinition, /, *args: Any, **kwargs: Any) -> Any:
    """
    Run one job in this process, with these arguments, and return its result; it is not recorded.

    Arguments and result go through the serializer, as on a worker. Jobs that it submits are the
    test's. Raises the job's exceptions, TypeError for invalid arguments, and SerializationError.
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
    request.sent(submission, None)
    return request.wait(0).result
