"""
The actions of people on schedules: run one now, pause it, resume it.

`alias` is that of the database with the schedules, None for the one of the settings.
"""

from __future__ import annotations

import datetime

from django.utils import timezone

from ..functions import database_time
from ..models import Schedule
from ..outbox.locking import exclusive
from .declared import Scheduled
from .service import scheduler_database
from .ticking import submit_tick


def run_now(schedule: Scheduled, moment: datetime.datetime, alias: str | None = None) -> str | None:
    """
    Submit the job of a schedule, beside its ticks, and return its id.

    `moment` is the time of the request, in UTC: if the same request comes twice, the second one
    returns None, and there is one job. The job finds the time in `current_job().scheduled_for`.
    """
    return submit_tick(schedule, f"{schedule.name}:now", moment, alias or scheduler_database())


def pause(name: str, by: str, alias: str | None = None) -> bool:
    """Pause a schedule in the name of a user; return False if it is paused already."""
    rows = Schedule.objects.using(alias or scheduler_database())
    rows.get_or_create(pk=name)
    paused = rows.filter(pk=name, paused_at=None)
    return bool(paused.update(paused_at=timezone.now(), paused_by=by[:255]))


def resume(name: str, alias: str | None = None) -> bool:
    """
    Resume a schedule; return False if it is not paused.

    Ticks up to now are not made up, also if no scheduler ran during the pause.
    """
    alias = alias or scheduler_database()
    with exclusive(alias):
        row = Schedule.objects.using(alias).select_for_update().filter(pk=name).first()
        if row is None or row.paused_at is None:
            return False
        now = database_time(alias).timestamp()
        row.starts = {digest: max(now, start) for digest, start in row.starts.items()}
        row.paused_at, row.paused_by = None, ""
        row.save(using=alias, update_fields=["starts", "paused_at", "paused_by"])
        return True
