"""Troubles that the overview names beside those of the queues: the outbox and the schedules."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Count, Q

from ..store.functions import DatabaseTime
from ..store.missing import TableMissing, naming_missing_tables
from ..store.models import OutboxJob
from ..store.outbox.service import outbox_databases
from ..store.scheduler.declared import read_schedules
from ..store.scheduler.figures import figures_of
from ..store.scheduler.service import scheduler_database

#: Seconds after which a job in the outbox should have been sent.
LATE_SECONDS = 30
_MOST_SCHEDULES = 5  # in trouble, that are named one by one


def troubles() -> list[str]:
    """
    Return a sentence about each trouble.

    This takes a query for each database with an outbox, and two if there are schedules. Raises
    DatabaseError and TableMissing.
    """
    found: list[str] = []
    missing: list[TableMissing] = []
    aliases = outbox_databases()
    for alias in aliases:
        try:
            with naming_missing_tables(alias):
                found += _outbox(alias)
        except TableMissing as error:  # perhaps a database that is for other apps only
            missing.append(error)
    if missing and len(missing) == len(aliases):
        raise missing[0]
    return [*found, *_schedules()]


def _outbox(alias: str) -> Iterator[str]:
    where = "" if alias == DEFAULT_DB_ALIAS else f" of database {alias}"
    stuck, late = Q(next_try_at=None), Q(created_at__lt=DatabaseTime(-LATE_SECONDS))
    numbers = OutboxJob.objects.using(alias).aggregate(
        stuck=Count("pk", filter=stuck), late=Count("pk", filter=late & ~stuck)
    )
    if numbers["late"]:
        yield (
            f"{_jobs(numbers['late'])} waited for more than {LATE_SECONDS} s in the outbox{where}. "
            "Is a job server up, and does a gearman_worker or gearman_outbox send them?"
        )
    if numbers["stuck"]:
        yield (
            f"{_jobs(numbers['stuck'])} been refused by the job server. gearman_outbox --status shows "
            f"the reasons, and --retry sends what stays in the outbox{where}."
        )


def _schedules() -> list[str]:
    declared, mistakes = read_schedules()
    found = [*mistakes]
    if declared:
        now = datetime.datetime.now(datetime.UTC)
        rows = figures_of(declared, scheduler_database(), now)
        found += [f"Schedule {row['name']}: {row['trouble']}" for row in rows if row["trouble"]]
    if len(found) > _MOST_SCHEDULES:
        found[_MOST_SCHEDULES:] = [f"{len(found) - _MOST_SCHEDULES} more schedules are in trouble."]
    return found


def _jobs(number: int) -> str:
    return f"{number:,} job has" if number == 1 else f"{number:,} jobs have"
