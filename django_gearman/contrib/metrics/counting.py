"""The counter of jobs: what the core tells it goes into metrics."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from ...jobs.counting import JobCounter
from ...jobs.identity import submission_time
from ...jobs.registry import registry
from ...utils.records import get_logger, log
from ...utils.text import printable
from .folding import Folded

logger = get_logger("django_gearman.metrics")

#: Upper bounds in seconds; there is one file entry for each, in each process and for each job.
BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
#: The label `outcome`, by the state of an ending.
OUTCOMES = {"succeeded": "success", "failed": "failure", "retried": "retry"}

_Count = Callable[[], object]
_Observe = Callable[[float], object]


class SubmissionCounter(JobCounter):
    """A counter of what this process submits. It is in no registry unless one is given."""

    def __init__(self, into: CollectorRegistry | None = None) -> None:
        self.submissions = Counter(
            "gearman_jobs_submitted_total",
            "Jobs that a job server has taken from this program, without later attempts.",
            ["job"],
            registry=into,
        )
        self._names = Folded()
        self._submitted: dict[str, Callable[[float], object]] = {}
        self._has_failed = False

    def submitted(self, requests: Iterable[Any]) -> None:
        try:
            for request in requests:
                if request.exception is None:
                    job = request.definition or registry.find(request.task)
                    if job is not None and job.varies:
                        job, _ = job.for_call(request.call)
                    self._submit(request.task if job is None else job.name, job is not None, 1)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job goes on
            self._failed(error)

    def submitted_batch(self, job: Any, number: int) -> None:
        try:
            self._submit(job.name, True, number)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def _submit(self, name: str, is_known: bool, number: int) -> None:
        count = self._submitted.get(name)
        if count is None:
            label = self._names.label(printable(name), is_known=is_known)
            count = self.submissions.labels(label).inc
            if label == name:
                self._submitted[name] = count
        count(number)

    def _failed(self, error: Exception) -> None:
        """Log the first failure; the disk may be full."""
        if not self._has_failed:
            self._has_failed = True
            log(logger, logging.ERROR, "a job could not be counted: %r", error, exc_info=error)

    def started(self, run: Any) -> None:
        pass

    def ended(self, run: Any, ending: Any) -> None:
        pass

    def ended_unseen(self, job: Any, state: str) -> None:
        pass


class RunCounter(SubmissionCounter):
    """A counter of what worker processes submit and run."""

    def __init__(self, into: CollectorRegistry | None = None) -> None:
        super().__init__(into)
        self.jobs = Counter(
            "gearman_jobs_total",
            "Runs of jobs that have ended.",
            ["job", "queue", "outcome"],
            registry=into,
        )
        self.durations = Histogram(
            "gearman_job_duration_seconds",
            "Time that a run took in the job's function.",
            ["job"],
            buckets=BUCKETS,
            registry=into,
        )
        self.waits = Histogram(
            "gearman_job_wait_seconds",
            "Time from the submission of a job to its first run, without delayed jobs.",
            ["queue"],
            buckets=BUCKETS,
            registry=into,
        )
        self._runs: dict[tuple[str, str, str], tuple[_Count, _Observe, _Observe]] = {}

    def started(self, run: Any) -> None:
        run.began_at = time.time()

    def ended(self, run: Any, ending: Any) -> None:
        try:
            job = run.job
            key = job.name, job.queue, ending.state
            count, observe, wait = self._runs.get(key) or self._run(*key)
            count()
            observe(ending.seconds)
            if run.call.attempt == 1 and not run.assigned.is_delayed:
                enqueued = submission_time(run.assigned.unique)  # which usually is the id
                if enqueued is None:
                    enqueued = run.identity.enqueued_at
                if enqueued is not None:
                    wait(max(0.0, run.began_at - enqueued))
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def ended_unseen(self, job: Any, state: str) -> None:
        try:
            name, queue = ("unknown", "unknown") if job is None else (job.name, job.queue)
            self.jobs.labels(name, queue, OUTCOMES.get(state, state)).inc()
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def _run(self, name: str, queue: str, state: str) -> tuple[_Count, _Observe, _Observe]:
        """Return the functions that count one more run, its duration and its wait."""
        found = self._runs[name, queue, state] = (
            self.jobs.labels(name, queue, OUTCOMES.get(state, state)).inc,
            self.durations.labels(name).observe,
            self.waits.labels(queue).observe,
        )
        return found
