"""Finding records: by state, job, error, queue, time and id, also among a million."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import Q, QuerySet, Subquery

from .models import JobRecord
from .reading import FINISHED
from .redaction import storable
from .writing import database

Status = JobRecord.Status

#: The largest number that `count_up_to` returns, if nothing else is asked for.
MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Choice:
    """
    A choice of records with one status; None chooses all values.

    `exception` is the name of a class, with or without its module. `since` and `until` are for the
    time at which a job has ended, or for the time of its submission if it has not ended.
    """

    status: str = Status.FAILED
    job: str | None = None
    exception: str | None = None
    fingerprint: str | None = None
    queue: str | None = None
    since: datetime.datetime | None = None
    until: datetime.datetime | None = None
    ids: tuple[str, ...] | None = None

    @property
    def moment(self) -> str:
        """The column with the time of a record in lists."""
        return "finished_at" if self.status in FINISHED else "enqueued_at"

    def records(self) -> QuerySet[JobRecord]:
        """Return the records, the latest first."""
        exact = {
            "name": self.job,
            "fingerprint": self.fingerprint,
            "queue": self.queue,
            f"{self.moment}__gte": self.since,
            f"{self.moment}__lte": self.until,
            "pk__in": self.ids,
        }
        conditions = {
            column: _stored(value) for column, value in exact.items() if value is not None
        }
        found = JobRecord.objects.using(database()).filter(status=self.status, **conditions)
        if self.exception is not None:
            found = found.filter(exception__in=_classes(found, storable(self.exception)))
        return found.order_by(f"-{self.moment}", "-pk")


def count_up_to(records: QuerySet[JobRecord], most: int = MOST_COUNTED) -> int:
    """Return the number of records, or `most` + 1 if there are more: a full count may take long."""
    return records.order_by().values("status")[: most + 1].count()


def counts_by_status(most: int = MOST_COUNTED) -> dict[str, int]:
    """Return the number of records with each status, up to `most` + 1, with one query."""
    alias = database()
    parts, parameters = [], []
    for status in Status.values:
        some = JobRecord.objects.using(alias).filter(status=status).order_by()
        compiler = some.values("status")[: most + 1].query.get_compiler(alias)
        sql, values = compiler.as_sql()
        parts.append(f"(SELECT COUNT(*) FROM ({sql}) {status.lower()})")
        parameters += values
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", parameters)
        return dict(zip(Status.values, cursor.fetchone(), strict=True))


def firsts(querysets: Iterable[QuerySet[Any]]) -> Q:
    """
    Return a condition for the first row of each query set, all with one query.

    It is not `pk__in`: MySQL has no LIMIT in a subquery that stands alone in it.
    """
    return Q(*(Q(pk=Subquery(each.values("pk")[:1])) for each in querysets), _connector=Q.OR)


def _stored(value: Any) -> Any:
    """Return a value as records have it: PostgreSQL refuses some characters also in a query."""
    if isinstance(value, tuple):
        return [storable(each) for each in value]
    return storable(value) if isinstance(value, str) else value


def _classes(records: QuerySet[JobRecord], name: str) -> list[str]:
    """
    Return the exceptions of records with this name, with or without their modules.

    They are looked up in the index first, because no index helps to compare the end of a text.
    """
    if "." in name:
        return [name]
    named = records.filter(Q(exception=name) | Q(exception__endswith=f".{name}"))
    return [*named.order_by().values_list("exception", flat=True).distinct()]
