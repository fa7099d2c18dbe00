"""Delivery of requests to the job servers: at once or on commit, and again if requested."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, transaction

from .. import conf, environment
from ..backends import get_backend
from ..exceptions import (
    BackendError,
    ConnectionLost,
    InvalidBackend,
    JobLost,
    SerializationError,
    ServerUnavailable,
    SubmitUncertain,
)
from ..jobs import counting, keeping
from ..jobs.context import running
from ..jobs.identity import reserved_of
from ..jobs.options import Options
from ..jobs.registry import registry
from ..middleware import chain_of
from ..serializers import check_bytes, digest_of
from ..signals import job_submitted, submit_failed
from ..utils.clock import monotonic
from ..utils.records import get_logger
from ..utils.waiting import called_at, deadline_after, pause, submit_by
from ..worker.inline import run_queued
from .described import JOB_PENDING
from .lookout import refuse_to_wait_for_itself
from .request import JobRequest

logger = get_logger("django_gearman.jobs")

Servers = Sequence[Any] | None
_Send = Callable[[list[JobRequest]], None]

_NOTHING: AbstractContextManager[object] = nullcontext()

LEAST_SECONDS = 0.1  # for a submission, even if the caller waits for less

#: The errors for which resubmit exists: the job may or may not have run.
_RETRIED = (ServerUnavailable, SubmitUncertain, ConnectionLost, JobLost)


#: A function that sends the requests, servers and alias of a transaction, with the last argument. It
#: keeps them in the database until they are sent.
Outbox = Callable[[list[JobRequest], Servers, str, _Send], None]
_outbox: Outbox | None = None


def use_outbox(outbox: Outbox) -> None:
    """Make this the outbox of GEARMAN_OUTBOX; an app calls this when Django starts."""
    global _outbox
    _outbox = outbox


def deliver(
    requests: list[JobRequest],
    servers: Servers,
    settings: conf.JobSettings,
    *,
    wait: bool,
    durable: bool = False,
) -> None:
    """
    Submit requests with the same delivery options, and wait for them if requested.

    With `durable`, jobs that are sent on commit go through the outbox even without GEARMAN_OUTBOX.
    `state` and `exception` of each have the outcome. Raises ServerUnavailable if nothing was sent.
    """
    options = requests[0].options
    if wait and running.get() is not None:
        refuse_to_wait_for_itself(requests, servers, options.wait)
    send: _Send = partial(_send_once, servers, settings.transport)
    if options.on_commit:
        is_durable = durable or settings.outbox is not False
        send = partial(_send_through_outbox if is_durable else _send_on_commit, servers)
    if keeping.keeper is not None and keeping.any_is_recorded(requests):
        send = partial(keeping.keeper.submit, send=send)
    if settings.middleware:
        send = _through_middleware(settings.middleware, send)
    if options.on_commit:
        send(requests)
    else:
        _send(requests, send, wait)


def _through_middleware(setting: Any, send: _Send) -> _Send:
    """Return a function that passes requests through the project's middleware to `send`."""
    chain = chain_of(setting)
    if not chain.around_submit:
        return send

    def write_and_send(requests: list[JobRequest]) -> None:
        for request in requests:
            write_context(request)
        if requests:
            send(requests)

    return partial(chain.submit, submit=write_and_send)


def write_context(request: JobRequest) -> None:
    """Write the context of a request, which middleware may have changed, into its job."""
    if "context" not in vars(request):
        return  # nothing has looked at it
    context = {**reserved_of(request.call.context), **request.context}
    if context != request.call.context:
        serializer, spec = request.serializer, request.spec
        call = request.call._replace(context=context)
        dumps = serializer.dumps_external if spec.external else serializer.dumps_call
        try:
            workload = check_bytes(dumps(call), serializer)
        except SerializationError as error:
            raise SerializationError(f"the context of job {request.task}: {error}") from error
        request.call, request.spec = call, spec._replace(workload=workload)


def _send_on_commit(servers: Servers, requests: list[JobRequest]) -> None:
    options = requests[0].options
    for request in requests:
        request.state = JOB_PENDING
    alias = options.on_commit if isinstance(options.on_commit, str) else None
    failure = options.on_commit_failure or conf.on_commit_failure()
    committed = _Committed(requests, servers, raises=failure == "raise")
    environment.current().on_commit(transaction.on_commit, committed, alias)
    committed.is_now = False


def _send_through_outbox(servers: Servers, requests: list[JobRequest]) -> None:
    setting, on_commit = conf.outbox(), requests[0].options.on_commit
    if _outbox is None:
        raise ImproperlyConfigured(
            "GEARMAN_OUTBOX needs a table: add 'django_gearman.contrib.store' to INSTALLED_APPS, and "
            "run manage.py migrate"
        )
    for request in requests:
        request.state = JOB_PENDING
    own = setting if isinstance(setting, str) else DEFAULT_DB_ALIAS
    alias = on_commit if isinstance(on_commit, str) else own
    send = partial(_send_once, servers, None)
    _outbox(requests, servers, alias, partial(_send, send=send, wait=False))


