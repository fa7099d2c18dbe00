"""
The fast path: after the commit, the process that wrote the rows sends them itself.

The relay leaves a row alone for its first seconds, so usually only one of the two sends it. A
transaction may take longer than that. Then the fast path claims its rows, which a relay may hold.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connections, transaction

from .... import environment
from ....client.described import JOB_PENDING
from ....client.request import JobRequest
from ....exceptions import BackendError, InvalidBackend, ServerError, ServerUnavailable
from ....utils.clock import monotonic
from ....utils.records import get_logger, log
from ..functions import DatabaseTime
from ..models import FAST_PATH_SECONDS, OutboxJob
from .clearing import clear, make_due
from .refusals import charge
from .rows import write_rows

logger = get_logger("django_gearman.jobs")

_SAFE_SECONDS = FAST_PATH_SECONDS - 1.0

Send = Callable[[list[JobRequest]], None]


def submit(
    requests: list[JobRequest], servers: Sequence[Any] | None, alias: str, send: Send
) -> None:
    """
    Send these requests when the transaction of this database commits; keep them until then.

    Outside of a transaction they are sent at once, and kept only if no job server takes them.
    """
    connection = connections[alias]
    if not environment.current().is_in_transaction(connection):
        _send_now(requests, servers, alias, send)
        return
    keys = write_rows(requests, servers, alias)
    if not connection.in_atomic_block:
        return  # without autocommit, Django does not know of the commit; a relay sends the rows
    committed = _Committed(requests, keys, alias, send)
    environment.current().on_commit(transaction.on_commit, committed, alias)


def _send_now(
    requests: list[JobRequest], servers: Sequence[Any] | None, alias: str, send: Send
) -> None:
    try:
        send(requests)
    except ServerUnavailable as error:
        _keep([r for r in requests if r.state == JOB_PENDING], servers, alias, error)
    uncertain = [request for request in requests if _is_uncertain(request)]
    if uncertain:
        _keep(uncertain, servers, alias, uncertain[0].exception)


def _keep(
    requests: list[JobRequest],
    servers: Sequence[Any] | None,
    alias: str,
    error: BaseException | None,
) -> None:
    keys = write_rows(requests, servers, alias)
    _wait(requests, error)
    make_due(keys, alias)


def _is_uncertain(request: JobRequest) -> bool:
    error = request.exception
    return isinstance(error, BackendError) and not isinstance(error, ServerError)


def _wait(requests: list[JobRequest], error: BaseException | None) -> None:
    """Record that requests wait in the outbox."""
    for request in requests:
        request.state, request.exception = JOB_PENDING, None
        message = "job %s waits in the outbox, and is sent later: %s"
        extra = {"gearman_job": request.task, "gearman_id": request.id}
        log(logger, logging.WARNING, message, request.task, error, extra=extra)


class _Committed:
    """The sender of requests after the commit of their rows. It raises only what a test needs."""

    def __init__(self, requests: list[JobRequest], keys: list[int], alias: str, send: Send) -> None:
        self._rows = dict(zip(keys, requests, strict=True))
        self._alias = alias
        self._send = send
        self._written = monotonic()

    def __call__(self) -> None:
        rows = self._rows
        if monotonic() - self._written > _SAFE_SECONDS:
            claimed = _claim([*rows], self._alias)
            rows = {key: request for key, request in rows.items() if key in claimed}
        if not rows:
            return
        error: BaseException | None = None
        try:
            self._send([*rows.values()])
        except (BackendError, InvalidBackend) as failure:
            error = failure
        finally:  # also after an exception of a job that a test runs at once
            self._settle(rows, error)

    def _settle(self, rows: dict[int, JobRequest], error: BaseException | None) -> None:
        unsent = {key: each for key, each in rows.items() if each.state == JOB_PENDING}
        failed = {key: each for key, each in rows.items() if each.exception is not None}
        clear([*(rows.keys() - unsent.keys() - failed.keys())], self._alias)
        make_due([*unsent], self._alias)
        errors = [request.exception for request in failed.values()]
        for key, request in (unsent | failed).items():
            if isinstance(request.exception, ServerError):
                charge(key, self._alias, 0, request.exception)
            _wait([request], request.exception or error)
        for raised in errors:
            if isinstance(raised, AssertionError):  # of a test, which forbids the transport
                raise raised


def _claim(keys: list[int], alias: str) -> set[int]:
    """
    Return the rows that are still there, and make relays leave them alone for some seconds more.

    This waits for a relay that has locked them; when it has sent them, they are gone.
    """
    with transaction.atomic(alias):
        rows = OutboxJob.objects.using(alias).filter(pk__in=keys)
        found = {*rows.select_for_update().order_by("pk").values_list("pk", flat=True)}
        rows.update(next_try_at=DatabaseTime(FAST_PATH_SECONDS))
    return found
