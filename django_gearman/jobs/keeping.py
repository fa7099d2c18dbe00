"""
The keeper of records: an optional app that stores jobs and their outcomes. The core knows none.

An app installs its own when Django starts. Without one, nothing is stored, and nothing is called.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from .. import conf
from ..exceptions import NotSetUp
from ..utils.text import quoted
from .definition import JobDefinition

#: What to do if results are asked for without a keeper.
NOT_INSTALLED = "add 'django_gearman.contrib.store' to INSTALLED_APPS, and run manage.py migrate"

Send = Callable[[list[Any]], None]


class CancelAnswer(enum.StrEnum):
    """The answer to a request to cancel a job: the state of the job at that moment."""

    #: It waited for its time, or for its next attempt. It will not run.
    DELAYED = "delayed"
    #: It was queued. It will not run.
    QUEUED = "queued"
    #: It runs, and is asked to end: JobCancelled is raised in it, if it still runs then.
    RUNNING = "running"
    #: It had ended, or was cancelled before. Nothing has changed.
    FINISHED = "finished"
    #: There is no record of such a job. Nothing has changed.
    UNKNOWN = "unknown"


class Keeper(ABC):
    """
    A store of records. Its methods log their own failures, and never fail a job.

    `run` is a `worker.execution.Run`, `ending` a `worker.runs.Ending`, and each request a
    `JobRequest`.
    """

    @abstractmethod
    def submit(self, requests: list[Any], send: Send) -> None:
        """Record requests, and call `send` with all of them. Its exceptions reach the caller."""

    @abstractmethod
    def begin(self, run: Any) -> Any:
        """Record that a run begins. If the job had ended before, return that ending, else None."""

    @abstractmethod
    def ending_of(self, run: Any) -> Any:
        """Return the ending of the run's job if it has a record of one, else None."""

    @abstractmethod
    def keep(self, run: Any, ending: Any) -> Any:
        """
        Record the ending of a run before it is reported, and return the ending to report.

        It may be called again for the same run, if the ending cannot be reported.
        """

    @abstractmethod
    def keep_unread(self, job: Any, assigned: Any, error: BaseException) -> Any:
        """
        Record the failure of a job whose workload was not read, because it may kill its reader.

        `job` is its JobDefinition, or None for an unknown job. If the job had ended before, return
        that ending, else None.
        """

    @abstractmethod
    def wait(self, request: Any, deadline: float | None) -> bool:
        """
        Wait until the given monotonic time for the ending of a background job, and give it to
        `request`; return False if there is none yet. Raise ResultUnavailable if none will come.
        """

    @abstractmethod
    def result(self, job_id: str, timeout: float | None) -> Any:
        """Wait up to `timeout` seconds for the result of a job, and return it, or raise its error."""

    @abstractmethod
    def cancel(self, job_id: str) -> CancelAnswer:
        """Cancel a job by its id. Errors of the database reach the caller."""

    @abstractmethod
    def is_cancelled(self, job_id: str) -> bool:
        """Return True if a user has cancelled the running job with this id."""


#: The installed keeper.
keeper: Keeper | None = None
#: True if the keeper records every job: GEARMAN_STORE_ALL.
records_all = False


def install_keeper(new: Keeper | None) -> None:
    """Install the keeper of this process; None removes it."""
    global keeper
    keeper = new
    _read_settings("GEARMAN_STORE_ALL")


def cancel(job_id: object) -> CancelAnswer:
    """Cancel a job by its id; raise NotSetUp without a keeper."""
    if not isinstance(job_id, str) or not job_id:
        raise TypeError(f"a job's id is a string, JobRequest.id, not {quoted(job_id)}")
    if keeper is None:
        raise NotSetUp(f"job {job_id} cannot be cancelled: {NOT_INSTALLED}")
    return keeper.cancel(job_id)


def is_recorded(job: JobDefinition[Any] | None) -> bool:
    """Return True if the keeper records every run of a job, not only its failures."""
    return job is not None and (job.store_result or records_all)


def any_is_recorded(requests: Iterable[Any]) -> bool:
    """Return True if a request is to be recorded. A job that is not must cost next to nothing."""
    for request in requests:
        job = request.definition
        if job is not None and (job.store_result or records_all):
            return True
    return False


def _read_settings(setting: str, **named: Any) -> None:
    global records_all
    if setting == "GEARMAN_STORE_ALL":
        records_all = False
        with suppress(ImproperlyConfigured):  # a system check reports this
            records_all = keeper is not None and conf.store_all()


setting_changed.connect(_read_settings, dispatch_uid=__name__)
