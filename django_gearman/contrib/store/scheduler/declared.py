"""The schedules that the project declares: `@gearman_job(cron=...)` and GEARMAN_SCHEDULE."""

from __future__ import annotations

import datetime
import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .... import conf
from ....client.builder import resolve
from ....client.client import GearmanClient
from ....client.delivery import deliver, write_context
from ....client.request import JobRequest
from ....exceptions import GearmanError
from ....jobs.definition import JobDefinition
from ....jobs.identity import carried_due
from ....jobs.options import DEFAULT
from ....jobs.registry import registry
from ....serializers import Call, get_serializer
from ....utils.text import quoted
from .timing import Cron, Every, Timing

#: Longest name of a schedule, in characters.
MAX_NAME = 200

_NOTHING = Call()
_GRACE_SECONDS = 3600.0
_LEAST_GRACE_SECONDS = 10.0  # by default: a scheduler may be that late
_MOST_GRACE_SECONDS = 366 * 86400.0
_KEYS = ("job", "cron", "every", "timezone", "args", "kwargs", "overlap", "grace", "priority")


@dataclass(frozen=True)
class Scheduled:
    """
    A declared schedule.

    `grace` is the number of seconds for which a missed tick is made up, None for the default.
    Without `overlap`, its jobs have the schedule's name as their unique.
    """

    name: str
    task: str | JobDefinition
    timing: Timing
    call: Call = _NOTHING
    overlap: bool = True
    grace: float | None = None
    priority: str | None = None

    @property
    def key(self) -> str:
        """The name with a digest of the timing: a schedule with another timing is a new one."""
        return f"{self.name}:{self.timing.digest}"

    @property
    def job_name(self) -> str:
        return self.task if isinstance(self.task, str) else self.task.name

    def grace_of(self, due: datetime.datetime) -> datetime.timedelta:
        """Return the time for which a tick is made up: an hour, or half the period if it is shorter."""
        if self.grace is not None:
            return datetime.timedelta(seconds=self.grace)
        following = self.timing.next(due)
        period = math.inf if following is None else (following - due).total_seconds()
        return datetime.timedelta(
            seconds=min(_GRACE_SECONDS, max(_LEAST_GRACE_SECONDS, period / 2))
        )

    @property
    def most_grace(self) -> datetime.timedelta:
        seconds = _GRACE_SECONDS if self.grace is None else self.grace
        return datetime.timedelta(seconds=seconds)

    def request(self, due: datetime.datetime, on_commit: bool | str) -> JobRequest[Any]:
        """Return the request of the job that is due at this time; it is not sent."""
        client = GearmanClient()
        request = client.prepare(
            self.task,
            self.call,
            background=True,
            on_commit=on_commit,
            unique=None if self.overlap else self.name,
            priority=self.priority,
        )
        if not request.spec.external and request.serializer.carries_calls:
            request.context.update(carried_due(request.id, due.isoformat()))
            write_context(request)
        return request

    def submit(self, due: datetime.datetime) -> JobRequest[Any]:
        """Submit the job of a tick at once, without a database: for tests."""
        request = self.request(due, False)
        deliver([request], None, conf.JobSettings(), wait=False)
        return request


def schedules() -> list[Scheduled]:
    """Return all declared schedules; raise ImproperlyConfigured with the first mistake."""
    found, mistakes = read_schedules()
    if mistakes:
        raise ImproperlyConfigured(mistakes[0])
    return found


def read_schedules() -> tuple[list[Scheduled], list[str]]:
    """Return the valid schedules, and a text for each mistake."""
    found: dict[str, Scheduled] = {}
    mistakes: list[str] = []

    def read(source: str, make: Callable[[], Scheduled]) -> None:
        try:
            schedule = make()
            _check_request(schedule)
            if schedule.name in found:
                raise ValueError(
                    f"there are two schedules of this name: the job {schedule.name} is declared with "
                    "cron=, too"
                )
            found[schedule.name] = schedule
        except (GearmanError, ImproperlyConfigured, TypeError, ValueError) as error:
            mistakes.append(f"{source}: {error}")

    for job in registry.jobs():
        if job.cron is not None:
            read(f"@gearman_job of {job.name}", lambda job=job: _of_job(job))  # type: ignore[misc]
    setting = conf.schedule()
    if not isinstance(setting, Mapping):
        mistakes.append(f"GEARMAN_SCHEDULE is a dict of schedules by name, not {quoted(setting)}")
        return [*found.values()], mistakes
    for name, entry in setting.items():
        source = f"GEARMAN_SCHEDULE[{quoted(name)}]"
        read(source, lambda name=name, entry=entry: _of_entry(name, entry))  # type: ignore[misc]
    return [*found.values()], mistakes


