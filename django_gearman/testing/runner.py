"""Run the jobs of a test: when asked, or because somebody waits for them; and what failed in them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..backends import get_backend
from ..backends.base import AssignedJob, BaseBackend, JobSpec, WorkerSession
from ..backends.eager import EagerBackend
from ..backends.memory import MemoryBackend
from ..client.request import JobRequest
from ..exceptions import BackendError
from ..jobs.definition import JobDefinition
from ..jobs.functions import functions_of
from ..jobs.registry import registry
from ..utils.text import printable, repr_of
from ..worker.inline import run_queued
from ..worker.worker import GearmanWorker
from .outbox import SubmittedJob
from .sessions import RecordingSession
from .waiting import NotServed

if TYPE_CHECKING:
    from .harness import Harness

_GRACE_LOOKS = 25  # about half a second, for a worker that is just coming in another thread
_MOST_JOBS = 100_000  # in one call; more are a job that submits itself
_SHORT_SECONDS = 1.0  # a client that waits no longer than this is let wait, and told JobTimeout


class _Thread(threading.local):
    """The calls that are going on in a thread, the innermost last."""

    def __init__(self) -> None:
        self.calls: list[JobsInCall] = []


class JobsInCall:
    """
    A call of the code under test in which jobs may run, as a context manager.

    At its end it raises what the first of the jobs that failed in it has raised: with `requests` the
    first of theirs; what else has failed is for the call around, if there is one.
    """

    def __init__(
        self, harness: Harness, thread: _Thread, requests: Sequence[JobRequest] | None
    ) -> None:
        self.failed: list[tuple[str, BaseException]] = []
        self.count = 0  # of jobs that were begun
        self._harness = harness
        self._thread = thread
        self._requests = requests

    def __enter__(self) -> Self:
        self._thread.calls.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.calls.pop()
        if not self.failed:
            return
        around = self._thread.calls[-1] if self._thread.calls else None
        others = []
        if around is not None and (error is not None or self._requests is not None):
            others = [each for each in self.failed if error is not None or not self._is_ours(each)]
            around.failed.extend(others)
        if error is None and self._harness.raise_failures:
            self._raise([f for f in self.failed if f not in others and not self._ran_again(f)])

    def _raise(self, failures: Sequence[tuple[str, BaseException]]) -> None:
        for handle, _ in failures:
            self._harness.outbox.tell(handle, SubmittedJob.see)
        if failures:
            (_, first), *more = failures
            for handle, error in more:
                first.add_note(
                    f"Another job has failed, too ({printable(handle)}): {repr_of(error)}"
                )
            raise first

    def _is_ours(self, failure: tuple[str, BaseException]) -> bool:
        records = self._harness.outbox.of(failure[0])
        return any(each.request in (self._requests or ()) for each in records)

    def _ran_again(self, failure: tuple[str, BaseException]) -> bool:
        records = self._harness.outbox.of(failure[0])
        return bool(records) and all(each.raised is not failure[1] for each in records)


class Runner:
    """The workers of a test."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self.sessions: set[RecordingSession] = set()
        self._eager: dict[int, EagerBackend] = {}  # of each thread that has submitted
        self._thread = _Thread()

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
        )
        self.sessions.add(session)
        return session

    def queued(self, backend: BaseBackend) -> None:
        """Have stubs answer, and remember where delayed jobs may be."""
        if isinstance(backend, EagerBackend):
            self._eager[id(backend)] = backend
        if self._harness.stubs.all:
            self._answer_stubs(backend)

    def _answer_stubs(self, backend: BaseBackend) -> None:
        servers = backend.levels() if isinstance(backend, EagerBackend) else [backend]
        for server in servers:
            self._harness.stubs.answer(partial(self._register_stub, server))

    def _register_stub(self, backend: BaseBackend, functions: list[str]) -> WorkerSession:
        return self.record(backend, partial(backend.register, functions, "stub"), functions)

    def run(
        self,
        queues: str | Iterable[str] | None = None,
        only: Collection[JobDefinition] | None = None,
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
                    self._answer_stubs(backend)
                count += sum(run_queued(backend) for backend in eager)
                if seconds <= 0:
                    return count

    def _backends(self) -> list[BaseBackend]:
        """Return this thread's backend, and those of other threads with queues of their own."""
        backend = get_backend()
        if isinstance(backend, EagerBackend):
            return [backend, *(each for each in self._eager.values() if each is not backend)]
        return [backend]

    # Failures

    def calling(self, requests: Sequence[JobRequest] | None = None) -> JobsInCall:
        """Return what is to be around a call in which jobs may run."""
        return JobsInCall(self._harness, self._thread, requests)

    @contextmanager
    def apart(self) -> Iterator[JobsInCall]:
        """Keep what fails in the block from the call that is going on."""
        call = JobsInCall(self._harness, self._thread, None)
        self._thread.calls.append(call)
        try:
            yield call
        finally:
            self._thread.calls.pop()

    def begun(self, job: AssignedJob) -> None:
        """Note that this thread has a job to run; AssertionError if there are too many of them."""
        if not self._thread.calls:
            return
        call = self._thread.calls[-1]
        call.count += 1
        if call.count > _MOST_JOBS:
            raise AssertionError(
                f"{_MOST_JOBS} jobs have run in one call, and there is still another one, of "
                f"{job.function}: does it submit itself? gearman_worker.run(limit=...) ends in time"
            )

    def failed(self, handle: str, error: BaseException) -> None:
        if self._thread.calls:
            self._thread.calls[-1].failed.append((handle, error))

    # Clients that wait

    def serve(self, backend: BaseBackend, spec: JobSpec, handle: str) -> bool:
        """Have a job that this thread waits for served, and return whether it may be."""
        if self._is_served(backend, spec.function):
            return True
        job = self._job_of(spec)
        if job is None or backend.local or self._harness.is_quiet:
            return False
        # Jobs that were queued before it run first; what they raise is for those who wait for them.
        with self.apart() as call:
            worker = GearmanWorker(clean_connections=False)
            worker.jobs = [job]
            worker.work(burst=True, limit=1, backend=backend)
        for each, error in call.failed:
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

    def complain(self, spec: JobSpec, timeout: float | None, looks: int) -> None:
        """Raise NotServed, unless somebody may still come, or the client gives up soon by itself."""
        if timeout is not None and (self._harness.is_quiet or timeout <= _SHORT_SECONDS):
            return
        if looks <= _GRACE_LOOKS and (threading.active_count() > 1 or not get_backend().local):
            return
        job = self._job_of(spec)
        raise NotServed(
            f"a client waits for job {job.name if job else spec.function}, but no worker of this test "
            "serves it. Queue it (do_background, or wait_until_complete=False), and call "
            "gearman_worker.run(); or have jobs run at once, as by @pytest.mark.gearman('eager') or "
            "override_gearman('eager')"
        )

    def _job_of(self, spec: JobSpec) -> JobDefinition | None:
        return functions_of(registry.jobs()).get(spec.function)
