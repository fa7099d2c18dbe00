"""The methods of the backend for tests, on a transport inside this process."""

from __future__ import annotations

from typing import Any

from ...backends import get_backend
from ...worker.worker import GearmanWorker
from .compat import TaskResult
from .local import LocalResults, local_results
from .queues import TaskQueue


class LocalTasks:
    """The tasks that this process has enqueued for a backend."""

    alias: str

    def queue_jobs(self) -> list[TaskQueue]:
        """Return the jobs of the backend's queues."""
        raise NotImplementedError

    @property
    def results(self) -> list[TaskResult[Any]]:
        """The results of all tasks that this process has enqueued, the newest last."""
        return self._local_results().copies()

    def clear(self) -> None:
        """Forget all results; tasks that are still queued will not run."""
        self._local_results().clear()

    def run_all(self, *, raise_failures: bool = False) -> int:
        """
        Run the queued tasks, and those that they enqueue; return the number of runs.

        With `raise_failures`, raises the exception of the first task that has failed for good, once
        all have run. Deferred tasks run when their time has come.
        """
        results, backend = self._local_results(), get_backend()
        jobs = self.queue_jobs()
        worker = GearmanWorker([job.queue for job in jobs], clean_connections=False)
        worker.jobs = list(jobs)
        raised: list[BaseException] = []
        results.raised = raised
        try:
            count = worker.work(burst=True, backend=backend)
        finally:
            results.raised = None
        if raise_failures and raised:
            first, *more = raised
            for error in more:
                first.add_note(f"Another task has failed, too: {error!r}")
            raise first
        return count

    def _local_results(self) -> LocalResults:
        if not get_backend().local:
            raise RuntimeError(
                "results, clear() and run_all() are for tests: they need GEARMAN_BACKEND = 'memory' "
                "or 'eager', whose tasks stay in this process"
            )
        return local_results(self.alias)
