"""Jobs: the declared ones, their workers, and how long they take."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.utils import timezone

from .... import conf
from ....exceptions import GearmanError
from ....jobs.definition import JobDefinition
from ....jobs.functions import job_functions
from ....jobs.keeping import is_recorded
from ....management.asking import Counts, ask_servers
from ....utils.text import str_of
from ...store.models import JobRecord
from ...store.writing import database
from .base import PageAdmin

HOUR = datetime.timedelta(hours=1)
#: The latest runs that are looked at.
MOST_RUNS = 5000


@dataclass
class Row:
    """
    A job. It is not declared if only the records have it, for example a task of `django.tasks`.

    `timeout` is in seconds, `seconds` has the times of successful runs in the last hour. `is_recorded`
    if runs have records. There is no JobDefinition here, because a template would call it.
    """

    name: str
    queue: str
    is_declared: bool = False
    timeout: float | None = None
    retries: int | None = None
    counts: Counts = field(default_factory=Counts)
    is_recorded: bool = True
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float | None:
        return percentile(self.seconds, 50)

    @property
    def slow(self) -> float | None:
        """The 95th percentile: of 20 runs, one took longer."""
        return percentile(self.seconds, 95)


@dataclass(frozen=True)
class JobsData:
    """The data of the page. `is_known` if a server has answered, `is_cut` with MOST_RUNS runs."""

    rows: Sequence[Row]
    problems: Sequence[str]
    is_known: bool
    is_cut: bool


class JobsAdmin(PageAdmin):
    """The page of declared jobs."""

    name = "jobs"

    def context(self, request: HttpRequest) -> dict[str, Any]:
        return {"jobs": collect()}


def collect() -> JobsData:
    """Return the declared jobs, with the counts of the job servers and the times in the records."""
    jobs: dict[str, JobDefinition] = {}
    default = None
    servers = ask_servers()
    problems = [servers.problem] if servers.problem else []
    problems += [state.error for state in servers.states if state.error]
    try:
        jobs, default = job_functions(), conf.job_timeout()
    except (GearmanError, ImproperlyConfigured) as error:
        problems.append(str_of(error))
    counts = servers.functions()
    rows = {
        job.name: Row(
            job.name,
            job.queue,
            True,
            default if job.timeout is None else job.timeout,
            job.retries,
            counts.get(function, Counts()),
            is_recorded(job),
        )
        for function, job in jobs.items()
    }
    runs = _latest_runs()
    for name, queue, seconds in runs:
        rows.setdefault(name, Row(name, queue)).seconds.append(seconds)
    return JobsData(
        sorted(rows.values(), key=lambda row: (row.queue, row.name)),
        problems,
        any(not state.error for state in servers.states),
        len(runs) == MOST_RUNS,
    )


def _latest_runs() -> list[tuple[str, str, float]]:
    """Return job, queue and seconds of the latest successful runs of the last hour."""
    found = JobRecord.objects.using(database()).filter(
        status=JobRecord.Status.SUCCESSFUL, finished_at__gte=timezone.now() - HOUR
    )
    columns = found.values_list("name", "queue", "last_attempted_at", "finished_at")
    return [
        (name, queue, max(0.0, (ended - began).total_seconds()))
        for name, queue, began, ended in columns.order_by("-finished_at")[:MOST_RUNS]
        if began is not None and ended is not None
    ]


def percentile(values: Iterable[float], percent: int) -> float | None:
    """Return the smallest value that this part of the values does not exceed; None without any."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else None
