"""The keeper of records, which the core calls around each job."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import IntegrityError, connections

from ...client.request import JobRequest
from ...exceptions import BackendError, SerializationError, ServerUnavailable, SubmitUncertain
from ...jobs.definition import JobDefinition
from ...jobs.keeping import CancelAnswer, Keeper, Send, is_recorded
from ...jobs.registry import registry
from ...protocol.messages import AssignedJob
from ...protocol.names import own_handle
from ...signals import submit_failed
from ...utils.records import log
from ...worker.execution import Run
from ...worker.runs import Ending
from . import cancelling, claims, columns, reading, unread
from .models import JobRecord
from .writing import database, logger, safely

Status = JobRecord.Status


class Store(Keeper):
    """The records in the database."""

    def __init__(self) -> None:
        submit_failed.connect(self._lost)

    # Submitting

    def submit(self, requests: list[JobRequest], send: Send) -> None:
        recorded = []
        for request in requests:
            job = request.definition or registry.find(request.task)
            if job is not None and is_recorded(job):
                if job.varies:
                    job, _ = job.for_call(request.call)
                recorded.append((request, job))
        if not recorded:
            send(requests)
            return
        announced = self._announce(recorded)
        try:
            send(requests)
        except ServerUnavailable:
            self._withdraw(announced)
            raise
        refused = (BackendError,)
        self._withdraw(
            [
                request
                for request in announced
                if isinstance(request.exception, refused)
                and not isinstance(request.exception, SubmitUncertain)
            ]
        )
        for request in announced:
            if request.handle and request.spec.unique != request.id:
                safely(partial(_merge, request), _subject(request))

    def _announce(self, recorded: list[tuple[JobRequest, JobDefinition]]) -> list[JobRequest]:
        """Write the records of jobs that are about to be submitted; return these jobs."""
        alias = database()
        announced = [(r, job) for r, job in recorded if not _would_be_late(r, alias)]
        if not announced:
            return []

        def write(alias: str) -> None:
            rows = [JobRecord(**columns.of_request(request, job)) for request, job in announced]
            if len(rows) == 1 and not connections[alias].in_atomic_block:
                with suppress(IntegrityError):
                    rows[0].save(force_insert=True, using=alias)  # one statement, not three
                return
            JobRecord.objects.using(alias).bulk_create(rows, 500, ignore_conflicts=True)

        written, _ = safely(write, _subject(announced[0][0]))
        return [request for request, _ in announced] if written else []

    def _withdraw(self, requests: list[JobRequest]) -> None:
        """Delete the records of jobs that no server has."""
        if requests:
            ids = [request.id for request in requests]

            def delete(alias: str) -> None:
                rows = JobRecord.objects.using(alias).filter(pk__in=ids, run=0)
                rows.filter(status=Status.READY).delete()

            safely(delete, _subject(requests[0]))

    def _lost(self, request: JobRequest, exception: BaseException, **named: Any) -> None:
        """Record a job that could not be sent when its transaction had committed."""
        job = request.definition or registry.find(request.task)
        if job is not None and not isinstance(exception, SubmitUncertain):
            safely(partial(unread.write_lost, request, job, exception), _subject(request))

    # Running

    def begin(self, run: Run) -> Ending | None:
        written, ending = safely(
            partial(claims.claim, run, creates=is_recorded(run.job)), f"the run of {_name(run)}"
        )
        if not written:
            run.record = claims.Claim(is_broken=True)
        return ending

    def ending_of(self, run: Run) -> Ending | None:
        def read(alias: str) -> Ending | None:
            row = reading.find(run.identity.id)
            if row and claims.has_ended(run, row):
                return reading.ending_of(row)
            return reading.cancelled_ending() if row and claims.cancel_run(run, alias) else None

        return safely(read, f"the end of {_name(run)}")[1]

    def keep(self, run: Run, ending: Ending) -> Ending:
        held: claims.Claim | None = run.record
        if ending.state in ("succeeded", "cancelled"):
            if held is None and not is_recorded(run.job):
                return ending
            if ending.exception is None:
                ending = _check_size(run, ending)
        written, is_mine = safely(
            partial(claims.write, run, ending),
            f"the end of {_name(run)}",
            is_quiet=held is not None and held.is_broken,
        )
        if written and not is_mine and ending.state in ("failed", "retried"):
            was_cancelled = safely(partial(claims.cancel_run, run), f"the end of {_name(run)}")[1]
            if was_cancelled:
                return replace(reading.cancelled_ending(), seconds=ending.seconds)
        if written and not is_mine:
            message = "job %s (%s) had a newer run, or had ended: this run's %s end is not recorded"
            names = run.job.name, run.assigned.handle, ending.state
            log(logger, logging.WARNING, message, *names, extra=run.log_fields)
            if ending.again is not None and ending.exception is not None:
                return run.failed_for_good(ending.exception, ending)
        return ending

    def keep_unread(
        self, job: JobDefinition | None, assigned: AssignedJob, error: BaseException
    ) -> Ending | None:
        name = assigned.function if job is None else job.name
        subject = f"the end of job {name} ({assigned.handle})"
        return safely(partial(unread.write, job, assigned, error), subject)[1]

    # Reading

    def wait(self, request: JobRequest, deadline: float | None) -> bool:
        row = reading.await_ending(request.id, request.spec.function, deadline, must_exist=False)
        if row is None:
            return False
        reading.give(row, request)
        return True

    def result(self, job_id: str, timeout: float | None) -> Any:
        return reading.result_of(job_id, timeout)

    # Cancelling

    def cancel(self, job_id: str) -> CancelAnswer:
        return cancelling.cancel([job_id])[job_id]

    def is_cancelled(self, job_id: str) -> bool:
        return cancelling.is_cancelled(job_id)


def _name(run: Run) -> str:
    return f"job {run.job.name} ({run.assigned.handle})"


def _subject(request: JobRequest) -> str:
    return f"the submission of job {request.task} ({request.id})"


def _would_be_late(request: JobRequest, alias: str) -> bool:
    """
    Return True if the record would be invisible to the worker until the transaction commits.

    The job is sent at once, so its worker would wait for this transaction. It writes the record
    itself. The transaction around a test does not count.
    """
    if request.options.on_commit:
        return False
    blocks = connections[alias].atomic_blocks
    return any(not getattr(block, "_from_testcase", False) for block in blocks)


def _merge(request: JobRequest, alias: str) -> None:
    """Give a request the id of the waiting job with which its unique has merged it, if there is one."""
    rows = JobRecord.objects.using(alias)
    mine = rows.filter(pk=request.id, run=0, status=Status.READY)
    ending = "//" + own_handle(request.handle).decode(errors="replace")
    same = rows.filter(
        name=request.task,
        unique=columns.shown_unique(request.spec.unique),
        handle__endswith=ending,
    ).exclude(pk=request.id)
    other = same.filter(status__in=[Status.READY, Status.RUNNING])
    found = other.values_list("pk", flat=True).first() or cancelling.revive(same)
    if found is None:
        mine.update(handle=request.handle[:255])
    else:
        mine.delete()
        request.id = found


def _check_size(run: Run, ending: Ending) -> Ending:
    size = len(ending.outcome.data)  # type: ignore[attr-defined]
    if size <= columns.MAX_RESULT or not run.job.store_result:
        return ending
    run.was_called = False
    error = SerializationError(
        f"the result of job {run.job.name} has {size:,} bytes, and the store keeps up to "
        f"{columns.MAX_RESULT:,}: save it elsewhere, and return its file name or primary key"
    )
    return run.failed_for_good(error, ending)
