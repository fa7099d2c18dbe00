"""Hand requests to the job servers: now or on commit, and again where that is asked for."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from django.db import transaction

from .backends import get_backend
from .clock import monotonic
from .deadlines import called_at
from .exceptions import BackendError, ConnectionLost, JobLost, ServerUnavailable, SubmitUncertain
from .instrumentation import active
from .registry import registry
from .request import JOB_PENDING, JobRequest
from .signals import job_submitted

Servers = Sequence[Any] | None

#: What max_retries is for: the job may or may not have run.
_RETRIED = (ServerUnavailable, SubmitUncertain, ConnectionLost, JobLost)


def deliver(requests: list[JobRequest], servers: Servers, *, wait: bool) -> None:
    """
    Submit requests whose options agree on their delivery, and wait for them if asked to.

    What becomes of each is told by its state and exception. Raises ServerUnavailable when nothing
    was sent.
    """
    on_commit = requests[0].options.on_commit
    if not on_commit:
        _send(requests, servers, wait)
        return
    for request in requests:
        request.state = JOB_PENDING
    alias = on_commit if isinstance(on_commit, str) else None
    send = partial(_send_committed, requests, servers)
    active().on_commit(transaction.on_commit, send, alias)


def wait_for(requests: Sequence[JobRequest], timeout: float | None) -> None:
    """Wait up to `timeout` seconds in all for every request."""
    _wait_until(requests, None if timeout is None else monotonic() + timeout)


def _wait_until(requests: Sequence[JobRequest], deadline: float | None) -> None:
    for request in requests:
        with suppress(BackendError):  # the request has it as its .exception
            request.wait_until(deadline)


def _send_committed(requests: list[JobRequest], servers: Servers) -> None:
    try:
        _send(requests, servers, wait=False)
    except ServerUnavailable as error:
        for request in requests:
            request.fail(error)
    for request in requests:
        if request.exception is not None:
            raise request.exception


def _send(requests: list[JobRequest], servers: Servers, wait: bool) -> None:
    options = requests[0].options
    retries = options.max_retries or 0
    deadline = None
    if options.timeout is not None:
        deadline = (called_at.get() or monotonic()) + options.timeout
    with active().delivery(requests):
        for attempt in range(retries + 1):
            if attempt:
                time.sleep(min(2.0, 0.05 * 2**attempt) * random.uniform(0.5, 1.0))
            try:
                _send_once(requests, servers)
            except ServerUnavailable:
                if attempt == retries and requests[0].exception is None:
                    raise  # otherwise an earlier attempt sent it, as its .exception tells
                continue
            if wait:
                _wait_until(requests, deadline)
            if attempt == retries:
                return
            requests = [r for r in requests if isinstance(r.exception, _RETRIED)]
            if not requests:
                return


def _send_once(requests: list[JobRequest], servers: Servers) -> None:
    submissions = active().submit(get_backend(servers), requests)
    tells = bool(job_submitted.receivers)
    for request, submission in zip(requests, submissions, strict=True):
        request.sent(submission)
        if tells and submission.error is None:
            job_submitted.send_robust(registry.find(request.task), request=request)
