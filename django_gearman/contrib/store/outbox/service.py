"""The relays of all databases, as a service of the attendant and for `gearman_outbox`."""

from __future__ import annotations

import logging

from django.db import DatabaseError, connections, router

from ....backends import get_backend_class
from ....supervisor import Attendant, Service
from ....utils.records import get_logger, log
from ..missing import TableMissing, naming_missing_tables
from ..models import OutboxJob
from .relay import Relay, Report

logger = get_logger("django_gearman.outbox")

_SECONDS = 1.0  # between two sweeps
_LONGEST_SECONDS = 5.0  # between two sweeps while a job server is down


class Relays:
    """A relay for each database that has the table."""

    def __init__(self) -> None:
        self._relays = {alias: Relay(alias) for alias in outbox_databases()}
        self._seconds = _SECONDS

    def sweep(self) -> Report:
        """
        Send all rows that are due; return the numbers.

        All databases are tried; those without the table are skipped, if one has it. Then the error
        of the first that failed is raised: DatabaseError or TableMissing.
        """
        report = Report()
        errors: list[Exception] = []
        missing: list[TableMissing] = []
        for alias, relay in self._relays.items():
            try:
                with naming_missing_tables(alias):
                    report.add(relay.sweep())
            except TableMissing as error:  # perhaps a database that is for other apps only
                missing.append(error)
            except DatabaseError as error:
                connections[alias].close()
                errors.append(error)
        for first in errors or (missing if len(missing) == len(self._relays) else ()):
            raise first
        return report

    def turn(self, attendant: Attendant) -> float | None:
        """Sweep once, as a service; return the seconds until the next sweep, if it is far."""
        report = self.sweep()
        if report.sent:
            log(logger, logging.INFO, "the outbox sent %d jobs later", report.sent)
        if not report.unreachable:
            self._seconds = _SECONDS
            return None
        if self._seconds == _SECONDS:
            error = next(iter(report.unreachable.values()))
            log(logger, logging.WARNING, "jobs wait in the outbox: %s", error)
        self._seconds = min(_LONGEST_SECONDS, 2 * self._seconds)
        return self._seconds


def outbox_databases() -> list[str]:
    """Return the aliases of the databases that may have the table."""
    return [
        alias
        for alias in connections
        if router.allow_migrate_model(alias, OutboxJob)
        and not connections[alias].settings_dict.get("TEST", {}).get("MIRROR")
    ]


def make_service() -> Service | None:
    """Return the service of the attendant; None if jobs never leave this process."""
    if get_backend_class().local:
        return None
    return Service("outbox", Relays().turn, _SECONDS)
