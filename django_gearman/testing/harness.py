"""
What stands between the code under test and the job server: it records, and makes things fail.

A `Harness` is in force for one test, in all its threads. It chooses the transport, and sees every
submission and every word of the workers of this process; what it sees goes into its `Outbox`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from .. import conf
from ..backends import close_backends
from ..backends.base import BaseBackend, Outcome, Submission, WorkerSession, WorkFail
from ..backends.eager import EagerBackend
from ..instrumentation import active, instrumented
from ..jobs import JobContext
from ..request import JobRequest
from ..serializers import Serializer, get_serializer
from ..signals import job_finished, job_retried
from .faults import Faults
from .isolation import Isolation, real_transport
from .outbox import Outbox, SubmittedJob
from .runner import Runner
from .stubs import Stubs
from .transactions import CommitWatch
from .waiting import WatchedSubmission

_names = itertools.count(1)


class Harness(Isolation):
    """
    Everything of one test.

    `raise_failures` has what a job raises reach the test: out of the submission that ran it, or out
    of `gearman_worker.run()`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.raise_failures = True
        self.outbox = Outbox()
        self.faults = Faults()
        self.stubs = Stubs(self._serializer_of)
        self.runner = Runner(self)
        self._commits = CommitWatch()
        self._transport: tuple[Any, Any, Any] | None = None
        self._name = f"test-{next(_names)}"  # of the memory server that the settings ask for

    @contextmanager
    def in_force(self) -> Iterator[None]:
        job_finished.connect(self._on_finished)
        job_retried.connect(self._on_retried)
        try:
            with instrumented(self):
                yield
        finally:
            job_finished.disconnect(self._on_finished)
            job_retried.disconnect(self._on_retried)
            self._commits.close()
            close_backends()

    @contextmanager
    def using(
        self,
        transport: str | None,
        servers: Sequence[Any] | None = None,
        options: Mapping[str, Any] | None = None,
        raise_failures: bool | None = None,
    ) -> Iterator[None]:
        """Choose, until the block ends, the transport (None: leave it) and what failures do."""
        before = self._transport, self.raise_failures
        if transport is not None:
            self._transport = _read(transport, servers, options)
        if raise_failures is not None:
            self.raise_failures = raise_failures
        try:
            yield
        finally:
            self._transport, self.raise_failures = before

    def records(self) -> list[SubmittedJob]:
        """Return what was submitted, also what a transaction of the test has held back."""
        self._commits.flush()
        return self.outbox.records()

    def _serializer_of(self, handle: str) -> Serializer:
        for record in self.outbox.of(handle):
            return record.request.serializer
        return get_serializer(conf.serializer())

    # Instrumentation

    def transport(self, backend: Any, servers: Any, options: Any) -> tuple[Any, Any, Any]:
        if self._transport is not None:
            chosen, chosen_servers, chosen_options = self._transport
            return chosen, chosen_servers or servers, chosen_options
        if backend == "memory" and isinstance(options, Mapping):
            return backend, servers, {**options, "name": self._name}
        return "eager", servers, {}

    def admit(self, backend: BaseBackend) -> None:
        """Let any be used: `transport` has seen to it that no other is there."""

    def answers(self, job_name: str) -> bool:
        return self.stubs.answers(job_name)

    def submit(self, backend: BaseBackend, requests: Sequence[JobRequest]) -> list[Submission]:
        self._commits.flush()  # they come first
        self.faults.check_server()
        specs = [request.spec for request in requests]
        take = backend.queue if isinstance(backend, EagerBackend) else backend.submit
        submissions = take(specs)
        for request, submission in zip(requests, submissions, strict=True):
            if submission.error is None:
                self.outbox.add(request, submission.handle)
        self.runner.submitted(backend)
        watched: list[Submission] = [
            WatchedSubmission(submission, spec, self.outbox, partial(self.runner.serve, backend))
            for submission, spec in zip(submissions, specs, strict=True)
        ]
        return self.faults.change(watched)

    def on_commit(self, send: Any, using: str | None) -> None:
        self._commits.on_commit(send, using)

    def register(
        self, backend: BaseBackend, functions: Sequence[str], client_id: str
    ) -> WorkerSession:
        return self.runner.record(
            partial(backend.register, functions, client_id), frozenset(functions)
        )

    # Signals

    def _on_finished(
        self, *, context: JobContext, outcome: Outcome, exception: BaseException | None, **_: Any
    ) -> None:
        if isinstance(outcome, WorkFail) and exception is not None:
            told = partial(SubmittedJob.failed_with, handle=context.handle, error=exception)
            self.outbox.tell(context.handle, told)
            self.runner.failed(context.handle, exception)

    def _on_retried(self, *, context: JobContext, handle: str, **_: Any) -> None:
        self.outbox.follow(context.handle, handle)


def _read(
    transport: str, servers: Sequence[Any] | None, options: Mapping[str, Any] | None
) -> tuple[Any, Any, Any]:
    """Return the settings for a transport, checked."""
    if transport in ("eager", "memory"):
        if servers is not None:
            raise TypeError(f"servers= goes with a real transport; {transport!r} has none")
        own = {"name": f"test-{next(_names)}"} if transport == "memory" else {}
        return transport, None, {**own, **(options or {})}
    known = ("eager", "memory", "real", "gearman", "python-gearman")
    if transport not in known:
        raise ValueError(f"{transport!r} is no transport; it is one of {', '.join(known)}")
    if servers is None:
        raise TypeError(f"{transport!r} needs servers=[...]")
    conf.parse_servers(servers, source="servers")
    backend, project_options = real_transport() if transport == "real" else (transport, {})
    return backend, servers, project_options if options is None else options


@contextmanager
def harness(
    transport: str | None = None,
    *,
    servers: Sequence[Any] | None = None,
    options: Mapping[str, Any] | None = None,
    raise_failures: bool | None = None,
) -> Iterator[Harness]:
    """Yield the harness in force, or put a new one in force, with this transport until the end."""
    with ExitStack() as stack:
        current = active()
        if not isinstance(current, Harness):
            current = Harness()
            stack.enter_context(current.in_force())
        stack.enter_context(current.using(transport, servers, options, raise_failures))
        yield current
