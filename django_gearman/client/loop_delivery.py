"""
Delivery of requests on an event loop.

If the transport has a half for event loops, no thread waits. Otherwise, and if code that may block
stands around the submission, it runs as it does in a thread: `delivery.deliver`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from .. import conf, environment
from ..backends import get_backend, use_backend
from ..backends.base import LoopBackend
from ..exceptions import BackendError
from ..jobs import counting, keeping
from ..jobs.context import running
from ..jobs.registry import registry
from ..middleware import chain_of
from ..signals import job_submitted
from ..utils.clock import monotonic
from .delivery import LEAST_SECONDS, Servers, deliver, write_context
from .request import JobRequest
from .threads import in_thread_of_queries, wait_in_thread


async def deliver_on_loop(
    requests: list[JobRequest], servers: Servers, settings: conf.JobSettings, *, wait: bool
) -> None:
    """Do what `deliver` does, without blocking the event loop."""
    deadline = await send_on_loop(requests, servers, settings, wait=wait)
    if not wait:
        return
    try:
        for request in requests:
            with suppress(BackendError):  # the request has it as its .exception
                await request.await_outcome(deadline)
    except BaseException:
        for request in requests:
            request.release()
        raise


async def send_on_loop(
    requests: list[JobRequest], servers: Servers, settings: conf.JobSettings, *, wait: bool
) -> float | None:
    """
    Submit requests, and return the time until which their outcomes are to be awaited (None: no limit).

    If that takes a thread, the thread also waits for the outcomes.
    """
    half = _half(requests, servers, settings)
    if half is None:
        await _deliver_in_thread(requests, servers, settings, wait=wait)
        return None
    seconds, deadline, limit = requests[0].options.wait, None, None
    if seconds is not None:
        deadline = monotonic() + seconds
        if wait and seconds > 0:  # 0 waits for no outcome, but for the server
            limit = max(deadline, monotonic() + LEAST_SECONDS)
    # A caller that waits for the outcome need not be woken for the acknowledgement, too.
    acknowledged = not wait or seconds == 0 or bool(job_submitted.receivers)
    if settings.middleware and (chain := chain_of(settings.middleware)).around_asubmit:
        send = partial(_send, half, servers, limit, acknowledged)
        await chain.asubmit(requests, partial(_write_and_send, send))
    else:
        await _send(half, servers, limit, acknowledged, requests)
    if job_submitted.receivers:
        await _send_signals(requests)
    if counting.counter is not None:
        counting.counter.submitted(requests)
    return deadline


def send_now(request: JobRequest, servers: Servers, settings: conf.JobSettings) -> bool:
    """
    Send a job whose outcome the caller awaits, if nothing has to be awaited for that; return True if
    it was sent.
    """
    if settings.middleware or job_submitted.receivers or request.options.wait == 0:
        return False
    half = _half([request], servers, settings)
    submission = None if half is None else half.send_now(request.spec)
    if submission is None:
        return False
    request.sent(submission, servers)
    if counting.counter is not None:
        counting.counter.submitted([request])
    return True


async def _send(
    half: LoopBackend,
    servers: Servers,
    limit: float | None,
    acknowledged: bool,
    requests: list[JobRequest],
) -> None:
    specs = [request.spec for request in requests]
    submissions = await half.submit(specs, limit, acknowledged=acknowledged)
    for request, submission in zip(requests, submissions, strict=True):
        request.sent(submission, servers)


async def _write_and_send(
    send: Callable[[list[JobRequest]], Awaitable[None]], requests: list[JobRequest]
) -> None:
    for request in requests:
        write_context(request)
    if requests:
        await send(requests)


async def _send_signals(requests: Sequence[JobRequest]) -> None:
    for request in requests:
        if request.exception is None:
            job = registry.find(request.task)
            await job_submitted.asend_robust(job, request=request)


def _half(
    requests: Sequence[JobRequest], servers: Servers, settings: conf.JobSettings
) -> LoopBackend | None:
    """Return the half of the transport for this loop, if nothing here may block."""
    options = requests[0].options
    if options.on_commit or options.resubmit or environment.current().sees_submissions:
        return None
    if settings.middleware and chain_of(settings.middleware).submits_in_thread:
        return None
    if keeping.keeper is not None and keeping.any_is_recorded(requests):
        return None
    run = running.get()
    if run is not None and run.session.slots == 1:
        alone = run.session.functions
        if any(request.spec.function in alone for request in requests):
            return None  # the job may wait for itself, and finding out may block
    return get_backend(servers, settings.transport).on_loop()


async def _deliver_in_thread(
    requests: list[JobRequest], servers: Servers, settings: conf.JobSettings, *, wait: bool
) -> None:
    call = partial(deliver, requests, servers, settings, wait=wait)
    if wait and not use_backend(servers).runs_in_caller:
        await wait_in_thread(f"job {requests[0].task}", call, requests[0].options.wait)
    else:
        await in_thread_of_queries(call)
