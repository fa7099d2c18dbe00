"""
The harness of a test between the code under test and the job server: it records, and causes
failures.

A `Harness` is installed for one test, in all its threads. It chooses the transport, and sees every
submission, and every update of the workers in this process. It stores them in its `Outbox`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

from .. import environment
from ..backends import BUILT_IN, LOCAL, close_backends, get_backend, parse_servers
from ..backends.base import BaseBackend, JobSpec
from ..client.request import JobRequest
from ..environment import Environment, replaced
from ..middleware import Chain
from ..supervisor import WorkerExit
from ..worker.execution import Run
from ..worker.orphans import fail_orphan, is_last_run
from ..worker.reporting import tell_failed
from ..worker.runs import Ending, RunLost
from .isolation import forbid, isolated, real_transport
from .outbox import SubmittedJob
from .recording import RecordingBackend, RecordingSession
from .runner import Runner
from .state import State
from .transactions import CommitWatch

_names = itertools.count(1)
_Transport = tuple[Any, Any, Any]


class Harness(State, Environment):
    """The environment of one test, and its state."""

    workers_are_here = True
    sees_submissions = True

    def __init__(self) -> None:
        super().__init__()
        self.runner = Runner(self)
        self._commits = CommitWatch()
        self._transport: Callable[[], _Transport] | None = None

    def end(self) -> None:
        """End the test: stop its workers, and leave nothing behind."""
        self.has_ended = True
        self._commits.close()
        close_backends(made_under=self)

    def ask(self) -> None:
        """Activate the testing package's behaviour from now on."""
        if self.is_quiet:
            self.is_quiet, self.calls.raise_failures = False, True

    @contextmanager
    def using(
        self,
        transport: str | None = None,
        servers: Sequence[Any] | Callable[[], Sequence[Any]] | None = None,
        options: Mapping[str, Any] | None = None,
        raise_failures: bool | None = None,
    ) -> Iterator[None]:
        """
        Choose the transport (None: no change) and the handling of failures, until the block ends.
        """
        before = self._transport, self.is_quiet, self.calls.raise_failures
        chosen = None if transport is None else _read(transport, servers, options)
        self.ask()
        self._transport = chosen or self._transport
        if raise_failures is not None:
            self.calls.raise_failures = raise_failures
        try:
            yield
        finally:
            self._transport, self.is_quiet, self.calls.raise_failures = before

    def records(self) -> list[SubmittedJob]:
        """Return the submissions, after sending those that the test's transaction has held back."""
        self._commits.flush()
        return self.outbox.records()

    # Environment

    def settings(self, backend: Any, servers: Any, options: Any) -> _Transport:
        if self._transport is not None:
            chosen, chosen_servers, chosen_options = self._transport()
            return chosen, servers if chosen_servers is None else chosen_servers, chosen_options
        return isolated(backend, servers, options)

    def transport(
        self, backend: BaseBackend, requests: Sequence[JobRequest] | None = None
    ) -> BaseBackend:
        if requests is not None:
            self._commits.flush()  # they come first
        if self._transport is None:
            forbid(backend)
        return RecordingBackend(self, backend, self.runner, requests)

    def middleware(self, chain: Chain) -> Chain:
        if not self.faults.all:
            return chain
        return chain._replace(around_run=(self._around_run, *chain.around_run))

    def await_record(self, function: str, handle: str, timeout: float | None, looks: int) -> None:
        spec = JobSpec(function, b"", background=True)
        if not self.runner.serve(get_backend(), spec, handle):
            self.runner.complain(spec, timeout, looks)

    def answers(self, job_name: str) -> bool:
        return self.stubs.answers(job_name)

    def around_call(self, requests: Sequence[JobRequest]) -> AbstractContextManager[object]:
        return self.calls.calling(requests)

    def on_commit(
        self, schedule: Callable[..., None], send: Callable[[], None], using: str | None
    ) -> None:
        self._commits.on_commit(schedule, send, using, at_once=not self.is_quiet)

    def is_in_transaction(self, connection: Any) -> bool:
        if not self.is_quiet and self._commits.is_in_tests_own_block(connection):
            return False
        return super().is_in_transaction(connection)

    def _around_run(self, run: Run, proceed: Callable[[], Ending]) -> Ending:
        """Make the worker die at the end of the job if a fault says so."""
        ending = proceed()
        assigned = run.assigned
        [submission, *_] = [*self.outbox.of(assigned.handle), None]
        deaths = self.faults.crashes(assigned, submission)
        if not deaths:
            return ending
        how = f"died, as crash_worker_during() is active for {run.job.name}"
        death = WorkerExit(how, b"", {}, deaths, is_overdue=False)
        if is_last_run(run.job, assigned, True, death):
            tell_failed(run, fail_orphan(run, death))
        elif isinstance(run.session, RecordingSession):
            run.session.lose(assigned)
        raise RunLost(f"the worker of job {assigned.handle} {how}")


def _read(
    transport: str,
    servers: Sequence[Any] | Callable[[], Sequence[Any]] | None,
    options: Mapping[str, Any] | None,
) -> Callable[[], _Transport]:
    """Return a function that reads the settings of a transport, as far as they can be checked."""
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
    """Install a harness until the block ends, which is the end of its test."""
    try:
        with replaced(harness):
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
    """Yield the installed harness, or a new one, with this transport until the block ends."""
    current = environment.current()
    with ExitStack() as stack:
        if not isinstance(current, Harness):
            current = Harness()
            stack.enter_context(in_force(current))
        stack.enter_context(current.using(transport, servers, options, raise_failures))
        yield current
