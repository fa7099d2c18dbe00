"""The scheduler as a service of the attendant and for `gearman_scheduler`."""

from __future__ import annotations

import time

from django.db import DEFAULT_DB_ALIAS

from .... import conf
from ....backends import get_backend_class
from ....supervisor import Attendant, Service
from ..missing import naming_missing_tables
from .declared import schedules
from .ticking import Scheduler

_SECONDS = 10.0  # between two looks, if no tick comes earlier
_PRUNE_SECONDS = 3600.0


def scheduler_database() -> str:
    """Return the alias of the database with the ticks: the outbox's."""
    setting = conf.outbox()
    return setting if isinstance(setting, str) else DEFAULT_DB_ALIAS


class Ticking:
    """A scheduler of all declared schedules; raises ImproperlyConfigured for a mistake in one."""

    def __init__(self) -> None:
        self._alias = scheduler_database()
        self.schedules = schedules()
        self._scheduler = Scheduler(self.schedules, self._alias)
        self._prune_at = 0.0

    def turn(self, attendant: Attendant | None) -> float:
        """Make the ticks that are due; return the seconds until the next look."""
        with naming_missing_tables(self._alias):
            seconds = self._scheduler.look()
            if time.monotonic() >= self._prune_at:
                self._prune_at = time.monotonic() + _PRUNE_SECONDS
                self._scheduler.prune()
        return seconds


def make_service() -> Service | None:
    """Return the service of the attendant; None without schedules, or if jobs never leave here."""
    if get_backend_class().local or not schedules():
        return None
    return Service("scheduler", Ticking().turn, _SECONDS)
