"""The methods of GearmanClient for event loops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from .. import environment
from ..backends import get_backend, use_backend
from ..exceptions import BackendError
from ..jobs.definition import JobDefinition, R_co
from ..jobs.keeping import CancelAnswer, cancel
from ..jobs.options import PriorityName
from ..serializers import Call
from ..utils.clock import monotonic
from ..utils.waiting import deadline_after
from .arguments import MISSING, check_flags, collect_call, parse_job
from .batch import JobBatch, check_batch, count, is_seen, sent_batch
from .builder import Preparation
from .checking import (
    check_acknowledged,
    check_awaited,
    check_delivery,
    keeper_for,
    limits,
    request_of,
)
from .delivery import Servers, wait_for
from .loop_delivery import deliver_on_loop, send_now, send_on_loop
from .request import JobRequest
from .stored import is_stored
from .threads import in_thread_of_queries, wait_for_records, wait_in_thread
from .using import HasOptions


class AsyncMethods(HasOptions):
    """
    The methods of a client for event loops. None of them blocks the loop.

    Where the transport has a half for event loops, none of them needs a thread either, but for jobs
    whose results are stored in a database.
    """

    _servers: Servers

    async def asubmit_job(
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
        Do what `submit_job` does, without blocking the event loop.

        With `wait_until_complete=False`, you `await` the request later, or follow it with `async
        for update in request.updates()`.
        """
        call = collect_call(data, arguments, args, kwargs, job_kwargs)
        check_flags(background=background, wait_until_complete=wait_until_complete)
        return await self.asubmit_call(
            task,
            call,
            background=bool(background),
            waits=wait_until_complete is not False,
            unique=unique,
            priority=priority,
            **limits(max_retries, poll_timeout),
        )

    async def asubmit_call(
        self,
        task: str | JobDefinition[R_co],
        call: Call,
        *,
        background: bool = False,
        waits: bool = True,
        **options: Any,
    ) -> JobRequest[R_co]:
        """Submit a job with ready arguments, like `submit_call`, without blocking the event loop."""
        preparation = Preparation(self.options, background, waits, options)
        request, wait = preparation.request(task, call), waits and not background
        settings = preparation.settings
        del preparation  # thousands of tasks may wait here
        deadline = deadline_after(request.options.wait)
        if not (wait and send_now(request, self._servers, settings)):
            deadline = await send_on_loop([request], self._servers, settings, wait=wait)
        del settings
        if wait:
            try:
                await request.await_outcome(deadline)
            except BaseException:
                request.release()
                raise
        if isinstance(request.exception, BackendError):
            raise request.exception
        return request

    async def asubmit_calls(
        self, task: str | JobDefinition[R_co], calls: Iterable[Call], **options: Any
    ) -> list[JobRequest[R_co]]:
        """Submit one foreground job many times, and await the outcomes; `Job.amap` uses this."""
        preparation = Preparation(self.options, False, explicit=options)
        requests = preparation.requests(calls, lambda call: (task, call), "items")
        if requests:
            await deliver_on_loop(requests, self._servers, preparation.settings, wait=True)
        check_acknowledged(requests)
        return requests

    async def asubmit_multiple_jobs(
        self,
        jobs_to_submit: Iterable[Mapping[str, Any]],
        background: bool | None = False,
        wait_until_complete: bool | None = True,
        max_retries: int | None = None,
        poll_timeout: float | None = None,
    ) -> list[JobRequest]:
        """Do what `submit_multiple_jobs` does, without blocking the event loop."""
        check_flags(background=background, wait_until_complete=wait_until_complete)
        explicit, waits = limits(max_retries, poll_timeout), wait_until_complete is not False
        preparation = Preparation(self.options, bool(background), waits, explicit)
        requests = preparation.requests(jobs_to_submit, parse_job, "jobs_to_submit")
        check_delivery(requests)
        if requests:
            wait = waits and not background
            await deliver_on_loop(requests, self._servers, preparation.settings, wait=wait)
        check_acknowledged(requests)
        return requests

    async def aenqueue(self, job: JobDefinition[R_co], items: Iterable[Any]) -> JobBatch[R_co]:
        """Queue a background job for each item; `Job.aenqueue_many` uses this."""
        preparation = Preparation(self.options, background=True)
        items = [*items]
        if items and not is_seen(preparation, job):
            half = get_backend(self._servers, preparation.settings.transport).on_loop()
            specs = preparation.batch(job, items) if half is not None else None
            if half is not None and specs is not None:
                submissions = await half.submit_batch(specs)
                count(job, submissions)
                return sent_batch(preparation, job, items, specs, submissions, self._servers)
        rows = preparation.specs(job, (Call((item,)) for item in items), "items")
        requests = [preparation.make_request(job, *row) for row in rows]
        if requests:
            await deliver_on_loop(requests, self._servers, preparation.settings, wait=False)
        batch = JobBatch[R_co](len(requests), requests.__getitem__)
        check_batch(batch, [request.exception for request in requests])
        return batch

    async def await_until_jobs_completed(
        self, requests: Iterable[JobRequest], poll_timeout: float | None = None
    ) -> list[JobRequest]:
        """Do what `wait_until_jobs_completed` does, without blocking the event loop."""
        found = check_awaited(requests)
        seconds = self.options.wait if poll_timeout is None else poll_timeout
        deadline = deadline_after(seconds)
        recorded, elsewhere = [], []
        for request in found:
            if request.is_on_loop:
                with suppress(BackendError):  # the request has it as its .exception
                    await request.await_outcome(deadline)
            elif not request.background:
                elsewhere.append(request)
            elif is_stored(request):
                recorded.append(request)
        for some, wait in ((elsewhere, wait_in_thread), (recorded, wait_for_records)):
            if some:
                remaining = None if deadline is None else max(0.0, deadline - monotonic())
                await wait(f"job {some[0].task}", partial(wait_for, some, remaining), None)
        return found

    async def aget_job_status(self, request_or_handle: JobRequest[R_co] | str) -> JobRequest[R_co]:
        """Do what `get_job_status` does, without blocking the event loop."""
        request = request_of(request_or_handle, self.options)
        half = None
        if not environment.current().sees_submissions:
            half = get_backend(self._servers).on_loop()
        if half is not None:
            status = await half.job_status(request.handle)
        else:
            ask = partial(_job_status, self._servers, request.handle)
            status = await wait_in_thread(f"job {request.handle}", ask, None)
        request.set_status(status)
        return request

    async def aget_result(self, job_id: str, timeout: float | None = None) -> Any:
        """Do what `get_result` does, in a thread, as the result is in a database."""
        get = partial(keeper_for(job_id, timeout).result, job_id, timeout)
        return await wait_for_records(f"job {job_id}", get, timeout)

    async def acancel(self, job_id: str) -> CancelAnswer:
        """Do what `cancel` does, in the thread of Django's database queries."""
        return await in_thread_of_queries(partial(cancel, job_id))


def _job_status(servers: Servers, handle: str) -> Any:
    return use_backend(servers).job_status(handle)
