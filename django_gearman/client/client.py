"""GearmanClient: it submits jobs, and waits for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..backends import parse_servers, use_backend
from ..exceptions import BackendError
from ..jobs.definition import JobDefinition, R_co
from ..jobs.keeping import CancelAnswer, cancel
from ..jobs.options import DEFAULT, PRIORITY_HIGH, PriorityName
from ..serializers import Call
from ..utils.text import quoted
from .arguments import MISSING, check_flags, collect_call, parse_job
from .async_client import AsyncMethods
from .batch import JobBatch, submit_alike, submit_batch
from .builder import Preparation
from .checking import (
    check_acknowledged,
    check_awaited,
    check_delivery,
    keeper_for,
    limits,
    request_of,
)
from .delivery import deliver, wait_for
from .mapping import map_items
from .request import JobRequest

#: The keywords of submit_job that dispatch_background_task takes too.
_CONTROLS = ("unique", "priority", "wait_until_complete", "max_retries", "poll_timeout")


class GearmanClient(AsyncMethods):
    """A client of the job servers in the settings, or of those in `host_list`."""

    def __init__(self, host_list: Sequence[Any] | None = None) -> None:
        self._servers = None if host_list is None else parse_servers(host_list, source="host_list")
        self.options = DEFAULT

    def submit_job(
        self,
        task: str | JobDefinition[R_co],
        /,
        data: Any = MISSING,
        unique: str | bool | None = None,
        priority: PriorityName | None = None,
        background: bool | None = None,
        wait_until_complete: bool | None = None,
        max_retries: int | None = None,
        poll_timeout: float | None = None,
        *arguments: Any,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **job_kwargs: Any,
    ) -> JobRequest[R_co]:
        """
        Submit a job, by name or by its function, and wait for its outcome.

        `data` is the job's first argument. More arguments are given by keyword, or as `args` and
        `kwargs`. With `background=True` or `wait_until_complete=False`, returns when the job is queued.
        `poll_timeout` limits the whole call, in seconds. `max_retries` is the number of times to submit
        again if the connection is lost. `unique` and `priority` are those of `using()`.

        Returns the request: reading its `result` raises the error of a failed job. Raises
        JobNotRegistered, TypeError, ValueError or SerializationError before anything is sent, and
        ServerUnavailable, ServerError, SubmitUncertain or ConnectionLost.
        """
        call = collect_call(data, arguments, args, kwargs, job_kwargs)
        check_flags(background=background, wait_until_complete=wait_until_complete)
        return self.submit_call(
            task,
            call,
            background=bool(background),
            waits=wait_until_complete is not False,
            unique=unique,
            priority=priority,
            **limits(max_retries, poll_timeout),
        )

    def submit_call(
        self,
        task: str | JobDefinition[R_co],
        call: Call,
        *,
        background: bool = False,
        waits: bool = True,
        **options: Any,
    ) -> JobRequest[R_co]:
        """Submit a job with ready arguments; `submit_job` and the methods of jobs use this."""
        preparation = Preparation(self.options, background, waits, options)
        request = preparation.request(task, call)
        wait = waits and not background
        deliver([request], self._servers, preparation.settings, wait=wait)
        if isinstance(request.exception, BackendError):
            raise request.exception
        return request

    def submit_multiple_jobs(
        self,
        jobs_to_submit: Iterable[Mapping[str, Any]],
        background: bool | None = False,
        wait_until_complete: bool | None = True,
        max_retries: int | None = None,
        poll_timeout: float | None = None,
    ) -> list[JobRequest]:
        """
        Submit many jobs at once: dicts with "task" and optionally "data", "unique", "priority",
        "args" and "kwargs". The requests come in the same order.

        All are checked before the first is sent. If a server refuses a job, its request is
        JOB_FAILED, with the error as `exception`; the others continue. If a connection breaks
        before a job is acknowledged, SubmitUncertain is raised, with all requests as `requests`.
        """
        check_flags(background=background, wait_until_complete=wait_until_complete)
        explicit, waits = limits(max_retries, poll_timeout), wait_until_complete is not False
        preparation = Preparation(self.options, bool(background), waits, explicit)
        entries = [*jobs_to_submit]
        requests = submit_alike(preparation, entries, self._servers) if background else None
        if requests is None:
            requests = preparation.requests(entries, parse_job, "jobs_to_submit")
            check_delivery(requests)
            if requests:
                wait = waits and not background
                deliver(requests, self._servers, preparation.settings, wait=wait)
        check_acknowledged(requests)
        return requests

    def map_items(
        self, job: JobDefinition[R_co], items: Iterable[Any], **options: Any
    ) -> list[R_co]:
        """Run a foreground job for each item, and return the results; `Job.map` uses this."""
        preparation = Preparation(self.options, background=False, explicit=options)
        return map_items(preparation, job, items, self._servers)

    def enqueue(self, job: JobDefinition[R_co], items: Iterable[Any]) -> JobBatch[R_co]:
        """Queue a background job for each item; `Job.enqueue_many` uses this."""
        preparation = Preparation(self.options, background=True)
        return submit_batch(preparation, job, items, self._servers)

    def dispatch_background_task(
        self,
        func: str | JobDefinition[R_co],
        /,
        arg: Any = MISSING,
        uniq: str | bool | None = None,
        high_priority: bool | None = None,
        *arguments: Any,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **job_kwargs: Any,
    ) -> JobRequest[R_co]:
        """
        Submit a background job, which runs even if this process ends.

        `arg`, `uniq` and `high_priority=True` are other names of `data`, `unique` and
        `priority=PRIORITY_HIGH`. All keywords of `submit_job` work as well. Returns when the job is
        queued. Raises the errors of `submit_job`.
        """
        controls = {name: job_kwargs.pop(name, None) for name in _CONTROLS}
        if job_kwargs.pop("background", None) not in (None, True):
            raise TypeError("dispatch_background_task is for background jobs; use submit_job")
        if "data" in job_kwargs:
            if arg is not MISSING:
                raise TypeError("arg and data are two names of one argument; pass one of them")
            arg = job_kwargs.pop("data")
        check_flags(
            high_priority=high_priority, wait_until_complete=controls.pop("wait_until_complete")
        )
        if high_priority:
            if controls["priority"] not in (None, PRIORITY_HIGH):
                raise TypeError(
                    f"high_priority=True and priority={quoted(controls['priority'])} contradict each "
                    "other"
                )
            controls["priority"] = PRIORITY_HIGH
        if uniq is not None:
            if controls["unique"] is not None:
                raise TypeError("uniq and unique are two names of one option; pass one of them")
            controls["unique"] = uniq
        call = collect_call(arg, arguments, args, kwargs, job_kwargs)
        explicit = limits(controls.pop("max_retries"), controls.pop("poll_timeout"))
        return self.submit_call(func, call, background=True, **explicit, **controls)

    def wait_until_jobs_completed(
        self, requests: Iterable[JobRequest], poll_timeout: float | None = None
    ) -> list[JobRequest]:
        """
        Wait up to `poll_timeout` seconds in all (None: the `wait` of `using()`) for every request.

        Returns the requests; `state`, `timed_out` and `exception` of each have the outcome. If one
        has not been submitted, raises ResultUnavailable and does not wait.
        """
        found = check_awaited(requests)
        wait_for(found, self.options.wait if poll_timeout is None else poll_timeout)
        return found

    def get_job_status(self, request_or_handle: JobRequest[R_co] | str) -> JobRequest[R_co]:
        """
        Ask the job server for the progress of a job, and return its request with `status` filled.

        You may pass a handle, of this or any process. Raises ValueError for an invalid handle, and
        for a request without one, because it was not submitted.
        """
        request = request_of(request_or_handle, self.options)
        backend = use_backend(self._servers)
        request.set_status(backend.job_status(request.handle))
        return request

    def get_result(self, job_id: str, timeout: float | None = None) -> Any:
        """
        Return the stored result of a job, which any process may have submitted, by its id.

        Waits up to `timeout` seconds (None: without limit) until the job has ended. Raises
        JobRaised or JobFailed if it failed, JobTimeout if it has not ended in time, and
        ResultUnavailable if there is no record of it. The app `django_gearman.contrib.store` keeps
        the results of jobs that are declared with `store_result=True`.
        """
        return keeper_for(job_id, timeout).result(job_id, timeout)

    def cancel(self, job_id: str) -> CancelAnswer:
        """
        Cancel a job, which any process may have submitted, by its id; return its state before.

        A job that waits will not run. JobCancelled is raised in a job that runs. This is for recorded
        jobs: those with `store_result=True`, tasks of `django.tasks`, or all with GEARMAN_STORE_ALL.
        Raises NotSetUp without the app `django_gearman.contrib.store`.
        """
        return cancel(job_id)

    def prepare(
        self,
        task: str | JobDefinition[R_co],
        call: Call,
        background: bool,
        waits: bool = True,
        **explicit: Any,
    ) -> JobRequest[R_co]:
        """Check a call, and return the request for `deliver`; nothing is sent."""
        return Preparation(self.options, background, waits, explicit).request(task, call)
