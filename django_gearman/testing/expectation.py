"""An expected submission, and its differences from a real one."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..client.arguments import MISSING, collect_call
from ..client.builder import resolve
from ..exceptions import JobNotRegistered
from ..jobs.definition import JobDefinition
from ..jobs.options import Options
from ..jobs.registry import registry
from ..serializers import Call
from .describe import describe, describe_call, show
from .outbox import SubmittedJob

#: The options of an expectation, besides the job and its arguments.
OPTIONS = ("queue", "background", "priority", "unique", "run_after")

_SAME_TIME = 1.0  # seconds between two equal run_after values


class Expectation:
    """
    An expected submission; None (for options: MISSING) matches anything.

    `impossible` is the reason why nothing can match: the job is unknown, or has no such arguments.
    """

    def __init__(
        self,
        job: str | JobDefinition | None = None,
        call: Call | None = None,
        **options: Any,
    ) -> None:
        self.name = job.name if isinstance(job, JobDefinition) else job
        self._call = call
        self._options = {name: value for name, value in options.items() if value is not MISSING}
        unique = self._options.get("unique")
        if isinstance(unique, str) and unique == "-":  # libgearman's value for it
            self._options["unique"] = True
        self.impossible = ""
        try:
            known = None if job is None else resolve(job)
            if known is not None and call is not None:
                self._call = known.check_call(call)
        except JobNotRegistered as error:
            self.impossible = error.args[0]
        except TypeError as error:
            if not isinstance(job, str | JobDefinition):
                raise
            self.impossible = f"{error} (unittest.mock.ANY stands for any value)"
        for name, value in self._options.items():
            _check_option(name, value)

    @classmethod
    def read(
        cls,
        job: str | JobDefinition | None,
        arguments: Sequence[Any],
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        others: dict[str, Any],
    ) -> Expectation:
        """Separate the options among the keywords `others` from the job's own arguments."""
        options = {name: others.pop(name) for name in OPTIONS if name in others}
        given = bool(arguments or others) or args is not None or kwargs is not None
        call = collect_call(MISSING, arguments, args, kwargs, others)
        if given and job is None:
            raise TypeError(f"arguments ({call}) of which job? Name it first")
        return cls(job, call if given else None, **options)

    def __str__(self) -> str:
        call = self._call
        arguments = "..." if call is None else describe_call(call)
        return describe(self.name or "any job", arguments, self._options)

    def differences(self, record: SubmittedJob) -> list[str]:
        """Return a line for each difference of a submission."""
        if self.name not in (None, record.name):
            return [f"it is {record.name}, not {self.name}"]
        lines = list(self._call_differences(record))
        for name, wanted in self._options.items():
            if not _matches(name, wanted, record):
                lines.append(_line(name, getattr(record, name), wanted))
        return lines

    def among(self, submitted: Iterable[SubmittedJob]) -> list[SubmittedJob]:
        return [record for record in submitted if not self.differences(record)]

    def distance(self, record: SubmittedJob) -> float:
        """Return a number that is smaller for more similar submissions."""
        lines = self.differences(record)
        if self.name is None or self.name == record.name:
            return len(lines)
        return 1000 - difflib.SequenceMatcher(None, self.name, record.name).ratio()

    def _call_differences(self, record: SubmittedJob) -> Iterable[str]:
        if self._call is None:
            return
        job = registry.find(record.name)
        try:
            wanted = _by_name(job, self._call)
        except TypeError:
            yield "it has no such arguments"
            return
        got = _by_name(job, record.call)
        for name in dict.fromkeys([*wanted, *got]):
            if name not in wanted:
                yield f"{name} is {show(got[name])}, which was not expected"
            elif name not in got:
                yield f"{name} is not given; expected was {show(wanted[name])}"
            elif not wanted[name] == got[name]:  # noqa: SIM201 - what ANY means is its own __eq__
                yield _line(name, got[name], wanted[name])


def describe_submission(record: SubmittedJob) -> str:
    """Return the text of a submission in a line."""
    options: dict[str, Any] = {"queue": record.queue, "background": record.background}
    for name in ("priority", "unique", "run_after"):
        if getattr(record, name) is not None:
            options[name] = getattr(record, name)
    return describe(record.name, describe_call(record.call), options)


def _line(name: str, got: Any, wanted: Any) -> str:
    return f"{name} is {show(got)}, not {show(wanted)}"


def _by_name(job: JobDefinition | None, call: Call) -> dict[Any, Any]:
    """Return the arguments by the job's parameter names; by position for an external job."""
    if job is None:
        return {**dict(enumerate(call.args)), **call.kwargs}
    return job.arguments_of(job.check_call(call))


def _matches(name: str, wanted: Any, record: SubmittedJob) -> bool:
    got = getattr(record, name)
    if wanted == got:
        return True
    match name, wanted:
        case "unique", str():
            return bool(wanted == record.request.unique)
        case "run_after", datetime.datetime() | datetime.timedelta():
            return record.request.spec.run_at is not None and _is_same_time(wanted, record)
        case _:
            return False


def _is_same_time(wanted: datetime.datetime | datetime.timedelta, record: SubmittedJob) -> bool:
    if isinstance(wanted, datetime.timedelta):
        due = record.submitted_at + wanted.total_seconds()
    else:
        due = Options(run_after=wanted).run_at() or 0.0
    return abs(due - (record.request.spec.run_at or 0.0)) < _SAME_TIME


_KINDS: dict[str, tuple[type, ...]] = {
    "queue": (str, type(None)),
    "background": (bool,),
    "priority": (str, type(None)),
    "unique": (str, bool, type(None)),
    "run_after": (datetime.datetime, datetime.timedelta, type(None)),
}


def _check_option(name: str, value: Any) -> None:
    """Raise TypeError or ValueError for an impossible value of an option."""
    if type(value).__module__ in ("builtins", "datetime") and not isinstance(value, _KINDS[name]):
        raise TypeError(f"the {name} of a submission is never {value!r}")
    if name == "priority" and isinstance(value, str):
        Options(priority=value)
