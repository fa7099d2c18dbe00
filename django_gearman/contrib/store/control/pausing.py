"""
Pausing queues: a row in the database for each paused queue.

The attendant of each `gearman_worker` looks at the table about once a second, and writes the names
into a notice that all its processes read. A worker of a paused queue registers anew, without the
functions of that queue. Jobs that it holds in advance go back to the job server; a job that runs goes
on.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from django.db import DatabaseError, InterfaceError, connections

from ....jobs.names import check_queue
from ....jobs.registry import registry
from ....utils.records import get_logger, log
from ....utils.text import quoted
from ....worker import attendant as attending
from ....worker import pausing
from ..missing import TableMissing, naming_missing_tables
from ..models import PausedQueue
from ..redaction import storable
from ..writing import database
from .values import ControlError

logger = get_logger("django_gearman.control")


def paused() -> dict[str, PausedQueue]:
    """Return the paused queues by name."""
    alias = database()
    with naming_missing_tables(alias):
        return {row.queue: row for row in PausedQueue.objects.using(alias).order_by("queue")}


def pause(queue: str, by: str = "") -> bool:
    """
    Pause a queue, for all workers everywhere; return False if it was paused before.

    `by` is the name of the user. Raises ControlError if no job is in such a queue.
    """
    _check(queue)
    alias = database()
    with naming_missing_tables(alias):
        _, is_new = PausedQueue.objects.using(alias).get_or_create(
            queue=queue, defaults={"paused_by": storable(str(by))[:255]}
        )
    if is_new:
        log(logger, logging.INFO, "queue %s is paused by %s", queue, by or "an unknown user")
    return is_new


def resume(queue: str) -> bool:
    """
    Let the workers run the jobs of a queue again; return False if it was not paused.

    Raises ControlError if it was not, and no job is in such a queue.
    """
    alias = database()
    if isinstance(queue, str):
        with naming_missing_tables(alias):
            number, _ = PausedQueue.objects.using(alias).filter(queue=queue).delete()
        if number:  # its jobs may have been removed from the project
            log(logger, logging.INFO, "queue %s is resumed", queue)
            return True
    _check(queue)
    return False


def _check(queue: object) -> None:
    try:
        registry.select([check_queue(queue)])
    except (TypeError, ValueError) as error:
        raise ControlError(f"queue {quoted(queue)}: {error}") from error


def read_pauses() -> Mapping[str, pausing.Pause]:
    """Return the paused queues, for the core."""
    return {row.queue: pausing.Pause(row.paused_by, row.paused_at) for row in paused().values()}


class Pauses:
    """The checks of the table by one attendant."""

    def __init__(self) -> None:
        self._known: set[str] | None = None
        self.is_down = False  # the database

    def look(self) -> None:
        """Announce the paused queues to the workers; without a database the last known ones stay."""
        notice = pausing.notice
        if notice is None:
            return
        try:
            found = paused()
        except (DatabaseError, InterfaceError, TableMissing) as error:
            connections[database()].close()
            if not self.is_down:
                message = (
                    "cannot read which queues are paused; the last known pauses stay in effect: %s"
                )
                log(logger, logging.WARNING, message, error)
            self.is_down = True
            return
        if self.is_down:
            log(logger, logging.INFO, "the paused queues can be read again")
        self.is_down = False
        if self._known != set(found):
            pausing.announce(notice, found)
            self._tell(found)
            self._known = set(found)

    def _tell(self, found: Mapping[str, PausedQueue]) -> None:
        """Log which of the queues that are served here are paused, or no longer."""
        before = self._known or set()
        for queue in attending.command.queues:
            if queue in found and queue not in before:
                by = found[queue].paused_by
                message = "queue %s is paused%s: its jobs wait, until gearman_control resume %s"
                log(logger, logging.WARNING, message, queue, f" by {by}" if by else "", queue)
            elif queue in before and queue not in found:
                log(logger, logging.WARNING, "queue %s is no longer paused", queue)
