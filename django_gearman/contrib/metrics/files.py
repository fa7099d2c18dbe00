"""The values that the processes of a supervisor have written, as metrics."""

from __future__ import annotations

import logging
import os
import struct
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress

from prometheus_client import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.samples import Sample

from ...jobs.definition import JobDefinition
from ...utils.records import get_logger, log
from .counting import DURATION, WAIT
from .strays import fold_strays
from .written import add_up

#: The name of the metric of ended runs; a sample has "_total" behind it.
JOBS = "gearman_jobs"

logger = get_logger("django_gearman.metrics")

_reading = threading.Lock()
#: The errors of a file that ends in the middle, or has other content.
_DAMAGED = (RuntimeError, ValueError, struct.error, OSError)


def file_metrics(
    directory: str, live: Collection[str] | None, jobs: Iterable[JobDefinition]
) -> list[Metric]:
    """
    Return all metrics of the files in a directory, and zeros for outcomes that these jobs have not
    had yet.

    `live` are the names of the files of live processes, None if they are unknown: live gauges of
    others do not count.
    """
    with _reading:
        fold_strays(directory)
        files = [*_files(directory, live)]
        try:
            merged = _merge(files)
        except _DAMAGED as error:
            log(logger, logging.ERROR, "metrics of a damaged file are left out: %s", error)
            merged = _merge([file for file in files if _is_readable(file)])
    metrics = {metric.name: metric for metric in merged}
    for name, _ in (DURATION, WAIT):
        if name in metrics:
            add_up(metrics[name])
    ended = metrics.setdefault(JOBS, Metric(JOBS, "Runs of jobs that have ended.", "counter"))
    ended.samples += _zeros(ended, jobs)
    return [*metrics.values()]


def _merge(files: list[str]) -> list[Metric]:
    return [*MultiProcessCollector.merge(files)]  # type: ignore[no-untyped-call]


def _is_readable(file: str) -> bool:
    try:
        _merge([file])
    except _DAMAGED:
        return False
    return True


def _files(directory: str, live: Collection[str] | None) -> Iterator[str]:
    for entry in os.scandir(directory):
        kind, _, rest = entry.name.removesuffix(".db").partition("_")
        mode, _, name = rest.rpartition("_")
        is_past = kind == "gauge" and mode.startswith("live") and live is not None
        if entry.name.endswith(".db") and not (is_past and name not in (live or ())):
            with suppress(FileNotFoundError):  # a new process removes its live gauges
                if entry.stat().st_size:  # otherwise it is being made
                    yield entry.path


def _zeros(ended: Metric, jobs: Iterable[JobDefinition]) -> Iterator[Sample]:
    """
    Yield the outcomes that declared jobs have not had yet.

    An alert on an increase would miss the first failure, if that made the time series.
    """
    seen = {(each.labels["job"], each.labels["outcome"]) for each in ended.samples}
    for job in jobs:
        for outcome in ("success", "failure"):
            if not job.varies and (job.name, outcome) not in seen:
                labels = {"job": job.name, "queue": job.queue, "outcome": outcome}
                yield Sample(f"{JOBS}_total", labels, 0.0)
