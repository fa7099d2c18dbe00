"""Writes that never fail a job: repeated for a moment, then logged and counted."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from typing import TypeVar

from django.db import (
    DatabaseError,
    InterfaceError,
    OperationalError,
    connections,
    router,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import QuerySet

from ...utils.records import get_logger, log
from ...utils.text import kind_of, str_of
from .counters import gearman_store_errors_total
from .missing import TableMissing, naming_missing_tables
from .models import JobRecord

logger = get_logger("django_gearman.store")

#: Seconds for which a write is repeated if the database cannot be reached.
RETRY_SECONDS = 2.0
#: The server is away, or a lock was not granted.
_PASSING = (OperationalError, InterfaceError)
_MOST_TRIES = 10  # of a transaction that is in the way of others
_LONGEST_PAUSE = 0.5  # seconds between two tries

_T = TypeVar("_T")


def database() -> str:
    """Return the alias of the database of records. Reads use it too, because a replica may be late."""
    return router.db_for_write(JobRecord)


def safely(write: Callable[[str], _T], subject: str, *, is_quiet: bool = False) -> tuple[bool, _T]:
    """
    Call `write` with the alias of the database; return True and what it returned.

    If the database fails, repeat it for `RETRY_SECONDS`. If it has failed for good, log that, count
    it, and return False. `is_quiet` neither logs nor counts, because that was done already.
    """
    failed: tuple[bool, _T] = False, None  # type: ignore[assignment]
    pause, began = 0.02, time.monotonic()
    try:
        alias = database()
        connection = connections[alias]
        while True:
            in_block = connection.in_atomic_block
            try:
                # A savepoint: a failure must not break the transaction of the caller.
                savepoint = transaction.atomic(using=alias) if in_block else nullcontext()
                with naming_missing_tables(alias), savepoint:
                    return True, write(alias)
            except (DatabaseError, InterfaceError) as error:
                if not in_block:
                    _reopen(connection)
                is_late = time.monotonic() - began + pause > RETRY_SECONDS
                if in_block or is_late or not isinstance(error, _PASSING):
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
    except Exception as error:  # noqa: BLE001 - whatever it is, the job goes on
        if not (is_quiet or _is_forbidden(error)):
            gearman_store_errors_total.add(_summary(error))
            message = "the store could not record %s, which is not affected: %s"
            log(logger, logging.ERROR, message, subject, error, exc_info=error)
        return failed


def _summary(error: Exception) -> str:
    """Return an error for the pages: that of a statement may quote arguments of a job."""
    if isinstance(error, (*_PASSING, TableMissing)):
        return f"{kind_of(error)}: {str_of(error)}"
    return f"{kind_of(error)}, see the log"


def in_transaction(change: Callable[[], _T], alias: str) -> _T:
    """Call `change` in a transaction; again if another one has won a deadlock, or has the lock."""
    tries = 0
    while True:
        try:
            with transaction.atomic(using=alias):
                return change()
        except OperationalError:
            tries += 1
            if tries == _MOST_TRIES or connections[alias].in_atomic_block:
                raise
            _reopen(connections[alias])
            time.sleep(random.uniform(0.01, 0.1))


def delete_still(rows: QuerySet[JobRecord], keys: Sequence[str], alias: str) -> int:
    """
    Delete the records with these ids that still are in a query set, and return their number.

    They are locked first. If other models refer to records, Django deletes by the ids alone, also a
    record that has changed meanwhile.
    """

    def delete() -> int:
        locked = rows.filter(pk__in=keys).select_for_update().order_by("pk")
        held = [*locked.values_list("pk", flat=True)]
        rows.filter(pk__in=held).delete()
        return len(held)

    return in_transaction(delete, alias) if keys else 0


def _reopen(connection: BaseDatabaseWrapper) -> None:
    """Close a connection that is broken, so that its next user opens another one."""
    with suppress(Exception):
        if connection.connection is not None and not connection.is_usable():
            connection.close()
    connection.errors_occurred = False


def _is_forbidden(error: Exception) -> bool:
    """Return True for the errors of Django's and pytest's tests that may not use the database."""
    return isinstance(error, AssertionError) or str(error).startswith("Database access not allowed")
