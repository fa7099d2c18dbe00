"""Metrics of a supervisor's processes, from their scoreboards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from ...exceptions import GearmanError
from ...jobs.functions import job_functions
from ...supervisor import Stage
from ...supervisor.overview import Overview, Seen
from ...worker.process import decode_task

_USUAL = ("SIGKILL", "exit", "time_limit")  # reasons that are shown before they happen
STATES = ("starting", "idle", "running", "leaving")


def process_metrics(found: Overview, queues: Iterable[str]) -> Iterator[Metric]:
    """Yield the metrics of a supervisor whose workers serve these queues."""
    workers = [process for process in found.processes if process.is_worker]
    states = Counter(map(state_of, workers))
    processes = GaugeMetricFamily(
        "gearman_processes", "Worker processes of this gearman_worker.", labels=["state"]
    )
    for state in STATES:
        processes.add_metric([state], states[state])
    yield processes
    running = GaugeMetricFamily(
        "gearman_jobs_running", "Jobs that this gearman_worker runs now.", labels=["queue"]
    )
    counts = Counter(_queues_of(workers))
    for queue in sorted({*queues, *counts}):
        running.add_metric([queue], counts[queue])
    yield running
    deaths = CounterMetricFamily(
        "gearman_process_deaths",
        "Processes that have ended unexpectedly.",
        labels=["reason"],
    )
    for reason in sorted({*_USUAL, *found.deaths}):
        deaths.add_metric([reason], found.deaths.get(reason, 0))
    yield deaths


def state_of(process: Seen) -> str:
    """Return the state of a worker process."""
    board = process.scoreboard
    if board.stage is Stage.STARTING:
        return "starting"
    if board.is_ending or board.stage is not Stage.STARTED:
        return "leaving"
    return "running" if board.tasks() else "idle"


def _queues_of(workers: Sequence[Seen]) -> Iterator[str]:
    """Yield the queue of each job that runs."""
    try:
        functions = job_functions()
    except GearmanError:  # two jobs of one name; the worker would not have started
        functions = {}
    for task in chain.from_iterable(worker.scoreboard.tasks() for worker in workers):
        try:
            function = decode_task(task)[0].function
        except ValueError:  # the process was writing the next one
            continue
        job = functions.get(function)
        yield "unknown" if job is None else job.queue
