"""The error for a database without the migrations of an app."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, router

_POSTGRESQL, _MYSQL, _SQLITE = "42P01", (1146,), "no such table"


class TableMissing(ImproperlyConfigured):
    """The error if a database does not have the tables of an app."""


@contextmanager
def naming_missing_tables(alias: str, app: str = "store") -> Iterator[None]:
    """
    Raise TableMissing, with the remedy, in place of a database's error for a missing table.

    `app` is the name of the app in `django_gearman.contrib`.
    """
    try:
        yield
    except DatabaseError as error:
        if _is_missing_table(error):
            raise TableMissing(
                f"The database {alias!r} lacks a table of django_gearman.contrib.{app} ({error}). "
                f"{_remedy(alias, f'gearman_{app}')}"
            ) from error
        raise


def _remedy(alias: str, label: str) -> str:
    if router.allow_migrate(alias, label):
        return f"Run: manage.py migrate {label} --database {alias}"
    return (
        f"Your DATABASE_ROUTERS keep the app {label} out of it: allow it there, or name another "
        "database (GEARMAN_OUTBOX, on_commit)"
    )


def _is_missing_table(error: DatabaseError) -> bool:
    cause = error.__cause__
    return (
        getattr(cause, "sqlstate", None) == _POSTGRESQL
        or getattr(cause, "args", ())[:1] == _MYSQL
        or _SQLITE in str(error)
    )
