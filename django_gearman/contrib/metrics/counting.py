"""The counters of jobs, which the core calls."""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, NamedTuple

from prometheus_client import Counter

from ...jobs.counting import JobCounter
from ...jobs.identity import submission_time
from ...jobs.registry import registry
from ...utils.records import get_logger, log
from ...utils.text import printable
from . import values
from .folding import Folded
from .written import Add, Written

logger = get_logger("django_gearman.metrics")

#: Upper bounds in seconds; there is one file entry for each, in each process and for each job.
BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
#: The label `outcome`, by the state of an ending.
OUTCOMES = {"succeeded": "success", "failed": "failure", "retried": "retry"}
#: The counters and histograms of jobs, with their descriptions.
SUBMITTED = (
    "gearman_jobs_submitted_total",
    "Jobs that a job server has taken from this program, without later attempts.",
)
ENDED = "gearman_jobs_total", "Runs of jobs that have ended."
DURATION = "gearman_job_duration_seconds", "Time that a run took in the job's function."
WAIT = (
    "gearman_job_wait_seconds",
    "Time from the submission of a job to its first run, without delayed jobs.",
)
STORE_ERRORS = "gearman_store_errors_total", "Writes of records that have failed for good."


class Submissions(JobCounter):
    """A counter of the jobs that this process submits."""

    def __init__(self) -> None:
        self._names = Folded()
        self._has_failed = False

    @abstractmethod
    def add_submitted(self, label: str, number: int) -> None:
        """Count this number of submissions of a job."""

    def submitted(self, requests: Iterable[Any]) -> None:
        try:
            for request in requests:
                if request.exception is None:
                    job = request.definition or registry.find(request.task)
                    if job is None:
                        label = self._names.label(printable(request.task), is_known=False)
                    else:
                        label = job.for_call(request.call)[0].name if job.varies else job.name
                    self.add_submitted(label, 1)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job goes on
            self._failed(error)

    def submitted_batch(self, job: Any, number: int) -> None:
        try:
            self.add_submitted(job.name, number)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

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


class SubmissionCounter(Submissions):
    """A counter of submissions with a metric of prometheus_client, which is in no registry."""

    def __init__(self) -> None:
        super().__init__()
        self.metric = Counter(*SUBMITTED, ["job"], registry=None)

    def add_submitted(self, label: str, number: int) -> None:
        self.metric.labels(label).inc(number)


class _Run(NamedTuple):
    """The functions that count a run of one job with one outcome."""

    ended: Add
    observe: Add
    observe_wait: Add


class RunCounter(Submissions):
    """A counter of the jobs that worker processes submit and run, in the files of a directory."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._directory = directory
        self._changing = threading.Lock()
        self._process = ""  # the one whose file is open
        self._files: Written | None = None
        self._runs: dict[tuple[str, str, str], _Run] = {}

    def add_submitted(self, label: str, number: int) -> None:
        with self._changing:
            self._look().counter(*SUBMITTED, job=label)(number)

    def add_store_errors(self, number: int = 1) -> None:
        """Count writes of records that have failed; 0 for none yet."""
        try:
            with self._changing:
                self._look().counter(*STORE_ERRORS)(number)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def started(self, run: Any) -> None:
        run.began_at = time.time()

    def ended(self, run: Any, ending: Any) -> None:
        try:
            job = run.job
            key = job.name, job.queue, ending.state
            waited = None
            if run.call.attempt == 1 and not run.assigned.is_delayed:
                waited = submission_time(run.assigned.unique)  # which usually is the id
                if waited is None:
                    waited = run.identity.enqueued_at
            with self._changing:
                files = self._look()
                count, observe, observe_wait = self._runs.get(key) or self._run(files, *key)
                count(1)
                observe(ending.seconds)
                if waited is not None:
                    observe_wait(max(0.0, run.began_at - waited))
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def ended_unseen(self, job: Any, state: str) -> None:
        try:
            name, queue = ("unknown", "unknown") if job is None else (job.name, job.queue)
            with self._changing:
                _ended(self._look(), name, queue, state)(1)
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error)

    def begin_anew(self) -> None:
        """Make a lock that no thread of the parent process holds; called in a forked process."""
        self._changing = threading.Lock()

    def close(self) -> None:
        """Close the file in this process."""
        if self._files is not None:
            self._files.close()
        self._files = None

    def _look(self) -> Written:
        """Return the file of this process; that of its parent is closed here."""
        if self._files is None or self._process is not values.current:
            self.close()
            self._process, self._runs = values.current, {}
            self._files = Written(self._directory, self._process)
        return self._files

    def _run(self, files: Written, name: str, queue: str, state: str) -> _Run:
        found = self._runs[name, queue, state] = _Run(
            _ended(files, name, queue, state),
            files.histogram(*DURATION, BUCKETS, job=name),
            files.histogram(*WAIT, BUCKETS, queue=queue),
        )
        return found


def _ended(files: Written, name: str, queue: str, state: str) -> Add:
    outcome = OUTCOMES.get(state, state)
    return files.counter(*ENDED, job=name, queue=queue, outcome=outcome)