def wait_for(requests: Sequence[JobRequest], timeout: float | None) -> None:
    """Wait up to `timeout` seconds in all for every request."""
    _wait_until(requests, deadline_after(timeout))


def _wait_until(requests: Sequence[JobRequest], deadline: float | None) -> None:
    for request in requests:
        try:
            request.wait_until(deadline)
        except BackendError:
            continue  # the request has it as its .exception


class _Committed:
    """
    The sender of requests after their transaction has committed; at once if there is none.

    At that time the data is safe, but the jobs are not. If no server takes them, the project's
    other callbacks still run, unless `on_commit_failure` is "raise".
    """

    def __init__(self, requests: list[JobRequest], servers: Servers, *, raises: bool) -> None:
        self.is_now = True  # the submitter can get the error
        self._raises = raises
        self._requests = requests
        self._send = partial(_send_once, servers, None)

    def __call__(self) -> None:
        if self.is_now:
            _send(self._requests, self._send, wait=False)
            return
        try:
            _send(self._requests, self._send, wait=False)
        except (BackendError, InvalidBackend) as error:
            unsent = [request for request in self._requests if request.state == JOB_PENDING]
            if not unsent:
                raise  # its cause happened later
            failure = error if isinstance(error, BackendError) else ServerUnavailable(str(error))
            for request in unsent:
                request.fail(failure)
        failed = [request for request in self._requests if request.exception is not None]
        for request in failed:
            _tell_failure(request)
        for request in failed:
            if request.exception is not None and (
                self._raises or isinstance(request.exception, AssertionError)  # a test's
            ):
                raise request.exception


def _tell_failure(request: JobRequest) -> None:
    error = request.exception
    job = registry.find(request.task)
    fact = "may not have been" if isinstance(error, SubmitUncertain) else "was not"
    logger.error(
        "job %s (no handle) %s submitted when its transaction had committed, with arguments of "
        "digest %s: %s",
        *(request.task, fact, digest_of(request.call, request.serializer), error),
        extra={"gearman_job": request.task, "gearman_queue": job.queue if job is not None else ""},
    )
    submit_failed.send_robust(job, request=request, exception=error)


def _send(requests: list[JobRequest], send: _Send, wait: bool) -> None:
    options = requests[0].options
    deadline, limit = (None, None) if options.wait is None else limits_of(options, wait=wait)
    token = submit_by.set(limit)
    try:
        here = environment.current()
        with here.around_call(requests) if here.sees_submissions else _NOTHING:
            if options.resubmit:
                _send_repeatedly(requests, send, deadline, wait)
                return
            send(requests)
            if wait:
                _wait_until(requests, deadline)
    finally:
        submit_by.reset(token)


def limits_of(options: Options, *, wait: bool) -> tuple[float | None, float | None]:
    """Return the monotonic times that limit waiting for outcomes, and submitting (None: no limit)."""
    if options.wait is None:
        return None, None
    deadline = (called_at.get() or monotonic()) + options.wait
    if not wait or options.wait == 0:  # 0 waits for no outcome, but for the server
        return deadline, None
    return deadline, max(deadline, monotonic() + LEAST_SECONDS)


def _send_repeatedly(
    requests: list[JobRequest], send: _Send, deadline: float | None, wait: bool
) -> None:
    retries = requests[0].options.resubmit or 0
    unavailable: ServerUnavailable | None = None
    for attempt in range(retries + 1):
        if attempt and not _pause_before(attempt, deadline if wait else None):
            break
        try:
            send(requests)
            unavailable = None
        except ServerUnavailable as error:
            unavailable = error
            continue
        if wait:
            _wait_until(requests, deadline)
        if attempt < retries:
            requests = [r for r in requests if isinstance(r.exception, _RETRIED)]
            if not requests:
                return
    if unavailable is not None and requests[0].exception is None:
        raise unavailable  # otherwise an earlier attempt sent it, and its .exception says so


def _pause_before(attempt: int, deadline: float | None) -> bool:
    """Sleep for a moment; return True if there is time for another attempt."""
    seconds = min(2.0, 0.05 * 2**attempt) * random.uniform(0.5, 1.0)
    if deadline is not None and monotonic() + seconds >= deadline:
        return False
    return pause(seconds)


def _send_once(
    servers: Servers, settings: tuple[Any, Any, Any] | None, requests: list[JobRequest]
) -> None:
    here = environment.current()
    backend = get_backend(servers, settings, here)
    transport = here.transport(backend, requests)
    submissions = transport.submit([request.spec for request in requests])
    tells = bool(job_submitted.receivers)
    for request, submission in zip(requests, submissions, strict=True):
        request.sent(submission, servers)
        if tells and submission.error is None:
            job_submitted.send_robust(registry.find(request.task), request=request)
    if counting.counter is not None:
        counting.counter.submitted(requests)
    if backend.runs_in_caller:
        run_queued(backend)
