"""The declared schedules with their last and next ticks, for people and for monitoring."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from ..functions import database_time
from ..missing import naming_missing_tables
from ..models import Schedule, Tick
from .declared import Scheduled


def figures_of(schedules: Sequence[Scheduled], alias: str) -> list[dict[str, Any]]:
    """Return a dict for each schedule; times are in UTC."""
    with naming_missing_tables(alias):
        now = database_time(alias)
        names = [schedule.name for schedule in schedules]
        rows = {row.name: row for row in Schedule.objects.using(alias).filter(pk__in=names)}
        return [_figures(each, rows.get(each.name), now, alias) for each in schedules]


def _figures(
    schedule: Scheduled, row: Schedule | None, now: datetime.datetime, alias: str
) -> dict[str, Any]:
    ticks = Tick.objects.using(alias).filter(schedule=schedule.key).order_by("-due_at")
    last = ticks.values_list("due_at", flat=True).first()
    if last is not None and last.tzinfo is None:
        last = last.replace(tzinfo=datetime.UTC)
    return {
        "name": schedule.name,
        "job": schedule.job_name,
        "when": schedule.timing.words,
        "last": last,
        "next": schedule.timing.next(now),
        "paused_at": row.paused_at if row is not None else None,
        "paused_by": row.paused_by if row is not None else "",
    }
