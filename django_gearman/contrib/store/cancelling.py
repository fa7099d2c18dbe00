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
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
from .reading import FINISHED, Row
from .redaction import storable
from .writing import database, in_transaction, logger, safely

Status = JobRecord.Status

_COLUMNS = ("id", "status", "run", "run_after", "handle", "worker_ids")
_BATCH = 500  # jobs of one statement
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
    running: list[Row] = []
    keys = [*dict.fromkeys(ids)]
    with naming_missing_tables(alias):
        for start in range(0, len(keys), _BATCH):
            some, claimed = _cancel(keys[start : start + _BATCH], alias)
            answers |= some
            running += claimed
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
    """Return True if a user has cancelled this job; False if the database fails."""

    def read(alias: str) -> bool:
        return JobRecord.objects.using(alias).filter(pk=job_id, cancelled_at__isnull=False).exists()

    return bool(safely(read, f"the cancellation of job {job_id}")[1])


def _cancel(ids: Sequence[str], alias: str) -> tuple[dict[str, CancelAnswer], list[Row]]:
    """Cancel some jobs; return the state of each before, and the columns of those that run."""
    answers: dict[str, CancelAnswer] = {}
    running: list[Row] = []
    left = [*ids]
    for _ in range(_TRIES):
        rows = _rows({storable(job_id) for job_id in left}, alias)
        found = {row["id"]: row for row in rows.values(*_COLUMNS)}
        open_rows = [row for row in found.values() if row["status"] not in FINISHED]
        claimed = _claim(open_rows, alias)
        for job_id in left:
            row = found.get(storable(job_id))
            if row is None:
                answers[job_id] = CancelAnswer.UNKNOWN
            elif row["status"] in FINISHED:
                answers[job_id] = CancelAnswer.FINISHED
            elif row["id"] not in claimed:
                continue  # a worker was faster
            elif row["status"] == Status.RUNNING:
                answers[job_id] = CancelAnswer.RUNNING
                running.append(row)
            else:
                is_due = row["run_after"] is None or row["run_after"] <= timezone.now()
                answers[job_id] = CancelAnswer.QUEUED if is_due else CancelAnswer.DELAYED
        left = [job_id for job_id in left if job_id not in answers]
        if not left:
            return answers, running
    raise RuntimeError(f"the records of jobs {', '.join(left)} change all the time; try again")


def _rows(ids: Iterable[str], alias: str) -> QuerySet[JobRecord]:
    return JobRecord.objects.using(alias).filter(pk__in=sorted(ids))


def _claim(rows: Iterable[Row], alias: str) -> set[str]:
    """
    Cancel the jobs that wait, and mark those that run; return the ids of those still as in `rows`.

    Most jobs have the same state and number of claims, so this takes few statements.
    """
    groups: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for row in rows:
        groups[row["status"], row["run"]].append(row["id"])
    claimed: set[str] = set()
    for (status, run), ids in groups.items():
        claimed |= in_transaction(partial(_change, ids, status, run, alias), alias)
    return claimed


def _change(ids: Sequence[str], status: str, run: int, alias: str) -> set[str]:
    rows, mark = _rows(ids, alias), {"cancelled_at": timezone.now()}
    waits = status != Status.RUNNING
    changes = {**columns.of_cancelled(), "run": F("run") + 1} if waits else {}
    count = rows.filter(status=status, run=run).update(**mark, **changes)
    if count in (0, len(ids)):
        changed = {*ids} if count else set()
    else:
        changed = {*rows.filter(**mark).values_list("pk", flat=True)}
    if waits and changed:
        OutboxJob.objects.using(alias).filter(job_id__in=changed).delete()
    return changed


def _interrupt(rows: Sequence[Row]) -> None:
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
