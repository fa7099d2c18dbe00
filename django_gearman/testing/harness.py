"""
What stands between the code under test and the job server: it records, and makes things fail.

A `Harness` is in force for one test, in all its threads. It chooses the transport, and sees every
submission and every word of the workers of this process; what it sees goes into its `Outbox`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

from .. import conf
from ..backends import BUILT_IN, LOCAL, close_backends, parse_servers
from ..backends.base import BaseBackend, JobSpec, Submission, WorkerSession
from ..client.request import JobRequest
from ..exceptions import ConnectionLost
from ..instrumentation import Instrumentation, active, instrumented
from ..serializers import Serializer, get_serializer
from ..supervisor import WorkerExit
from ..worker.execution import Run
from ..worker.orphans import fail_orphan, is_last_run
from ..worker.reporting import tell_ended
from .faults import Faults
from .isolation import forbid, isolated, real_transport
from .outbox import Outbox, SubmittedJob
from .runner import Runner
from .sessions import RecordingSession
from .stubs import Stubs
from .transactions import CommitWatch
from .waiting import WatchedSubmission

_names = itertools.count(1)
_Transport = tuple[Any, Any, Any]


class Harness(Instrumentation):
    """
    Everything of one test.

    `is_quiet` while the test has asked for nothing: then jobs go where the settings say, except to
    real servers, and do what they do in production.
    """

    workers_are_here = True

    def __init__(self) -> None:
        self.is_quiet = True
        self.has_ended = False
        self.raise_failures = False
        self.outbox = Outbox()
        self.faults = Faults()
        self.runner = Runner(self)
        self.stubs = Stubs(self._serializer_of, self.job_failed)
        self._commits = CommitWatch()
        self._transport: Callable[[], _Transport] | None = None

    def end(self) -> None:
        """End the test: its workers stop, and nothing is left behind."""
        self.has_ended = True
        self._commits.close()
        close_backends(made_under=self)

    def ask(self) -> None:
        """Do what the testing package promises, from now on."""
        if self.is_quiet:
            self.is_quiet, self.raise_failures = False, True

    @contextmanager
    def using(
        self,
        transport: str | None = None,
        servers: Sequence[Any] | Callable[[], Sequence[Any]] | None = None,
        options: Mapping[str, Any] | None = None,
        raise_failures: bool | None = None,
    ) -> Iterator[None]:
        """Choose, until the block ends, the transport (None: leave it) and what failures do."""
        before = self._transport, self.is_quiet, self.raise_failures
        chosen = None if transport is None else _read(transport, servers, options)
        self.ask()
        self._transport = chosen or self._transport
        if raise_failures is not None:
            self.raise_failures = raise_failures
        try:
            yield
        finally:
            self._transport, self.is_quiet, self.raise_failures = before

    def records(self) -> list[SubmittedJob]:
        """Return what was submitted, also what a transaction of the test has held back."""
        self._commits.flush()
        return self.outbox.records()

    def _serializer_of(self, handle: str) -> Serializer:
        for record in self.outbox.of(handle):
            return record.request.serializer
        return get_serializer(conf.serializer())

    # Instrumentation

    def transport(self, backend: Any, servers: Any, options: Any) -> _Transport:
        if self._transport is not None:
            chosen, chosen_servers, chosen_options = self._transport()
            return chosen, servers if chosen_servers is None else chosen_servers, chosen_options
        return isolated(backend, servers, options)

    def admit(self, backend: BaseBackend) -> None:
        if self._transport is None:
            forbid(backend)

    def reach(self, backend: BaseBackend) -> None:
        self.admit(backend)
        self.faults.check_server()

    def answers(self, job_name: str) -> bool:
        return self.stubs.answers(job_name)

    def runs_in_caller(self, backend_class: type[BaseBackend]) -> bool:
        # On real servers who waits for a job runs it, and wants the test's database connections.
        return backend_class.runs_in_caller or not (self.is_quiet or backend_class.local)

    def delivery(self, requests: Sequence[JobRequest]) -> AbstractContextManager[object]:
        return self.runner.calling(requests)

    def submit(self, backend: BaseBackend, requests: Sequence[JobRequest]) -> list[Submission]:
        self._commits.flush()  # they come first
        self.reach(backend)
        specs = [request.spec for request in requests]
        submissions = backend.submit(specs)
        self._queued(backend, requests, submissions)
        if not backend.runs_in_caller:
            serve, complain = partial(self.runner.serve, backend), self.runner.complain
            submissions = [
                WatchedSubmission(submission, spec, self.outbox, serve, complain)
                for submission, spec in zip(submissions, specs, strict=True)
            ]
        return self.faults.change(submissions)

    def _queued(
        self,
        backend: BaseBackend,
        requests: Sequence[JobRequest],
        submissions: Sequence[Submission],
    ) -> None:
        for request, submission in zip(requests, submissions, strict=True):
            if submission.error is None:
                record = self.outbox.add(request, submission.handle)
                # Where jobs run at once, whoever waits for one has its outcome before it can look.
                record.was_seen = backend.runs_in_caller and not request.background
        self.runner.queued(backend)

    def on_commit(
        self, schedule: Callable[..., None], send: Callable[[], None], using: str | None
    ) -> None:
        self._commits.on_commit(schedule, send, using, at_once=not self.is_quiet)

    def register(
        self,
        backend: BaseBackend,
        make: Callable[[], WorkerSession],
        functions: Sequence[str] | None,
    ) -> WorkerSession:
        return self.runner.record(backend, make, functions)

    def retry(
        self, take: Callable[[Sequence[JobSpec]], list[Submission]], specs: Sequence[JobSpec]
    ) -> list[Submission]:
        self.faults.check_server()
        return take(specs)

    def returned(self, run: Run) -> None:
        if not self.faults.all:
            return
        assigned = run.assigned
        [submission, *_] = [*self.outbox.of(assigned.handle), None]
        deaths = self.faults.crashes(assigned, submission)
        if not deaths:
            return
        how = f"died, as crash_worker_during() is in force for {run.job.name}"
        death = WorkerExit(how, b"", {}, deaths, is_overdue=False)
        if is_last_run(run.job, assigned, True, death):
            tell_ended(run, fail_orphan(run, death))
        elif isinstance(run.session, RecordingSession):
            run.session.lose(assigned)
        raise ConnectionLost(f"the worker of job {assigned.handle} {how}")

    def job_failed(self, handle: str, error: BaseException) -> None:
        self.outbox.tell(handle, SubmittedJob.fail, handle, error)
        self.runner.failed(handle, error)

    def job_retried(self, handle: str, next_handle: str, delay: float) -> None:
        self.outbox.follow(handle, next_handle, delay)


def _read(
    transport: str,
    servers: Sequence[Any] | Callable[[], Sequence[Any]] | None,
    options: Mapping[str, Any] | None,
) -> Callable[[], _Transport]:
    """Return what tells the settings for a transport, checked as far as can be."""
    if transport in LOCAL:
        if servers is not None:
            raise TypeError(f"servers= goes with a real transport; {transport!r} has none")
        own = {"name": f"test-{next(_names)}"} if transport == "memory" else {}
        settings = (transport, None, {**own, **(options or {})})
        return lambda: settings
    known = (*BUILT_IN, "real")
    if transport not in known:
        raise ValueError(f"{transport!r} is not a transport; it is one of {', '.join(known)}")
    if servers is None:
        raise TypeError(f"{transport!r} needs servers=[...]")
    backend, project_options = real_transport() if transport == "real" else (transport, {})
    chosen = project_options if options is None else options
    if callable(servers):
        return lambda: (backend, servers(), chosen)
    parse_servers(servers, source="servers")
    return lambda: (backend, servers, chosen)


@contextmanager
def in_force(harness: Harness) -> Iterator[None]:
    """Put a harness in force until the block ends, which is the end of its test."""
    try:
        with instrumented(harness):
            yield
    finally:
        harness.end()


@contextmanager
def asked_harness(
    transport: str | None = None,
    *,
    servers: Sequence[Any] | None = None,
    options: Mapping[str, Any] | None = None,
    raise_failures: bool | None = None,
) -> Iterator[Harness]:
    """Yield the harness in force, or a new one, with this transport until the block ends."""
    current = active()
    with ExitStack() as stack:
        if not isinstance(current, Harness):
            current = Harness()
            stack.enter_context(in_force(current))
        stack.enter_context(current.using(transport, servers, options, raise_failures))
        yield current
