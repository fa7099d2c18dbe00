"""The database's clock."""

from __future__ import annotations

import datetime
import time
from typing import Any

from django.db import connections, models
from django.utils import timezone


class DatabaseTime(models.Func):
    """
    The present time by the database's clock, with `seconds` added.

    All processes agree on it, however their own clocks differ. It may stand in a query and in a
    `db_default`. On PostgreSQL it is the time of the statement, not that of the transaction.
    """

    output_field = models.DateTimeField()

    def __init__(self, seconds: float = 0) -> None:
        super().__init__(seconds=f"{seconds:+.3f}")

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "(STATEMENT_TIMESTAMP() + INTERVAL '%(seconds)s seconds')"
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_mysql(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        # Not CURRENT_TIMESTAMP: the time zone of the session may be another one than Django's.
        template = "(UTC_TIMESTAMP(6) + INTERVAL %(seconds)s SECOND)"
        return self.as_sql(compiler, connection, template=template, **extra)

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> Any:
        template = "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW', '%(seconds)s seconds')"
        return self.as_sql(compiler, connection, template=template, **extra)


def database_time(alias: str) -> datetime.datetime:
    """Return the present time by a database's clock, in UTC. SQLite has the clock of this host."""
    connection: Any = connections[alias]
    query = _CLOCKS.get(connection.vendor)
    seconds = time.time()
    if query is not None:
        with connection.cursor() as cursor:
            cursor.execute(query)
            seconds = float(cursor.fetchone()[0])
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


_CLOCKS = {
    "postgresql": "SELECT EXTRACT(EPOCH FROM CLOCK_TIMESTAMP())",
    "mysql": "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) / 1e6",
}


def seconds_since(moment: datetime.datetime | None, alias: str) -> float:
    """Return the age of a time that `DatabaseTime` has written, in seconds; 0 for None."""
    if moment is None:
        return 0.0
    if moment.tzinfo is None:  # USE_TZ is False
        is_local = connections[alias].vendor == "postgresql"
        zone = timezone.get_default_timezone() if is_local else datetime.UTC
        moment = moment.replace(tzinfo=zone)
    return (database_time(alias) - moment).total_seconds()
