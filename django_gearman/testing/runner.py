"""Run the jobs of a test: at once, when asked, or because somebody waits for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from ..backends import get_backend
from ..backends.base import BaseBackend, JobSpec, WorkerSession
from ..backends.eager import EagerBackend
from ..backends.memory import MemoryBackend, MemoryWorkerSession
from ..exceptions import BackendError
from ..execution import functions_of
from ..jobs import AnyJob
from ..registry import registry
from ..worker import GearmanWorker
from .outbox import SubmittedJob
from .sessions import RecordingSession
from .waiting import NotServed

if TYPE_CHECKING:
    from .harness import Harness

_GRACE_SECONDS = 1.0  # for a worker that is just being started in another thread or process


class _Failures(threading.local):
    """What failed in the runs that are going on in this thread, the innermost last."""

    def __init__(self) -> None:
        self.of_runs: list[list[tuple[str, BaseException]]] = []


class Runner:
    """The workers of a test."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self._sessions: list[RecordingSession] = []
        self._eager: list[EagerBackend] = []  # of each thread that has submitted
        self._failures = _Failures()

    def record(
        self, make: Callable[[], WorkerSession], functions: frozenset[str] | None
    ) -> RecordingSession:
        """Return a worker that is overheard; `functions` None serves any."""
        session = RecordingSession(make, functions, self._harness.outbox, self._harness.faults)
        self._sessions.append(session)
        return session

    def submitted(self, backend: BaseBackend) -> None:
        """Run what is to run at once: what stubs answer, and everything on an eager backend."""
        self._harness.stubs.answer(lambda names: self._harness.register(backend, names, "stub"))
        if isinstance(backend, EagerBackend):
            if backend not in self._eager:
                self._eager.append(backend)
            self._run_eager(backend)

    def _run_eager(self, backend: EagerBackend) -> int:
        make = partial(MemoryWorkerSession, backend.server, None, "eager")
        with self._raising(), closing(self.record(make, None)) as worker:
            return backend.run_queued(worker)

    def run(
        self,
        queues: str | Iterable[str] | None = None,
        only: Iterable[AnyJob] | None = None,
        limit: int | None = None,
    ) -> int:
        """Work in this thread, as `gearman_worker` does, until idle or `limit` jobs have run."""
        count = 0
        with self._raising():
            for backend in self._backends():
                if count == limit:
                    break
                worker = GearmanWorker(queues, clean_connections=False)
                if only is not None:
                    worker.jobs = [job for job in worker.jobs if job in only]
                remaining = None if limit is None else limit - count
                count += worker.work(burst=True, limit=remaining, backend=backend)
        return count

    def advance(self, seconds: float) -> int:
        """Move the clock of the test's job servers, and run what runs at once; return how many."""
        count = 0
        for backend in self._backends():
            if not isinstance(backend, MemoryBackend):
                raise RuntimeError(
                    "the clock of a real job server cannot be moved: advance() is for 'eager' and "
                    "'memory', as in @pytest.mark.gearman('memory')"
                )
            backend.server.advance(seconds)
            self._harness.stubs.answer(partial(self._harness.register, backend, client_id="stub"))
            if isinstance(backend, EagerBackend):
                count += self._run_eager(backend)
        return count

    def _backends(self) -> list[BaseBackend]:
        backend = get_backend()
        if isinstance(backend, EagerBackend):
            return [backend, *(other for other in self._eager if other is not backend)]
        return [backend]

    # Failures

    @contextmanager
    def _raising(self) -> Iterator[None]:
        """Raise, at the end of the block, what the first of the jobs that failed in it has raised."""
        failed: list[tuple[str, BaseException]] = []
        self._failures.of_runs.append(failed)
        try:
            yield
        finally:
            self._failures.of_runs.pop()
        if failed and self._harness.raise_failures:
            handle, error = failed[0]
            self._harness.outbox.tell(handle, SubmittedJob.see)
            raise error

    def failed(self, handle: str, error: BaseException) -> None:
        if self._failures.of_runs:
            self._failures.of_runs[-1].append((handle, error))

    # Clients that wait

    def serve(self, backend: BaseBackend, spec: JobSpec) -> None:
        """See to it that a job that this thread waits for can end, or raise NotServed."""
        if self._is_served(backend, spec.function):
            return
        job = functions_of(job for jobs in registry.queues().values() for job in jobs).get(
            spec.function
        )
        if job is not None and not backend.local:
            self.run(only=[job], limit=1)
            return
        # Nobody can come while this is the only thread, unless it were to another process's server.
        deadline = time.monotonic() + _GRACE_SECONDS
        while (threading.active_count() > 1 or not backend.local) and time.monotonic() < deadline:
            time.sleep(0.01)
            if self._is_served(backend, spec.function):
                return
        raise NotServed(
            f"a client waits for job {job.name if job else spec.function}, but no worker of this test "
            "serves it. Queue it (do_background, or wait_until_complete=False), and call "
            "gearman_worker.run(); or have jobs run at once: @pytest.mark.gearman('eager')"
        )

    def _is_served(self, backend: BaseBackend, function: str) -> bool:
        serving = [session for session in list(self._sessions) if session.serves(function)]
        if backend.local:
            return not all(session.is_of_this_thread() for session in serving)
        try:
            workers = sum(row.workers for row in backend.functions() if row.function == function)
        except BackendError:
            return True  # what has become of the server is for the waiting client to tell
        return workers > sum(session.is_of_this_thread() for session in serving)
