"""The scheduler of one process: it makes the ticks of all schedules."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from .... import conf
from ....client.delivery import deliver
from ....utils.records import get_logger, log
from ..functions import DatabaseTime, database_time
from ..models import Schedule, Tick
from ..outbox.locking import exclusive
from .declared import Scheduled

logger = get_logger("django_gearman.scheduler")

_LONGEST_SECONDS = 10.0  # between two looks at the database's clock
_KEPT_TIMINGS = 10  # of one schedule: releases that run side by side, and earlier ones
_KEPT_SECONDS = 7 * 86400  # ticks
_UNKNOWN_SECONDS = 90 * 86400  # ticks of schedules that another release may know
_MOST_ROWS = 1000  # of one DELETE

Clock = Callable[[], datetime.datetime]


@dataclass
class _State:
    """The progress of a schedule in this process."""

    #: Ticks up to this time have been looked at.
    seen: datetime.datetime
    next: datetime.datetime | None


class Scheduler:
    """A scheduler; `clock` replaces the clock of the database, which decides when ticks are due."""

    def __init__(
        self, schedules: Sequence[Scheduled], alias: str, clock: Clock | None = None
    ) -> None:
        self._schedules = schedules
        self._alias = alias
        self._clock: Clock = clock or partial(database_time, alias)
        self._states: dict[str, _State] = {}
        self._has_begun = False

    def look(self) -> float:
        """
        Make the ticks that are due; return the seconds until the next one, or until the next look.

        All schedules are looked at. Then the first error is raised.
        """
        now = self._clock()
        errors: list[Exception] = []
        if not self._has_begun:
            self._forget_removed()
            self._has_begun = True
        for schedule in self._schedules:
            try:
                self._look_at(schedule, now)
            except Exception as error:  # noqa: BLE001 - raised below
                errors.append(error)
        for first in errors:
            raise first
        moments = [state.next for state in self._states.values() if state.next is not None]
        if not moments:
            return _LONGEST_SECONDS
        return min(_LONGEST_SECONDS, (min(moments) - self._clock()).total_seconds())

    def _look_at(self, schedule: Scheduled, now: datetime.datetime) -> None:
        state = self._states.get(schedule.key)
        if state is None:
            self._meet(schedule, now)
            seen = now - schedule.most_grace
            state = self._states[schedule.key] = _State(seen, schedule.timing.next(seen))
        if state.next is None or now < state.next:
            return
        due = schedule.timing.latest(max(state.seen, now - schedule.most_grace), now)
        if due is not None:
            self._make_due(schedule, due, now)
            state.seen = due
        state.next = schedule.timing.next(now)

    def _make_due(
        self, schedule: Scheduled, due: datetime.datetime, now: datetime.datetime
    ) -> None:
        row = Schedule.objects.using(self._alias).filter(pk=schedule.name).first()
        if row is None:  # a release without this schedule has deleted it
            self._meet(schedule, now)
            return
        start = row.starts.get(schedule.timing.digest)
        if start is None:
            self._meet(schedule, now)
        elif due.timestamp() <= start:
            return
        elif row.paused_at is not None:
            self._set_start(schedule, due)
        elif now - due > schedule.grace_of(due):
            message = "schedule %s: the tick of %s was missed, and its grace is over"
            log(logger, logging.WARNING, message, schedule.name, due)
        elif self._tick(schedule, due):
            message = "schedule %s: submitted job %s, due at %s"
            log(logger, logging.INFO, message, schedule.name, schedule.job_name, due)

    def _tick(self, schedule: Scheduled, due: datetime.datetime) -> bool:
        """Submit the job of a tick, unless a scheduler has done it; return True if this one has."""
        stored = due if settings.USE_TZ else due.replace(tzinfo=None)
        ticks = Tick.objects.using(self._alias)
        if ticks.filter(schedule=schedule.key, due_at__gte=stored).exists():
            return False  # of this time, or of a later one, if the clock has stepped back
        return submit_tick(schedule, schedule.key, due, self._alias) is not None

    def _meet(self, schedule: Scheduled, now: datetime.datetime) -> None:
        """Record that this timing of the schedule begins now, unless it is known."""
        row = Schedule.objects.using(self._alias).filter(pk=schedule.name).first()
        if row is None or schedule.timing.digest not in row.starts:
            self._set_start(schedule, now, is_new=True)

    def _set_start(
        self, schedule: Scheduled, start: datetime.datetime, *, is_new: bool = False
    ) -> None:
        """Make no ticks up to this time. With `is_new`, a known timing keeps its start."""
        digest = schedule.timing.digest
        with exclusive(self._alias):
            locked = Schedule.objects.using(self._alias).select_for_update()
            row, _ = locked.get_or_create(pk=schedule.name)
            starts = dict(row.starts)
            if is_new and digest in starts:
                return
            starts[digest] = start.timestamp()
            kept = sorted(starts.items(), key=lambda entry: entry[1])[-_KEPT_TIMINGS:]
            row.starts = dict(kept)
            row.save(using=self._alias, update_fields=["starts"])

    def _forget_removed(self) -> None:
        """Delete the schedules that are no longer declared; the process that does so logs it."""
        names = [schedule.name for schedule in self._schedules]
        rows = Schedule.objects.using(self._alias)
        for name in rows.exclude(pk__in=names).values_list("pk", flat=True):
            deleted, _ = rows.filter(pk=name).delete()
            if deleted:
                message = "schedule %s is no longer in the code, and does not run any more"
                log(logger, logging.INFO, message, name)

    def prune(self) -> int:
        """Delete old ticks, but the last one of each schedule; return their number."""
        ticks = Tick.objects.using(self._alias)
        deleted = 0
        for schedule in self._schedules:
            seconds = max(_KEPT_SECONDS, 2 * schedule.most_grace.total_seconds())
            own = ticks.filter(schedule=schedule.key)
            last = own.order_by("-due_at").first()
            if last is not None:
                deleted += _delete(own.filter(due_at__lt=last.due_at), seconds)
        keys = [schedule.key for schedule in self._schedules]
        return deleted + _delete(ticks.exclude(schedule__in=keys), _UNKNOWN_SECONDS)


def submit_tick(schedule: Scheduled, key: str, due: datetime.datetime, alias: str) -> str | None:
    """Write a tick and submit its job; return the job's id, or None if there is such a tick."""
    stored = due if settings.USE_TZ else due.replace(tzinfo=None)
    request = schedule.request(due, alias)
    try:
        with transaction.atomic(alias):
            Tick.objects.using(alias).create(schedule=key, due_at=stored, job_id=request.id)
            deliver([request], None, conf.JobSettings(), wait=False, durable=True)
    except IntegrityError:
        return None
    return request.id


def _delete(ticks: Any, seconds: float) -> int:
    """Delete up to _MOST_ROWS of these ticks that are older than this."""
    old = ticks.filter(created_at__lt=DatabaseTime(-seconds)).order_by("pk")
    keys = [*old.values_list("pk", flat=True)[:_MOST_ROWS]]
    return int(ticks.filter(pk__in=keys).delete()[0]) if keys else 0
