"""The workers of a test: they run jobs on request, or when a client waits for them."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable
from functools import partial

from ..backends import get_backend
from ..backends.base import BaseBackend, JobSpec, WorkerSession
from ..backends.eager import EagerBackend
from ..backends.memory import MemoryBackend
from ..exceptions import BackendError
from ..jobs.definition import JobDefinition
from ..jobs.functions import functions_of
from ..jobs.registry import registry
from ..worker.inline import run_queued
from ..worker.worker import GearmanWorker
from .recording import RecordingSession
from .state import State
from .ticks import Ticks
from .waiting import NotServed

_GRACE_LOOKS = 25  # about half a second, for a worker that is starting in another thread
_SHORT_SECONDS = 1.0  # a client with a shorter limit waits, and gets JobTimeout


class Runner:
    """The workers of a test."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._eager: dict[int, EagerBackend] = {}  # of each thread that has submitted

    def queued(self, backend: BaseBackend) -> None:
        """Run stubs, and remember the servers that may have delayed jobs."""
        if isinstance(backend, EagerBackend):
            self._eager[id(backend)] = backend
        if self._state.stubs.all:
            self._answer_stubs(backend)

    def _answer_stubs(self, backend: BaseBackend) -> None:
        servers = backend.levels() if isinstance(backend, EagerBackend) else [backend]
        for server in servers:
            self._state.stubs.answer(partial(self._register_stub, server))

    def _register_stub(self, backend: BaseBackend, functions: list[str]) -> WorkerSession:
        make = partial(backend.register, functions, "stub")
        return RecordingSession(self._state, backend, make, functions)

    def run(
        self,
        queues: str | Iterable[str] | None = None,
        only: Collection[JobDefinition] | None = None,
        limit: int | None = None,
    ) -> int:
        """Work in this thread, like `gearman_worker`, until idle or `limit` jobs have run."""
        worker = GearmanWorker(queues, clean_connections=False)
        if only is not None:
            worker.jobs = [job for job in worker.jobs if job in only]
            if not worker.jobs:
                raise ValueError(f"none of the jobs of only= is in queue {queues}")
        count = 0
        with self._state.calls.calling():
            for backend in self._backends():
                remaining = None if limit is None else limit - count
                if remaining != 0:
                    count += worker.work(burst=True, limit=remaining, backend=backend)
        return count

    def advance(self, seconds: float) -> int:
        """
        Move the clock of the test's job servers, and return the number of runs.

        On "eager", the clock moves from one due job to the next. Schedules are due at their times.
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
        ticks = Ticks(self._state.outbox.now(), seconds)
        with self._state.calls.calling():
            while True:
                next_due = min(server.next_due() for server in servers) if eager else seconds
                step = min(seconds, next_due, ticks.seconds_until_next)
                for server in servers:
                    server.advance(step)
                self._state.outbox.ahead += step
                seconds -= step
                submitted = ticks.advance(step)
                for backend in backends:
                    self._answer_stubs(backend)
                count += sum(run_queued(backend) for backend in eager)
                count += submitted if eager else 0
                if seconds <= 0:
                    return count

    def _backends(self) -> list[BaseBackend]:
        """Return this thread's backend, and those of other threads with separate queues."""
        backend = get_backend()
        if isinstance(backend, EagerBackend):
            return [backend, *(each for each in self._eager.values() if each is not backend)]
        return [backend]

    # Clients that wait

    def serve(self, backend: BaseBackend, spec: JobSpec, handle: str) -> bool:
        """Serve a job that this thread waits for, and return True if this is possible."""
        if self._is_served(backend, spec.function):
            return True
        job = self._job_of(spec)
        if job is None or backend.local or self._state.is_quiet:
            return False
        # Jobs that were queued before it run first; their waiting clients get their errors.
        with self._state.calls.apart() as call:
            worker = GearmanWorker(clean_connections=False)
            worker.jobs = [job]
            worker.work(burst=True, limit=1, backend=backend)
        for each, error in call.failed:
            if each == handle:
                self._state.calls.failed(each, error)
        return True

    def _is_served(self, backend: BaseBackend, function: str) -> bool:
        ours = [worker for worker in list(self._state.workers) if worker.serves(function)]
        busy = sum(worker.is_of_this_thread() for worker in ours)
        try:
            rows = [row for row in backend.workers() if function in row.functions]
        except BackendError:
            return True  # the waiting client reports the state of the server
        return len(rows) > busy

    def complain(self, spec: JobSpec, timeout: float | None, looks: int) -> None:
        """Raise NotServed, unless a worker may still come, or the client's limit is short."""
        if timeout is not None and (self._state.is_quiet or timeout <= _SHORT_SECONDS):
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
