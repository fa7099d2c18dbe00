"""Assertions on submitted jobs, and their messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from ..client.arguments import MISSING
from ..conf import workers
from ..jobs.definition import JobDefinition
from ..worker.routing import routing_errors
from .expectation import Expectation, describe_submission
from .outbox import SubmittedJob

_SHOWN = 500  # submissions in a message


class Assertions(ABC):
    """Assertions on the jobs that were submitted."""

    @property
    @abstractmethod
    def submitted(self) -> list[SubmittedJob]:
        """The submissions so far, in order, without those that a transaction still holds back."""

    def assert_submitted(
        self,
        job: str | JobDefinition | None = None,
        /,
        *arguments: Any,
        queue: Any = MISSING,
        background: Any = MISSING,
        priority: Any = MISSING,
        unique: Any = MISSING,
        run_after: Any = MISSING,
        times: int | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **job_kwargs: Any,
    ) -> SubmittedJob:
        """
        Fail unless a job like this was submitted, `times` times if given; return the first.

        Options that you leave out are not compared. All arguments are compared as the job gets
        them, by position or by keyword. Write `unittest.mock.ANY` for an argument with any value.
        Put arguments with the names of the options into `args` or `kwargs`; `args=[]` means no
        arguments.

        Raises AssertionError, with all submissions and their differences, and TypeError or
        ValueError for an impossible expectation.
        """
        __tracebackhide__ = True
        if times is not None and (type(times) is not int or times < 1):
            raise ValueError(f"times is 1 or more, not {times!r}; see assert_not_submitted")
        options = {
            "queue": queue,
            "background": background,
            "priority": priority,
            "unique": unique,
            "run_after": run_after,
        }
        expected = Expectation.read(job, arguments, args, kwargs, {**job_kwargs, **options})
        submitted = self.submitted
        found = expected.among(submitted)
        if found and times in (None, len(found)):
            return found[0]
        fact = f"was submitted {_times(len(found))}, not {_times(times)}"
        if not found:
            fact = f"was not submitted{_because(expected)}"
        raise AssertionError(f"{expected} {fact}\n{_report(submitted, expected)}")

    def assert_not_submitted(
        self,
        job: str | JobDefinition | None = None,
        /,
        *arguments: Any,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """
        Fail if a job like this was submitted; takes the options of `assert_submitted`, except
        `times`.

        Also fails for an unknown job name, and for arguments that the job cannot have.
        """
        __tracebackhide__ = True
        if "times" in others:
            raise TypeError("assert_not_submitted takes no times=; assert_submitted does")
        expected = Expectation.read(job, arguments, args, kwargs, others)
        submitted = self.submitted
        for found in expected.among(submitted):
            raise AssertionError(
                f"{describe_submission(found)} was submitted, and should not be\n"
                f"{_report(submitted, expected)}"
            )
        if expected.impossible:
            raise AssertionError(f"{expected} can never be submitted{_because(expected)}")

    def assert_nothing_submitted(self) -> None:
        """Fail if any job was submitted."""
        __tracebackhide__ = True
        if submitted := self.submitted:
            raise AssertionError(f"nothing should be submitted\n{_report(submitted)}")

    def assert_submitted_in_order(
        self, *jobs: str | JobDefinition | tuple[str | JobDefinition, *tuple[Any, ...]]
    ) -> list[SubmittedJob]:
        """
        Fail unless these were submitted in this order, perhaps with others in between; return them.

        Each is a job, or a tuple of a job and its arguments.
        """
        __tracebackhide__ = True
        if not jobs:
            raise TypeError("in the order of which jobs? Name them")
        submitted = self.submitted
        found: list[SubmittedJob] = []
        remaining = iter(submitted)
        for each in jobs:
            job, *arguments = each if isinstance(each, tuple) else (each,)
            expected = Expectation.read(job, arguments, None, None, {})
            record = next((r for r in remaining if not expected.differences(r)), None)
            if record is None:
                after = f" after {found[-1].name}" if found else ""
                raise AssertionError(
                    f"{expected} was not submitted{after}{_because(expected)}\n{_report(submitted)}"
                )
            found.append(record)
        return found

    def assert_routed(self) -> None:
        """Fail unless the workers in GEARMAN_WORKERS serve the queue of every job of the project."""
        __tracebackhide__ = True
        if workers() is None:
            raise AssertionError(
                "GEARMAN_WORKERS is not set: declare the workers of your deployment by their "
                "arguments, like GEARMAN_WORKERS = ['-w 5 -q mail', '-q default']"
            )
        if errors := routing_errors():
            raise AssertionError("\n".join(errors))


def _because(expected: Expectation) -> str:
    return f": {expected.impossible}" if expected.impossible else ""


def _times(number: int | None) -> str:
    return "once" if number == 1 else f"{number} times"


def _report(submitted: Sequence[SubmittedJob], expected: Expectation | None = None) -> str:
    """List the submissions in their order or, with an expectation, nearest first."""
    if not submitted:
        return "Nothing was submitted."
    if expected is not None:
        submitted = sorted(submitted, key=expected.distance)
    order = "in their order" if expected is None else "nearest first"
    lines = ["Submitted was:" if len(submitted) == 1 else f"Submitted were, {order}:"]
    for number, record in enumerate(submitted[:_SHOWN], 1):
        lines.append(f"  {number}. {describe_submission(record)}")
        if expected is not None:
            lines += [f"       {difference}" for difference in expected.differences(record)]
    if len(submitted) > _SHOWN:
        lines.append(f"  ... and {len(submitted) - _SHOWN} more")
    return "\n".join(lines)
