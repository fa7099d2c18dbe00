"""
Claims: which run of a job may write its record.

A claim adds 1 to the `run` of the record, and later writes name that number. So a run whose job was
given to another worker meanwhile changes nothing. Each write compares and sets in one statement.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from ...worker.execution import Run
from ...worker.runs import Ending
from . import columns
from .errors import worker_id
from .models import JobRecord
from .reading import FINISHED, Row, cancelled_ending, ending_of
from .redaction import storable

COLUMNS = (
    *("id", "name", "function", "status", "handle", "errors", "result"),
    *("run", "attempts", "worker_ids", "started_at", "cancelled_at"),
)
_TRIES = 20  # each time, another process was faster


@dataclass(slots=True)
class Claim:
    """
    The claim of a run on its record; `number` is 0 if it has none.

    `errors` are those of the attempts before, `worker_ids` the workers of the claims, this one last.
    `is_broken` if the store could not be reached.
    """

    number: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    worker_ids: list[str] = field(default_factory=list)
    started_at: datetime.datetime | None = None
    is_broken: bool = False


class Overtaken(Exception):
    """The error of a write if other processes always were faster."""


def claim(run: Run, alias: str, *, creates: bool) -> Ending | None:
    """
    Claim the record of a run; return the ending instead if its job had ended before.

    If there is no record, write one if `creates`.
    """
    for _ in range(_TRIES):
        row = _row(run.identity.id, alias)
        if row is None:
            if not creates:
                return None
            if _create(run, alias, {"status": JobRecord.Status.RUNNING}):
                run.record = Claim(1, worker_ids=[worker_id()])
                return None
        elif has_ended(run, row):
            if row["status"] == JobRecord.Status.CANCELLED and row["handle"]:
                # It is no longer on the job server, so no later job can merge with it.
                JobRecord.objects.using(alias).filter(pk=row["id"], run=row["run"]).update(
                    handle=""
                )
            return ending_of(row)
        elif is_cancelled(row):  # while another worker ran it, which has died
            if _change(row, alias, columns.of_cancelled()):
                return cancelled_ending()
        else:
            begun = _begun(run, row)
            if _change(row, alias, {**begun, "status": JobRecord.Status.RUNNING}):
                who, since = begun["worker_ids"], begun["started_at"]
                run.record = Claim(row["run"] + 1, row["errors"], who, since)
                return None
    raise Overtaken(f"the record of job {run.identity.id} changes all the time")


def write(run: Run, ending: Ending, alias: str) -> bool:
    """Write the ending of a run; return False if the record belongs to another run by now."""
    held: Claim | None = run.record
    if held is not None and held.number:
        mine = JobRecord.objects.using(alias).filter(pk=run.identity.id, run=held.number)
        if not _may_end_so(ending):
            mine = mine.filter(cancelled_at=None)
        return bool(mine.update(**columns.of_ending(run, ending, held.errors)))
    for _ in range(_TRIES):
        row = _row(run.identity.id, alias)
        if row is None:
            if _create(run, alias, columns.of_ending(run, ending, [])):
                run.record = Claim(1)
                return True
        elif has_ended(run, row) or (is_cancelled(row) and not _may_end_so(ending)):
            return False
        else:
            ended = columns.of_ending(run, ending, row["errors"])
            is_dead_workers = held is None and _is_running(run, row)
            begun = {} if is_dead_workers else _begun(run, row)
            if _change(row, alias, {**begun, **ended}):
                run.record = Claim(row["run"] + 1, row["errors"])
                return True
    raise Overtaken(f"the record of job {run.identity.id} changes all the time")


def has_ended(run: Run, row: Row) -> bool:
    """
    Return True if a record is that of this very job, and says that it has ended.

    The id of a job of another program may be made of its unique, which that program uses again.
    """
    return row["status"] in FINISHED and run.identity.enqueued_at is not None


def cancel_run(run: Run, alias: str) -> bool:
    """
    If a user has cancelled the job of a run that failed, end it as cancelled and return True.
    """
    rows = JobRecord.objects.using(alias).filter(pk=run.identity.id, cancelled_at__isnull=False)
    rows = rows.filter(status=JobRecord.Status.RUNNING)
    held: Claim | None = run.record
    if held is not None and held.number:
        rows = rows.filter(run=held.number)
    return bool(rows.update(**columns.of_cancelled(), run=F("run") + 1))


def _may_end_so(ending: Ending) -> bool:
    """Return True if a cancelled job may end like this."""
    return ending.state in ("succeeded", "cancelled")


def is_cancelled(row: Row) -> bool:
    """Return True if a user has cancelled the job of this record while it ran."""
    is_running = row["status"] == JobRecord.Status.RUNNING
    return is_running and row["cancelled_at"] is not None


def _is_running(run: Run, row: Row) -> bool:
    """Return True if a worker has claimed this run of the job."""
    handle = storable(run.assigned.handle)[:255]
    return bool(row["status"] == JobRecord.Status.RUNNING and row["handle"] == handle)


def _row(job_id: str, alias: str) -> Row | None:
    row: Row | None = JobRecord.objects.using(alias).filter(pk=job_id).values(*COLUMNS).first()
    return row


def _begun(run: Run, row: Row) -> dict[str, Any]:
    """Return the columns of a run that begins."""
    now = timezone.now()
    return {
        **columns.of_attempt(run),
        "worker_ids": [*row["worker_ids"], worker_id()][-columns.MAX_WORKERS :],
        "started_at": row["started_at"] or now,
        "last_attempted_at": now,
        "result": None,
    }


def _change(row: Row, alias: str, values: dict[str, Any]) -> bool:
    """Update a record unless it was claimed meanwhile, and return True if it was not."""
    unchanged = JobRecord.objects.using(alias).filter(
        pk=row["id"], run=row["run"], status=row["status"]
    )
    return bool(unchanged.update(**values, run=row["run"] + 1))


def _create(run: Run, alias: str, values: dict[str, Any]) -> bool:
    """Write the first record of a job; return False if there is one by now."""
    now = timezone.now()
    arguments, _ = columns.of_call(run.job, run.call, run.context, run.assigned.workload)
    if not run.is_readable:
        arguments["call"] = ""
    begun = {"started_at": now, "last_attempted_at": now, "worker_ids": [worker_id()], "run": 1}
    all_values = {**columns.of_run(run), **arguments, **begun, **values}
    return insert(run.identity.id, alias, all_values)


def insert(job_id: str, alias: str, values: dict[str, Any]) -> bool:
    """Write a new record; return False if there is one of this id."""
    try:
        with transaction.atomic(using=alias):
            JobRecord.objects.using(alias).create(id=job_id, **values)
    except IntegrityError:
        return False
    return True
