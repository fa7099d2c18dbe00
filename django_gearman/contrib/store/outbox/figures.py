"""Figures of the outbox, for people and for monitoring."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Min, Q

from ..functions import seconds_since
from ..missing import naming_missing_tables
from ..models import OutboxJob

_SHOWN = 20  # stuck rows


def figures_of(alias: str) -> dict[str, Any]:
    """Return the numbers of waiting and of stuck rows in a database, and the age of the oldest."""
    rows = OutboxJob.objects.using(alias)
    with naming_missing_tables(alias):
        found = rows.aggregate(
            waiting=Count("pk", filter=Q(next_try_at__isnull=False)),
            stuck=Count("pk", filter=Q(next_try_at=None)),
            oldest=Min("created_at", filter=Q(next_try_at__isnull=False)),
        )
    stuck = rows.filter(next_try_at=None).order_by("-pk")
    return {
        "database": alias,
        "waiting": found["waiting"],
        "oldest_seconds": seconds_since(found["oldest"], alias),
        "stuck": found["stuck"],
        "last_stuck": [*stuck.values("function", "job_id", "attempts", "last_error")[:_SHOWN]],
    }
