"""Rows that job servers refuse: they are tried again later, and in the end they are stuck."""

from __future__ import annotations

import logging

from django.db import DatabaseError
from django.db.models import F

from ....utils.records import get_logger, log
from ....utils.text import str_of
from ..functions import DatabaseTime
from ..missing import naming_missing_tables
from ..models import OutboxJob
from .rows import MOST_ATTEMPTS

logger = get_logger("django_gearman.jobs")

_FIRST_SECONDS = 5.0
_LONGEST_SECONDS = 3600.0
_MOST_TEXT = 2000


def charge(key: int, alias: str, attempts: int, error: BaseException) -> bool:
    """
    Count an attempt of a row that was refused, and set the time of the next one.

    `attempts` is the number of earlier attempts. Returns True if this was the last one: the row is
    stuck. It stays, but is not sent again by itself.
    """
    stuck = attempts + 1 >= MOST_ATTEMPTS
    seconds = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0**attempts)
    try:
        OutboxJob.objects.using(alias).filter(pk=key).update(
            attempts=F("attempts") + 1,
            last_error=f"{type(error).__name__}: {str_of(error, _MOST_TEXT)}",
            next_try_at=None if stuck else DatabaseTime(seconds),
        )
    except DatabaseError as failure:  # it is tried again without this
        log(logger, logging.ERROR, "row %d of the outbox: %s", key, failure)
        return False
    return stuck


def release(alias: str) -> int:
    """Make stuck rows due again, with new attempts; return their number."""
    stuck = OutboxJob.objects.using(alias).filter(next_try_at=None)
    with naming_missing_tables(alias):
        return stuck.update(attempts=0, next_try_at=DatabaseTime())
