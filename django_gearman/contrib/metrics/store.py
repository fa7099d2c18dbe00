"""Metrics of the outbox and the schedules. Only a project with the store can import this module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.db import connections
from prometheus_client.core import GaugeMetricFamily, Metric

from ..store.missing import TableMissing
from ..store.outbox import figures as outbox
from ..store.outbox.service import outbox_databases
from ..store.scheduler import figures as scheduler
from ..store.scheduler.declared import schedules
from ..store.scheduler.service import scheduler_database

STATES = ("waiting", "stuck")


def store_metrics() -> list[Metric]:
    """
    Return the metrics; the connections of this thread are closed.

    Raises DatabaseError. A database without the tables is passed over: it may be for other apps.
    """
    try:
        return [*_outbox(), *_schedules()]
    finally:
        connections.close_all()


def _outbox() -> Iterator[Metric]:
    rows = GaugeMetricFamily(
        "gearman_outbox_rows",
        "Jobs in the outbox. Stuck ones were refused too often, and are not sent.",
        labels=["state"],
    )
    oldest = GaugeMetricFamily(
        "gearman_outbox_oldest_seconds", "Age of the oldest waiting job in the outbox."
    )
    figures = []
    for alias in outbox_databases():
        with suppress(TableMissing):
            figures.append(outbox.figures_of(alias))
    for state in STATES:
        rows.add_metric([state], sum(each[state] for each in figures))
    oldest.add_metric([], max((each["oldest_seconds"] for each in figures), default=0.0))
    yield from (rows, oldest)


def _schedules() -> Iterator[Metric]:
    last = GaugeMetricFamily(
        "gearman_schedule_last_tick_timestamp_seconds",
        "Time at which the last tick of a schedule was due.",
        labels=["schedule"],
    )
    with suppress(TableMissing):
        for row in scheduler.figures_of(schedules(), scheduler_database()):
            if row["last"] is not None:
                last.add_metric([row["name"]], row["last"].timestamp())
    yield last
