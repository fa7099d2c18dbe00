"""The collector for a web process, or any other program that submits jobs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from django.apps import apps
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from ...jobs import counting
from ...utils.clock import monotonic
from ..store.counters import gearman_store_errors_total
from .counting import STORE_ERRORS, SubmissionCounter
from .sources import PATIENCE, STORE, Sources
from .values import VARIABLE


class WebCollector(Collector):
    """
    A collector of the job servers, of the store where it is installed, and of this program's
    submissions.
    """

    def __init__(self) -> None:
        self._sources = Sources()
        installed = counting.counter
        if isinstance(installed, SubmissionCounter):
            self._counter = installed
        else:
            self._counter = SubmissionCounter()
            if installed is None:  # otherwise `gearman_worker --metrics` counts them
                counting.install_counter(self._counter)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: a registry would ask the servers for the names otherwise."""
        return []

    def collect(self) -> Iterator[Metric]:
        until = monotonic() + PATIENCE
        self._sources.begin()
        if VARIABLE not in os.environ:  # otherwise prometheus_client collects it from its files
            yield from self._counter.metric.collect()
        if apps.is_installed(STORE):
            yield CounterMetricFamily(*STORE_ERRORS, gearman_store_errors_total.value)
        yield from self._sources.metrics(until)


def collector() -> WebCollector:
    """
    Return a collector to register in a registry of prometheus_client, and count submissions from now.

    At each scrape it asks the job servers and the store, for at most a second. It has the metrics
    gearman_queue_jobs, gearman_queue_workers, gearman_server_up, gearman_jobs_submitted_total, and
    where the store is installed gearman_outbox_rows, gearman_outbox_oldest_seconds,
    gearman_schedule_last_tick_timestamp_seconds and gearman_store_errors_total.
    """
    return WebCollector()
