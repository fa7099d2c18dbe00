"""
The relay: it sends the rows that a crash or an outage has left.

It locks some due rows, submits their jobs together, and deletes the acknowledged ones, in one
transaction. Other relays skip locked rows. It remembers no position, so it finds a row however late
its transaction commits.

If a batch fails for a reason that no single row gives, the next batches are smaller, down to one row.
So a fault counts only for the row that causes it, and the other rows are sent. An outage of a job
server is not the fault of a row.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import connections
from django.db.models import QuerySet

from .... import environment
from ....backends import get_backend
from ....backends.base import BaseBackend
from ....client.request import JobRequest
from ....exceptions import BackendError, InvalidBackend, ServerError, ServerUnavailable
from ....jobs import counting
from ....jobs.functions import job_functions
from ....jobs.registry import registry
from ....protocol.messages import JobSpec
from ....signals import job_submitted, submit_failed
from ....utils.records import get_logger, log
from ....worker.inline import run_queued
from ..functions import DatabaseTime
from ..models import OutboxJob
from .clearing import delete_rows
from .locking import exclusive, taking_turns
from .refusals import charge
from .rows import BATCH, COLUMNS, load_servers, request_of, spec_of

logger = get_logger("django_gearman.jobs")

_PING_SECONDS = 5.0
_SHRINK, _GROW = 8, 2  # factors of the size of a batch, after a failure and after a success

_Failed = list[tuple[OutboxJob, BaseException]]


@dataclass
class Report:
    """The work of a relay: numbers of rows, and the error of each server list that is down."""

    sent: int = 0
    refused: int = 0
    stuck: int = 0
    unreachable: dict[str, str] = field(default_factory=dict)

    def add(self, other: Report) -> None:
        self.sent += other.sent
        self.refused += other.refused
        self.stuck += other.stuck
        self.unreachable |= other.unreachable


class Relay:
    """A relay of one database."""

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._size = BATCH

    def sweep(self) -> Report:
        """Send all rows that are due; return the numbers. Raises DatabaseError."""
        report = Report()
        self._size = BATCH
        while (servers := self._next_servers(report)) is not None:
            try:
                backend = _reach(servers)
            except (BackendError, InvalidBackend, TypeError, ValueError) as error:
                report.unreachable[servers] = str(error)
                continue
            while self._send_batch(servers, backend, report):
                if backend.runs_in_caller:
                    run_queued(backend)
        return report

    def _due(self) -> QuerySet[OutboxJob]:
        return OutboxJob.objects.using(self._alias).filter(next_try_at__lte=DatabaseTime())

    def _next_servers(self, report: Report) -> str | None:
        """Return the servers of the next due row, without those that cannot be reached now."""
        due = self._due().exclude(servers__in=[*report.unreachable])
        return due.order_by("pk").values_list("servers", flat=True).first()

    def _send_batch(self, servers: str, backend: BaseBackend, report: Report) -> bool:
        """Send up to a batch of rows; return False if these servers have no more of them."""
        with taking_turns(self._alias), exclusive(self._alias):
            rows = self._lock_rows(servers)
            if not rows:
                return False
            try:
                failed, are_known = self._submit(rows, backend)
            except ServerUnavailable as error:
                report.unreachable[servers] = str(error)
                return False
            wrong = {row.pk for row, _ in failed}
            sent = [row.pk for row in rows if row.pk not in wrong]
            delete_rows(sent, self._alias)
            report.sent += len(sent)
            if are_known or self._size == 1:
                for row, fault in failed:
                    self._refuse(row, fault, report)
                self._size = min(BATCH, self._size * _GROW)
            else:
                self._size = max(1, min(self._size, len(rows)) // _SHRINK)
        return True

    def _lock_rows(self, servers: str) -> list[OutboxJob]:
        skips = connections[self._alias].features.has_select_for_update_skip_locked
        due = self._due().filter(servers=servers).select_for_update(skip_locked=skips)
        return [*due.order_by("pk").only(*COLUMNS)[: self._size]]

    def _submit(self, rows: Sequence[OutboxJob], backend: BaseBackend) -> tuple[_Failed, bool]:
        """
        Submit the jobs of rows; return the failed ones, and True if each is to blame for its error.

        Raises ServerUnavailable if nothing was sent.
        """
        failed: _Failed = []
        specs: list[tuple[OutboxJob, JobSpec]] = []
        for row in rows:
            try:
                specs.append((row, spec_of(row)))
            except (TypeError, ValueError) as error:
                failed.append((row, error))
        requests = self._requests(specs)
        transport = environment.current().transport(backend, requests)
        try:
            submissions = transport.submit([spec for _, spec in specs]) if specs else []
        except ServerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - of an unknown row; nothing was sent
            return [*failed, *((row, error) for row, _ in specs)], False
        are_known = True
        for place, (submission, (row, _)) in enumerate(zip(submissions, specs, strict=True)):
            if submission.error is not None:
                failed.append((row, submission.error))
                are_known = are_known and isinstance(submission.error, ServerError)
            elif requests:
                requests[place].sent(submission, load_servers(row.servers))
                job = registry.find(requests[place].task)
                job_submitted.send_robust(job, request=requests[place])
        if counting.counter is not None:
            counting.counter.submitted(requests)
        return failed, are_known

    def _requests(self, specs: Sequence[tuple[OutboxJob, JobSpec]]) -> list[JobRequest]:
        """Return the requests of jobs, if a receiver, a counter or a test will see them."""
        is_seen = job_submitted.receivers or counting.counter is not None
        if environment.current() is environment.PRODUCTION and not is_seen:
            return []
        jobs = job_functions()
        return [request_of(row, spec, jobs) for row, spec in specs]

    def _refuse(self, row: OutboxJob, error: BaseException, report: Report) -> None:
        stuck = charge(row.pk, self._alias, row.attempts, error)
        report.refused += 1
        report.stuck += stuck
        outcome = "is stuck in the outbox" if stuck else "stays in the outbox"
        message = "job %s (row %d) was refused in attempt %d, and %s: %s"
        arguments = row.function, row.pk, row.attempts + 1, outcome, error
        extra = {"gearman_job": row.function, "gearman_id": row.job_id}
        log(logger, logging.ERROR if stuck else logging.WARNING, message, *arguments, extra=extra)
        if stuck and submit_failed.receivers:
            try:
                request = request_of(row, spec_of(row), job_functions())
            except ValueError:
                return  # it was changed to nonsense
            failure = error if isinstance(error, BackendError) else BackendError(str(error))
            request.fail(failure)
            job = registry.find(request.task)
            submit_failed.send_robust(job, request=request, exception=failure)


def _reach(servers: str) -> BaseBackend:
    """
    Return a backend for the servers of a row, one of which answers.

    So no transaction is open while a connection is made.
    """
    backend = get_backend(load_servers(servers))
    answers = environment.current().transport(backend).ping(_PING_SECONDS)
    errors = [error for error in answers.values() if error is not None]
    if errors and len(errors) == len(answers):
        raise errors[0]
    return backend
