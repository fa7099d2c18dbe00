"""
Cancelling jobs: one that waits by its record, one that runs by its supervisor.

The record of a job that waits, anywhere, becomes CANCELLED by compare-and-set. The worker that gets the
job later finds that it has ended, and does not run it. Nothing is removed from the job server.

The record of a job that runs is marked, and the supervisors on its host interrupt it. The run decides
how the record ends: a run that succeeds in that moment is SUCCESSFUL; one that fails, is interrupted,
killed or given to another worker is CANCELLED, and there is no further attempt.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from django.db import connections, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from ... import environment
from ...backends import get_backend_class
from ...jobs.keeping import CancelAnswer
from ...utils.records import log
from . import columns
from .control import asking, messages
from .missing import naming_missing_tables
from .models import JobRecord, OutboxJob
from .reading import FINISHED
from .writing import database, logger, safely

Status = JobRecord.Status

_COLUMNS = ("id", "status", "run", "run_after", "handle", "worker_ids")
_TRIES = 20  # each time, a worker was faster
_SECONDS = 1.0  # for supervisors to answer


def cancel(ids: Iterable[str]) -> dict[str, CancelAnswer]:
    """
    Cancel jobs by their ids; return the state of each job before.

    A transaction of the caller counts: jobs that run are interrupted when it commits. Errors of the
    database reach the caller.
    """
    alias = database()
    answers: dict[str, CancelAnswer] = {}
    running: list[dict[str, Any]] = []
    with naming_missing_tables(alias):
        for job_id in dict.fromkeys(ids):
            answers[job_id], row = _cancel(job_id, alias)
            if answers[job_id] is CancelAnswer.RUNNING and row is not None:
                running.append(row)
    if running:
        present = environment.current()
        interrupt = partial(_interrupt, running)
        if present.is_in_transaction(connections[alias]):
            present.on_commit(transaction.on_commit, interrupt, alias)
        else:
            interrupt()
    return answers


def revive(rows: QuerySet[JobRecord]) -> str | None:
    """
    Let a cancelled job that is still on the job server run; return its id, or None if there is none.

    A new submission with the same unique has been merged with it, and would be lost with it.
    """
    waiting = rows.filter(status=Status.CANCELLED, started_at=None)
    row = waiting.values("id", "run").first()
    if row is None:
        return None
    changed = {**columns.of_waiting(), "status": Status.READY, "cancelled_at": None}
    same = waiting.filter(pk=row["id"], run=row["run"])
    return row["id"] if same.update(**changed, run=F("run") + 1) else None


def is_cancelled(job_id: str) -> bool:
    """Return True if somebody has cancelled this job; False if the database fails."""

    def read(alias: str) -> bool:
        return JobRecord.objects.using(alias).filter(pk=job_id, cancelled_at__isnull=False).exists()

    return bool(safely(read, f"the cancellation of job {job_id}")[1])


def _cancel(job_id: str, alias: str) -> tuple[CancelAnswer, dict[str, Any] | None]:
    rows = JobRecord.objects.using(alias)
    for _ in range(_TRIES):
        row = rows.filter(pk=job_id).values(*_COLUMNS).first()
        if row is None:
            return CancelAnswer.UNKNOWN, None
        if row["status"] in FINISHED:
            return CancelAnswer.FINISHED, row
        now = timezone.now()
        unchanged = rows.filter(pk=job_id, status=row["status"], run=row["run"])
        if row["status"] == Status.RUNNING:
            if unchanged.update(cancelled_at=now):
                return CancelAnswer.RUNNING, row
            continue
        with transaction.atomic(using=alias):
            changed = {**columns.of_cancelled(), "cancelled_at": now, "run": F("run") + 1}
            if unchanged.update(**changed):
                OutboxJob.objects.using(alias).filter(job_id=job_id).delete()
                is_due = row["run_after"] is None or row["run_after"] <= now
                return (CancelAnswer.QUEUED if is_due else CancelAnswer.DELAYED), row
    raise RuntimeError(f"the record of job {job_id} changes all the time; try again")


def _interrupt(rows: list[dict[str, Any]]) -> None:
    """
    Ask the supervisors on the hosts of these jobs to interrupt them.

    Those that do not answer find the marks in the records.
    """
    if get_backend_class().local:
        return  # the jobs run in this process; they may ask, and end
    hosts: dict[str, dict[str, str]] = {}
    for row in rows:
        host = row["worker_ids"][-1].rpartition("/")[0] if row["worker_ids"] else ""
        hosts.setdefault(messages.plain(host), {})[row["id"]] = row["handle"]

    def jobs_of(supervisor: str) -> Mapping[str, Any] | None:
        jobs = hosts.get(supervisor.rpartition(":")[0])
        return {"jobs": jobs} if jobs else None

    for problem in asking.ask_all("cancel", _SECONDS, jobs_of).problems:
        log(logger, logging.WARNING, "a job that runs is cancelled a moment later: %s", problem)
