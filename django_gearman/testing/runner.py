"""Run the jobs of a test: when asked, or because somebody waits for them; and what failed in them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from ..backends import get_backend
from ..backends.base import BaseBackend, JobSpec, WorkerSession
from ..backends.eager import EagerBackend
from ..backends.memory import MemoryBackend
from ..exceptions import BackendError
from ..execution import functions_of
from ..jobs import AnyJob
from ..registry import registry
from ..request import JobRequest
from ..worker import GearmanWorker
from .outbox import SubmittedJob
from .sessions import RecordingSession
from .waiting import NotServed

if TYPE_CHECKING:
    from .harness import Harness

_SHORT_SECONDS = 1.0  # a client that waits no longer than this is let wait, and told JobTimeout


class _Failures(threading.local):
    """What failed in the calls that are going on in this thread, the innermost last."""

    def __init__(self) -> None:
        self.of_calls: list[list[tuple[str, BaseException]]] = []


class Runner:
    """The workers of a test."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self.sessions: set[RecordingSession] = set()
        self._eager: dict[int, EagerBackend] = {}  # of each thread that has submitted
        self._failures = _Failures()

    def record(
        self,
        backend: BaseBackend,
        make: Callable[[], WorkerSession],
        functions: Sequence[str] | None,
    ) -> RecordingSession:
        """Return a worker that is overheard."""
        session = RecordingSession(
            self._harness,
            backend,
            make,
            None if functions is None else frozenset(functions),
            is_bounded=bool(self._failures.of_calls),
        )
        self.sessions.add(session)
        return session

    def queued(self, backend: BaseBackend) -> None:
        """Have stubs answer, and remember where delayed jobs may be."""
        if isinstance(backend, EagerBackend):
            self._eager[id(backend)] = backend
        self._harness.stubs.answer(partial(self._register_stub, backend))

    def _register_stub(self, backend: BaseBackend, functions: list[str]) -> WorkerSession:
        return self.record(backend, partial(backend.register, functions, "stub"), functions)

    def run(
        self,
        queues: str | Iterable[str] | None = None,
        only: Collection[AnyJob] | None = None,
        limit: int | None = None,
    ) -> int:
        """Work in this thread, as `gearman_worker` does, until idle or `limit` jobs have run."""
        worker = GearmanWorker(queues, clean_connections=False)
        if only is not None:
            worker.jobs = [job for job in worker.jobs if job in only]
            if not worker.jobs:
                raise ValueError(f"none of the jobs of only= is in queue {queues}")
        count = 0
        with self.calling():
            for backend in self._backends():
                remaining = None if limit is None else limit - count
                if remaining != 0:
                    count += worker.work(burst=True, limit=remaining, backend=backend)
        return count

    def advance(self, seconds: float) -> int:
        """
        Move the clock of the test's job servers, and return how many jobs ran.

        Where jobs run at once, time passes from one that is due to the next, until it has passed.
        """
        backends = self._backends()
        if not all(isinstance(backend, MemoryBackend) for backend in backends):
            raise RuntimeError(
                "the clock of a real job server cannot be moved: advance() is for 'eager' and "
                "'memory', as in @pytest.mark.gearman('memory')"
            )
        servers = [backend.server for backend in backends if isinstance(backend, MemoryBackend)]
        eager = [backend for backend in backends if isinstance(backend, EagerBackend)]
        count = 0
        with self.calling():
            while True:
                next_due = min(server.next_due() for server in servers) if eager else seconds
                step = min(seconds, next_due)
                for server in servers:
                    server.advance(step)
                self._harness.outbox.ahead += step
                seconds -= step
                for backend in backends:
                    self._harness.stubs.answer(partial(self._register_stub, backend))
                count += sum(backend.run_queued() for backend in eager)
                if seconds <= 0:
                    return count

    def _backends(self) -> list[BaseBackend]:
        """Return this thread's backend, and those of other threads with queues of their own."""
        backend = get_backend()
        if isinstance(backend, EagerBackend):
            return [backend, *(each for each in self._eager.values() if each is not backend)]
        return [backend]

    # Failures

    @contextmanager
    def calling(self, requests: Sequence[JobRequest] | None = None) -> Iterator[None]:
        """
        Raise, at the end of a call, what the first of the jobs that failed in it has raised.

        With `requests` only theirs; what else has failed is for the call around, if there is one.
        """
        failed: list[tuple[str, BaseException]] = []
        calls = self._failures.of_calls
        calls.append(failed)
        try:
            yield
        except BaseException:
            calls.pop()
            if calls:
                calls[-1].extend(failed)
            raise
        calls.pop()
        if not failed:
            return
        if requests is not None and calls:
            ours = {id(request) for request in requests}
            others = [each for each in failed if not self._is_of(ours, each[0])]
            calls[-1].extend(others)
            failed = [each for each in failed if each not in others]
        for handle, error in failed:
            records = self._harness.outbox.of(handle)
            ran_again = records and all(record.raised is not error for record in records)
            if self._harness.raise_failures and not ran_again:
                self._harness.outbox.tell(handle, SubmittedJob.see)
                raise error

    def _is_of(self, requests: set[int], handle: str) -> bool:
        return any(id(each.request) in requests for each in self._harness.outbox.of(handle))

    @contextmanager
    def apart(self) -> Iterator[list[tuple[str, BaseException]]]:
        """Keep what fails in the block from the call that is going on; yield it."""
        failed: list[tuple[str, BaseException]] = []
        self._failures.of_calls.append(failed)
        try:
            yield failed
        finally:
            self._failures.of_calls.pop()

    def failed(self, handle: str, error: BaseException) -> None:
        if self._failures.of_calls:
            self._failures.of_calls[-1].append((handle, error))

    # Clients that wait

    def serve(self, backend: BaseBackend, spec: JobSpec, handle: str) -> bool:
        """Have a job that this thread waits for served, and return whether it may be."""
        if self._is_served(backend, spec.function):
            return True
        job = self._job_of(spec)
        if job is None or backend.local or self._harness.is_quiet:
            return False
        # Jobs that were queued before it run first; what they raise is for those who wait for them.
        with self.apart() as failed:
            worker = GearmanWorker(clean_connections=False)
            worker.jobs = [job]
            worker.work(burst=True, limit=1, backend=backend)
        for each, error in failed:
            if each == handle:
                self.failed(each, error)
        return True

    def _is_served(self, backend: BaseBackend, function: str) -> bool:
        ours = [session for session in list(self.sessions) if session.serves(function)]
        busy = sum(session.is_of_this_thread() for session in ours)
        try:
            rows = [row for row in backend.workers() if function in row.functions]
        except BackendError:
            return True  # what has become of the server is for the waiting client to tell
        return len(rows) > busy

    def complain(self, spec: JobSpec, timeout: float | None) -> None:
        """Raise NotServed, unless the client gives up soon by itself."""
        if timeout is not None and (self._harness.is_quiet or timeout <= _SHORT_SECONDS):
            return
        job = self._job_of(spec)
        raise NotServed(
            f"a client waits for job {job.name if job else spec.function}, but no worker of this test "
            "serves it. Queue it (do_background, or wait_until_complete=False), and call "
            "gearman_worker.run(); or have jobs run at once, as by @pytest.mark.gearman('eager') or "
            "override_gearman('eager')"
        )

    def _job_of(self, spec: JobSpec) -> AnyJob | None:
        jobs = [job for jobs in registry.queues().values() for job in jobs]
        return functions_of(jobs).get(spec.function)
