"""The deletion of records that have expired, in small batches."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable

from django.db import DatabaseError, connections
from django.db.models import Count
from django.utils import timezone

from ...backends import get_backend_class
from ...supervisor import Attendant, Service
from ...utils.records import get_logger, log
from .missing import naming_missing_tables
from .models import JobRecord
from .writing import database, delete_still

logger = get_logger("django_gearman.store")

#: Records that one statement deletes.
BATCH = 500
_SECONDS = 60.0  # between two turns of the service
_PAUSES = 0.05, 0.15  # seconds between two batches, so that other work gets in


def prune(wait: Callable[[float], object] = time.sleep) -> int:
    """
    Delete the records that have expired; return their number.

    `wait` pauses for a number of seconds between batches; if it returns True, this stops. Raises
    TableMissing and DatabaseError.
    """
    alias, count = database(), 0
    while True:
        with naming_missing_tables(alias):
            deleted = _delete_batch(alias)
        count += deleted
        if deleted < BATCH or wait(random.uniform(*_PAUSES)) is True:
            return count


def expired() -> list[tuple[str, str, int]]:
    """Return the number of expired records of each job name and status."""
    alias = database()
    with naming_missing_tables(alias):
        rows = JobRecord.objects.using(alias).filter(expires_at__lte=timezone.now())
        groups = rows.order_by("name", "status").values_list("name", "status")
        return [*groups.annotate(count=Count("pk"))]


def _delete_batch(alias: str) -> int:
    rows = JobRecord.objects.using(alias).filter(expires_at__lte=timezone.now())
    keys = [*rows.order_by("expires_at").values_list("pk", flat=True)[:BATCH]]
    # The condition again: a retry may have taken a record meanwhile.
    return delete_still(rows, keys, alias)


def turn(attendant: Attendant) -> None:
    """Delete expired records, as a service of the attendant."""
    try:
        count = prune(attendant.wait)
    except DatabaseError:
        connections[database()].close()
        raise
    if count:
        log(logger, logging.INFO, "%d expired records were deleted", count)


def make_service() -> Service | None:
    """Return the service of the attendant; None if jobs never leave this process."""
    return None if get_backend_class().local else Service("prune", turn, _SECONDS)
