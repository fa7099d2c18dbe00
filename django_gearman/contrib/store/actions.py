"""
The actions of people on failed jobs: run them again, or discard them.

Both work in batches, each in a separate transaction. So they can be interrupted, and started again
for the rest. A job is changed only if it still is a failure: if two people retry it at once, it
runs once.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.crypto import get_random_string

from ... import conf, environment
from ...jobs.identity import CARRIED, Identity, carried_identity
from ...protocol.messages import JobSpec, Priority
from ...serializers import BareCall
from ...utils.records import log
from ...utils.text import quoted
from .attempts import comparable
from .columns import expiry
from .finding import Choice
from .models import JobRecord, OutboxJob
from .outbox.relay import Relay
from .outbox.rows import row_of, write_due_rows
from .reading import serializer_of
from .redaction import storable
from .writing import database, delete_still, in_transaction, logger

Status = JobRecord.Status

#: Records that are changed in one transaction.
BATCH = 1000
_COLUMNS = ("id", "name", "function", "backend", "workload", "attempts", "priority")
_PRIORITIES = {-1: Priority.LOW, 0: Priority.NORMAL, 1: Priority.HIGH}

#: Ids, or a query set of records.
Records = QuerySet[JobRecord] | Iterable[str]
#: A function that is called after each batch, with the number of jobs so far; False ends the action.
Progress = Callable[[int], object]


@dataclass
class Retried:
    """
    The outcome of `retry`.

    `count` jobs run again; `waiting` of them wait in the outbox, because no job server took them.
    `refused` has the reason for each job that cannot run again, by id.
    """

    count: int = 0
    waiting: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def failures(
    *,
    job: str | None = None,
    exception: str | None = None,
    since: datetime.datetime | datetime.timedelta | None = None,
) -> QuerySet[JobRecord]:
    """
    Return the records of failed jobs, the latest first.

    `job` is a job's name. `exception` is the name of a class, with or without its module. `since`
    is the time of the failure, or how long ago that may be.
    """
    for name, value, example in (("job", job, "shop.charge"), ("exception", exception, "KeyError")):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{name} is a name like {example!r}, not {quoted(value)}")
    if since is not None and not isinstance(since, (datetime.datetime, datetime.timedelta)):
        raise TypeError(f"since is a datetime or a timedelta, not {quoted(since)}")
    try:
        if isinstance(since, datetime.timedelta):
            since = timezone.now() - since
        since = None if since is None else comparable(since)
    except OverflowError:
        raise ValueError(f"since is {quoted(since)}, which is too far away") from None
    return Choice(job=job, exception=exception, since=since).records()


def retry(records: Records, progress: Progress | None = None) -> Retried:
    """
    Run failed jobs again, under their ids; their attempts keep counting.

    Jobs that have not failed are left alone. A job whose arguments are not kept is refused.
    """
    outcome = Retried()
    for rows in _batches(records):
        alias = rows[0]._state.db or database()
        specs = {}
        for row in rows:
            try:
                specs[row.pk] = next_attempt(row)
            except ValueError as error:
                outcome.refused[row.pk] = str(error)
        claimed = in_transaction(partial(_queue, specs, alias), alias)
        outcome.count += len(claimed)
        _send_on_commit(alias)
        outcome.waiting += OutboxJob.objects.using(alias).filter(job_id__in=claimed).count()
        if progress is not None and progress(outcome.count) is False:
            break
    return outcome


def discard(records: Records, progress: Progress | None = None) -> int:
    """Delete the records of failed jobs, and return their number. Other jobs are left alone."""
    count = 0
    for rows in _batches(records):
        alias = rows[0]._state.db or database()
        failed = JobRecord.objects.using(alias).filter(status=Status.FAILED)
        # Django reads the rows if other models refer to them.
        count += delete_still(failed.only("pk"), [row.pk for row in rows], alias)
        if progress is not None and progress(count) is False:
            break
    return count


def next_attempt(row: JobRecord) -> JobSpec:
    """
    Return the next attempt of a failed job, with the bytes of its arguments as they came.

    Raises ValueError if the record does not have them.
    """
    if row.workload is None:
        raise ValueError(
            f"job {row.name} ({row.pk}) cannot run again: its record keeps no arguments, because the "
            "job declares sensitive=True, or its worker died with arguments too large to be handed on"
        )
    attempt, workload = row.attempts + 1, bytes(row.workload)
    identity = Identity(row.pk, row.pk, _PRIORITIES.get(row.priority, Priority.NORMAL))
    serializer = serializer_of(row.name, row.function, row.backend)
    # Loading may run code of the project. Unreadable bytes are sent as they are.
    with suppress(Exception):
        call = serializer.loads_call(workload)
        if serializer.carries_calls and type(call) is not BareCall:
            carried = carried_identity(call.context)
            if carried is not None and carried.id == row.pk:
                identity = carried
            context = {name: value for name, value in call.context.items() if name != CARRIED}
            context |= identity.carried()
            workload = serializer.dumps_call(call._replace(attempt=attempt, context=context))
    return JobSpec(
        row.function,
        workload,
        identity.unique_of(attempt),
        identity.priority,
        background=True,
    )


def _queue(specs: Mapping[str, JobSpec], alias: str) -> list[str]:
    """Make failed jobs ready, and write them into the outbox; return those that this call took."""
    claimed = _claim([*specs], alias)
    rows = OutboxJob.objects.using(alias)
    rows.filter(job_id__in=claimed).delete()  # of an attempt that was sent
    write_due_rows([row_of(specs[key], key) for key in claimed], alias)
    return claimed


def _send_on_commit(alias: str) -> None:
    """Send the rows of the outbox now, or after the transaction of the caller."""
    present = environment.current()

    def sweep() -> None:
        try:
            Relay(alias).sweep()
        except DatabaseError as error:  # a relay of a worker sends them
            log(logger, logging.WARNING, "jobs wait in the outbox: %s", error)

    if present.is_in_transaction(connections[alias]):
        present.on_commit(transaction.on_commit, sweep, alias)
    else:
        sweep()


def _batches(records: Records) -> Iterator[list[JobRecord]]:
    """Yield the failed jobs among records, in batches; each batch is read after the one before."""
    if isinstance(records, QuerySet) and _can_be_filtered(records):
        failed = records.filter(status=Status.FAILED).only(*_COLUMNS, "finished_at")
        # In the order of an index: a search by ids would visit the whole table.
        dated = failed.filter(finished_at__isnull=False).order_by("finished_at", "pk")
        last = dated.last()
        if last is not None:  # a job that fails once more meanwhile is not taken again
            dated = dated.filter(finished_at__lte=last.finished_at)
        left = dated
        while rows := [*left[:BATCH]]:
            yield rows
            last = rows[-1]
            later = Q(finished_at__gt=last.finished_at) | Q(pk__gt=last.pk)
            left = dated.filter(later, finished_at__gte=last.finished_at)
        undated = failed.filter(finished_at=None).order_by("pk")
        pk = ""
        while rows := [*undated.filter(pk__gt=pk)[:BATCH]]:
            yield rows
            pk = rows[-1].pk
        return
    keys = _ids_of(records)
    for start in range(0, len(keys), BATCH):
        some = JobRecord.objects.using(database()).filter(pk__in=keys[start : start + BATCH])
        if rows := [*some.filter(status=Status.FAILED).order_by("pk").only(*_COLUMNS)]:
            yield rows


def _can_be_filtered(records: QuerySet[Any]) -> bool:
    """Return True unless Django cannot filter a query set: then its records are found by their ids."""
    if not issubclass(records.model, JobRecord):
        raise TypeError(f"pass records of jobs, not a query set of {records.model.__name__}")
    query: Any = records.query
    return not (query.is_sliced or query.combinator or query.values_select)


def _ids_of(records: Records) -> list[str]:
    """Return the ids of records, each once; raise TypeError for anything else."""
    if isinstance(records, str):
        raise TypeError(f"pass a list of ids, not one: [{records!r}]")
    if not isinstance(records, Iterable):
        raise TypeError(f"pass ids in a list, or a query set of records, not {quoted(records)}")
    if isinstance(records, QuerySet):
        query: Any = records.query
        records = records if query.values_select else records.values_list("pk", flat=True)
    keys: dict[str, None] = {}
    for record in records:
        key: object = record.pk if isinstance(record, JobRecord) else record
        if not isinstance(key, str):
            raise TypeError(f"a job's id is a string, JobRequest.id, not {quoted(key)}")
        keys[storable(key)] = None
    return [*keys]


def _claim(keys: list[str], alias: str) -> list[str]:
    """
    Make failed jobs ready, and return those which are changed by this call.

    The rows are marked by the UPDATE itself, so this needs no locks that SQLite does not have.
    """
    mark = f"retry:{get_random_string(32)}"
    rows = JobRecord.objects.using(alias).filter(pk__in=keys)
    ttl = conf.failure_ttl()
    rows.filter(status=Status.FAILED).update(
        status=Status.READY,
        handle=mark,
        run=F("run") + 1,
        finished_at=None,
        run_after=None,
        cancelled_at=None,
        expires_at=expiry(ttl),
    )
    return [*rows.filter(handle=mark).order_by("pk").values_list("pk", flat=True)]
