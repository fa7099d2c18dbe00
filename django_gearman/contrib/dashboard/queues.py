"""The project's queues: counts from the job servers, waits and failures from the records."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Count, Min, Q, Value
from django.utils import timezone

from ...jobs.definition import JobDefinition
from ...jobs.keeping import is_recorded
from ...management.asking import Counts, Servers
from ...protocol.names import CONTROL
from ..store.control import paused
from ..store.missing import naming_missing_tables
from ..store.models import JobRecord, PausedQueue
from ..store.writing import database
from .models import JobServer, QueueSample

#: Minutes of a sparkline.
MINUTES = 60
_ANSWER = -1  # in place of a number of jobs
DAY = datetime.timedelta(hours=24)

Status = JobRecord.Status


@dataclass
class Queue:
    """
    A queue of this project.

    `oldest` is the age in seconds of the job that has waited longest, among the recorded ones: None if
    none waits. `records` is "all", "some" or "none" of its jobs: those whose waiting is recorded.
    `waited` has the waiting jobs of each of the last minutes, None where there is no sample.
    """

    name: str
    jobs: list[JobDefinition] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    oldest: float | None = None
    waited: list[int | None] = field(default_factory=lambda: [None] * MINUTES)
    failed: int = 0
    paused: PausedQueue | None = None

    @property
    def records(self) -> str:
        recorded = sum(map(is_recorded, self.jobs))
        return "none" if not recorded else "all" if recorded == len(self.jobs) else "some"

    @property
    def busy(self) -> str:
        """The bar, in words."""
        return f"{self.counts.running} of {self.counts.workers} processes run a job"

    @property
    def trend(self) -> str:
        """The sparkline, in words."""
        known = [value for value in self.waited if value is not None]
        if not known:
            return "no samples yet: a worker takes one each minute"
        return f"{known[-1]} waiting, at most {max(known)} in the last hour"


def split(
    servers: Servers, jobs: Mapping[str, JobDefinition]
) -> tuple[dict[str, Queue], dict[str, Counts]]:
    """
    Return the queues of these jobs by name, and the counts of the functions of other programs.

    The private functions of supervisors are left out.
    """
    queues: dict[str, Queue] = {}
    for job in jobs.values():
        queues.setdefault(job.queue, Queue(job.queue)).jobs.append(job)
    others: dict[str, Counts] = {}
    for function, counts in servers.functions().items():
        if function in jobs:
            queues[jobs[function].queue].counts.add(counts)
        elif CONTROL not in function:
            others[function] = counts
    return dict(sorted(queues.items())), dict(sorted(others.items()))


def describe(queues: dict[str, Queue], now: datetime.datetime) -> dict[str, datetime.datetime]:
    """
    Fill in the data of the database; return the time of the last answer of each job server.

    This takes three queries, however many queues there are. Raises DatabaseError and TableMissing.
    """
    with naming_missing_tables(database()):
        records = [*_records(now)]
    for name, status, count, since in records:
        if name in queues and status == Status.FAILED:
            queues[name].failed = count
        elif name in queues and since is not None:
            queues[name].oldest = max(0.0, (now - since).total_seconds())
    minutes = last_minutes(now)
    places = {minute: place for place, minute in enumerate(minutes)}
    answered = {}
    for name, minute, count in _samples(minutes[0]):
        if count == _ANSWER:
            answered[name] = minute
        elif name in queues and minute in places:
            queues[name].waited[places[minute]] = count
    for name, pause in paused().items():
        queues.setdefault(name, Queue(name)).paused = pause  # its jobs may be gone from the project
    return answered


def _records(now: datetime.datetime) -> Iterable[tuple[str, str, int, datetime.datetime | None]]:
    """
    Return queue, status and number of the jobs that wait, with the first time of submission, and of
    those that have failed in the last 24 hours.
    """
    records = JobRecord.objects.using(database()).order_by().values_list("queue", "status")
    ready = records.filter(Q(run_after=None) | Q(run_after__lte=now), status=Status.READY)
    failed = records.filter(status=Status.FAILED, finished_at__gte=now - DAY)
    # The second time is not used: it is in the index that finds the failures, and the first is not.
    return ready.annotate(number=Count("*"), first=Min("enqueued_at")).union(
        failed.annotate(number=Count("*"), first=Min("finished_at")), all=True
    )


def _samples(since: datetime.datetime) -> list[tuple[str, datetime.datetime, int]]:
    """Return queue, minute and waiting jobs of each sample; _ANSWER marks a server's last answer."""
    samples = QueueSample.objects.filter(minute__gte=since)
    servers = JobServer.objects.using(samples.db)
    with naming_missing_tables(samples.db, "dashboard"):
        found = samples.order_by().values_list("queue", "minute", "waiting")
        return [
            *found.union(servers.values_list("address", "answered_at", Value(_ANSWER)), all=True)
        ]


def last_minutes(now: datetime.datetime) -> Sequence[datetime.datetime]:
    """Return the beginnings of the last minutes, the present one last."""
    present = now.replace(second=0, microsecond=0)
    return [present - datetime.timedelta(minutes=ago) for ago in reversed(range(MINUTES))]


def present_minute() -> datetime.datetime:
    """Return the beginning of the present minute."""
    return timezone.now().replace(second=0, microsecond=0)
