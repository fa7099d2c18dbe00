"""The declared schedules with their last and next ticks, for people and for monitoring."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from ..finding import firsts
from ..functions import database_time
from ..missing import naming_missing_tables
from ..models import Schedule, Tick
from .declared import Scheduled

#: Seconds for which a tick may be late before that is trouble.
LATE_SECONDS = 60.0
_EVER = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_TOGETHER = 200  # schedules in one query: SQLite has a limit
_LONGEST = datetime.timedelta(days=1)  # before now, in which a tick is looked for


def figures_of(
    schedules: Sequence[Scheduled], alias: str, now: datetime.datetime | None = None
) -> list[dict[str, Any]]:
    """
    Return a dict for each schedule, with a fixed number of queries; times are in UTC.

    `now` replaces the time of the database, which costs a query. `last_job` is the id of the job of the
    last tick, `trouble` describes the problem, or is "".
    """
    with naming_missing_tables(alias):
        now = now or database_time(alias)
        names = [schedule.name for schedule in schedules]
        rows = {row.name: row for row in Schedule.objects.using(alias).filter(pk__in=names)}
        last = _last_ticks(schedules, alias)
    return [_figures(each, rows.get(each.name), last.get(each.key), now) for each in schedules]


def _last_ticks(schedules: Sequence[Scheduled], alias: str) -> dict[str, Tick]:
    ticks = Tick.objects.using(alias)
    found: dict[str, Tick] = {}
    for start in range(0, len(schedules), _TOGETHER):
        some = schedules[start : start + _TOGETHER]
        latest = firsts(ticks.filter(schedule=each.key).order_by("-due_at") for each in some)
        found |= {tick.schedule: tick for tick in ticks.filter(latest)}
    return found


def _figures(
    schedule: Scheduled, row: Schedule | None, tick: Tick | None, now: datetime.datetime
) -> dict[str, Any]:
    last = None if tick is None else tick.due_at
    if last is not None and last.tzinfo is None:
        last = last.replace(tzinfo=datetime.UTC)
    return {
        "name": schedule.name,
        "job": schedule.job_name,
        "when": schedule.timing.words,
        "last": last,
        "last_job": None if tick is None else tick.job_id,
        "next": schedule.timing.next(now),
        "paused_at": row.paused_at if row is not None else None,
        "paused_by": row.paused_by if row is not None else "",
        "trouble": _trouble(schedule, row, last, now),
    }


def _trouble(
    schedule: Scheduled,
    row: Schedule | None,
    last: datetime.datetime | None,
    now: datetime.datetime,
) -> str:
    """Return the problem of a schedule, with the remedy; "" if nothing is."""
    start = None if row is None else row.starts.get(schedule.timing.digest)
    if row is None or start is None:
        return "no scheduler has seen it yet; start gearman_worker or gearman_scheduler"
    if row.paused_at is not None:
        return ""
    begin = max(now - _LONGEST, datetime.datetime.fromtimestamp(start, datetime.UTC), last or _EVER)
    due = schedule.timing.latest(begin, now - datetime.timedelta(seconds=LATE_SECONDS))
    if due is not None:
        return (
            f"it was due at {due:%Y-%m-%d %H:%M:%S %Z}, and was not submitted; are gearman_worker or "
            "gearman_scheduler running?"
        )
    return ""
