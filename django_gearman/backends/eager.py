"""
"eager": a memory transport for each thread, whose jobs run in the thread that submits them.

Each thread has its own server, so a job runs with the database connections and transactions of its
submitter. The client runs the queued jobs after each submission (`worker.inline`).

A running job may submit others. Background jobs wait until it has finished. Jobs that it waits for
run inside it: on a server one level deeper, before the jobs that were queued earlier. Delayed jobs
stay on the outermost level until a later submission finds them due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..protocol.address import ServerAddress
from .base import JobSpec, JobStatus, Submission
from .memory import MemoryBackend, MemoryWorkerSession
from .memory_server import MemoryServer
from .specs import check_specs


class EagerBackend(MemoryBackend):
    """
    A memory transport of one thread, with a deeper level for jobs that a running job waits for.
    """

    runs_in_caller = True
    supports_slots = False

    def __init__(self, servers: Sequence[ServerAddress] = ()) -> None:
        self.server = MemoryServer("eager")
        self.max_queued = None
        self.is_running = False  # a job of this level
        self.worker: Any = None  # of this level, made by `worker.inline` for its first job
        self._outermost = self
        self._around: EagerBackend | None = None
        self._inner: EagerBackend | None = None

    def submit(self, specs: Sequence[JobSpec]) -> list[Submission]:
        check_specs(specs)
        free = self.free_level()
        busy = free if free is self else free._around or self
        submissions = []
        for spec in specs:
            level = (
                self._outermost if spec.run_at is not None else busy if spec.background else free
            )
            submissions.append(level.queue(spec))
        return submissions

    def free_level(self) -> EagerBackend:
        """Return the outermost level at which no job is running."""
        level = self
        while level.is_running:
            level = level._inside()
        return level

    def levels(self) -> Iterator[EagerBackend]:
        """Yield this level and the deeper ones, each with its own server."""
        level: EagerBackend | None = self
        while level is not None:
            yield level
            level = level._inner

    def _inside(self) -> EagerBackend:
        """Return the level for jobs that a job of this level waits for."""
        if self._inner is None:
            self._inner = EagerBackend()
            self._inner._around, self._inner._outermost = self, self._outermost
        return self._inner

    def job_status(self, handle: str) -> JobStatus:
        status = super().job_status(handle)
        if not status.known and self._inner is not None:
            return self._inner.job_status(handle)
        return status

    def register(
        self, functions: Sequence[str] | None, client_id: str = "", slots: int = 1
    ) -> MemoryWorkerSession:
        """Become a worker of this level; None serves any function."""
        return MemoryWorkerSession(self.server, functions, client_id)
