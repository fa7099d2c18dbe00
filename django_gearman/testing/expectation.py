"""A submission as a test expects it, and in what another one differs from it."""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..calls import MISSING, collect_call
from ..client import resolve
from ..exceptions import JobNotRegistered
from ..jobs import AnyJob, Job
from ..options import Options
from ..registry import registry
from ..serializers import Call
from .outbox import SubmittedJob

#: What is expected of a submission beside its job and the arguments of that.
OPTIONS = ("queue", "background", "priority", "unique", "run_after")

_SAME_TIME = 1.0  # seconds between two ways to write one run_after
_LONGEST = 200  # characters of a value in a message


class Expectation:
    """
    What is expected of a submission; what is None (of the options: MISSING) may be anything.

    `impossible` says why nothing can ever be like this: the job is unknown, or has no such arguments.
    """

    def __init__(
        self,
        job: str | AnyJob | None = None,
        call: Call | None = None,
        **options: Any,
    ) -> None:
        self.name = job.name if isinstance(job, Job) else job
        self._call = call
        self._options = {name: value for name, value in options.items() if value is not MISSING}
        self.impossible = ""
        try:
            known = None if job is None else resolve(job)
            if known is not None and call is not None:
                self._call = known.check_call(call)
        except JobNotRegistered as error:
            self.impossible = error.args[0]
        except TypeError as error:
            if not isinstance(job, str | Job):
                raise
            self.impossible = f"{error} (unittest.mock.ANY stands for any value)"
        if isinstance(priority := self._options.get("priority"), str):
            Options(priority=priority)  # ValueError for one that there is not

    @classmethod
    def read(
        cls,
        job: str | AnyJob | None,
        arguments: Sequence[Any],
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
        others: dict[str, Any],
    ) -> Expectation:
        """Tell the options among the keywords `others` from the job's own arguments."""
        options = {name: others.pop(name) for name in OPTIONS if name in others}
        given = bool(arguments or others) or args is not None or kwargs is not None
        call = collect_call(MISSING, arguments, args, kwargs, others)
        return cls(job, call if given else None, **options)

    def __str__(self) -> str:
        arguments = "..." if self._call is None else _arguments(self._call.args, self._call.kwargs)
        return _describe(self.name or "any job", arguments, self._options)

    def differences(self, record: SubmittedJob) -> list[str]:
        """Return a line for each thing in which a submission is not as expected."""
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
        """Return a number that is the smaller the more alike they are."""
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
        got = _by_name(job, Call(record.args, record.kwargs))
        for name in dict.fromkeys([*wanted, *got]):
            if name not in wanted:
                yield f"{name} is {_show(got[name])}, which was not expected"
            elif name not in got:
                yield f"{name} is not given; expected was {_show(wanted[name])}"
            elif not wanted[name] == got[name]:  # noqa: SIM201 - what ANY means is its own __eq__
                yield _line(name, got[name], wanted[name])


def describe(record: SubmittedJob) -> str:
    """Write a submission in a line."""
    options: dict[str, Any] = {"queue": record.queue, "background": record.background}
    for name in ("priority", "unique", "run_after"):
        if getattr(record, name) is not None:
            options[name] = getattr(record, name)
    return _describe(record.name, _arguments(record.args, record.kwargs), options)


def _describe(name: str, arguments: str, options: Mapping[str, Any]) -> str:
    return "  ".join([f"{name}({arguments})", *(f"{key}={_show(options[key])}" for key in options)])


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _arguments(args: Iterable[Any], kwargs: Mapping[str, Any]) -> str:
    named = [f"{name}={_show(value)}" for name, value in kwargs.items()]
    return ", ".join([*map(_show, args), *named])


def _line(name: str, got: Any, wanted: Any) -> str:
    return f"{name} is {_show(got)}, not {_show(wanted)}"


def _by_name(job: AnyJob | None, call: Call) -> dict[Any, Any]:
    """Return the arguments by the job's names for them, by position for a job that is not ours."""
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
            return record.run_at is not None and _is_same_time(wanted, record)
        case _:
            return False


def _is_same_time(wanted: datetime.datetime | datetime.timedelta, record: SubmittedJob) -> bool:
    if isinstance(wanted, datetime.timedelta):
        due = record.submitted_at + wanted.total_seconds()
    else:
        due = Options(run_after=wanted).run_at() or 0.0
    return abs(due - (record.run_at or 0.0)) < _SAME_TIME