def _of_job(job: JobDefinition) -> Scheduled:
    timing = Cron(job.cron, job.cron_timezone)
    return Scheduled(_check_name(job.name), job, timing, job.check_call(_NOTHING))


def _of_entry(name: object, entry: object) -> Scheduled:
    name = _check_name(name)
    if not isinstance(entry, Mapping):
        raise TypeError(
            f"a schedule is a dict like {{'job': ..., 'cron': ...}}, not {quoted(entry)}"
        )
    for key in entry:
        if key not in _KEYS:
            close = difflib.get_close_matches(str(key), _KEYS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_KEYS)}"
            raise ValueError(f"{quoted(key)} is not a key of a schedule; {hint}")
    task = _task(entry.get("job"))
    overlap, priority = entry.get("overlap", True), entry.get("priority")
    if not isinstance(overlap, bool):
        raise TypeError(f"overlap is True or False, not {quoted(overlap)}")
    DEFAULT.updated(priority=priority)
    call = _call(entry.get("args", ()), entry.get("kwargs", {}))
    if isinstance(task, JobDefinition):
        call = task.check_call(call)
    return Scheduled(name, task, _timing(entry), call, overlap, _grace(entry), priority)


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise TypeError(f"the name of a schedule is a printable text, not {quoted(name)}")
    if len(name) > MAX_NAME:
        raise ValueError(f"the name of a schedule has at most {MAX_NAME} characters")
    return name


def _task(job: object) -> str | JobDefinition:
    if job is None:
        raise ValueError("'job' is missing: the name of the job to run")
    if not isinstance(job, (str, JobDefinition)):
        raise TypeError(f"'job' is the name of a job, not {quoted(job)}")
    return resolve(job) or str(job)


def _call(args: object, kwargs: object) -> Call:
    if not isinstance(args, (list, tuple)):
        raise TypeError(f"args is a list, not {quoted(args)}")
    if not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs):
        raise TypeError(f"kwargs is a dict with names as keys, not {quoted(kwargs)}")
    return Call(tuple(args), dict(kwargs))


def _timing(entry: Mapping[str, Any]) -> Timing:
    cron, every = entry.get("cron"), entry.get("every")
    if (cron is None) == (every is None):
        what = "neither cron nor every" if cron is None else "both cron and every"
        raise ValueError(f"it has {what}; it must have one of them")
    if cron is not None:
        return Cron(cron, entry.get("timezone"))
    if entry.get("timezone") is not None:
        raise ValueError("timezone has no effect on every, which counts seconds")
    return Every(every)


def _grace(entry: Mapping[str, Any]) -> float | None:
    grace = entry.get("grace")
    if isinstance(grace, datetime.timedelta):
        grace = grace.total_seconds()
    if grace is None:
        return None
    if isinstance(grace, bool) or not isinstance(grace, (int, float)):
        raise TypeError(f"grace is a number of seconds, not {quoted(grace)}")
    if not 1 <= grace <= _MOST_GRACE_SECONDS:
        raise ValueError(
            f"grace is a number of seconds from 1 to {_MOST_GRACE_SECONDS:g}, not {quoted(grace)}"
        )
    return float(grace)


def _check_request(schedule: Scheduled) -> None:
    """Raise SerializationError if the arguments cannot be sent."""
    default = conf.serializer()
    if isinstance(schedule.task, JobDefinition):
        serializer = schedule.task.serializer_over(default)
        serializer.dumps_call(schedule.call)
    else:
        get_serializer(default).dumps_external(schedule.call)


def ticks_between(
    start: datetime.datetime, end: datetime.datetime
) -> Iterator[tuple[datetime.datetime, Scheduled]]:
    """Yield the ticks of all schedules after one time and up to another one, in order."""
    upcoming = [(each.timing.times(start), each) for each in read_schedules()[0]]
    waiting = [(due, n) for n, (times, _) in enumerate(upcoming) if (due := next(times, None))]
    while waiting:
        due, n = min(waiting)
        if due > end:
            return
        waiting.remove((due, n))
        if following := next(upcoming[n][0], None):
            waiting.append((following, n))
        yield due, upcoming[n][1]
