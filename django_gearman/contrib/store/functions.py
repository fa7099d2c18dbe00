"""The database's clock."""

from __future__ import annotations

from typing import Any

from django.db import models


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
