"""Batches of background jobs: many runs of one job, submitted together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

from .. import environment
from ..backends import get_backend
from ..backends.base import JobSpec, Submission
from ..exceptions import SubmitUncertain
from ..jobs import counting, keeping
from ..jobs.definition import JobDefinition, R_co
from ..serializers import Call
from ..signals import job_submitted
from ..worker.inline import run_queued
from .builder import Preparation
from .delivery import Servers, deliver
from .request import JobRequest


class JobBatch(Sequence[JobRequest[R_co]]):
    """
    Background jobs that were submitted together: a sequence of requests, in the order of the items.

    A request is made when you ask for it, so a large batch takes little time and memory.
    """

    def __init__(
        self, rows: list[Any], make: Callable[[int, Submission], JobRequest[R_co]] | None
    ) -> None:
        self._rows = rows  # requests; a submission stands for one until it is made
        self._make = make

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> JobRequest[R_co]: ...

    @overload
    def __getitem__(self, place: slice) -> list[JobRequest[R_co]]: ...

    def __getitem__(self, place: int | slice) -> JobRequest[R_co] | list[JobRequest[R_co]]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        row = self._rows[place]
        if self._make is not None and isinstance(row, Submission):
            row = self._rows[place] = self._make(place % len(self._rows), row)
        request: JobRequest[R_co] = row
        return request

    def __iter__(self) -> Iterator[JobRequest[R_co]]:
        return (self[place] for place in range(len(self)))

    def __repr__(self) -> str:
        return f"<JobBatch of {len(self)} jobs>"

    @property
    def refused(self) -> list[JobRequest[R_co]]:
        """The requests that a job server has refused; each has the reason as its `exception`."""
        if self._make is None:
            return [request for request in self if request.exception is not None]
        return [self[place] for place, row in enumerate(self._rows) if _error_of(row) is not None]


def _error_of(row: Any) -> object:
    return row.error if isinstance(row, Submission) else row.exception


def submit_batch(
    preparation: Preparation, job: JobDefinition[R_co], items: Iterable[Any], servers: Servers
) -> JobBatch[R_co]:
    """
    Queue a background job for each item.

    All items are checked before the first is sent. Raises the errors of `submit_multiple_jobs`.
    """
    options, settings = preparation.target(job).options, preparation.settings
    items = [*items]
    if not items:
        return JobBatch([], None)
    is_seen = (
        environment.current() is not environment.PRODUCTION
        or (keeping.keeper is not None and keeping.is_recorded(job))
        or settings.middleware
        or job_submitted.receivers
    )
    if is_seen or options.on_commit or options.resubmit:
        rows = preparation.specs(job, map(_call, items), "items")
        requests = [preparation.make_request(job, *row) for row in rows]
        deliver(requests, servers, settings, wait=False)
        batch = JobBatch[R_co](requests, None)
        errors = [request.exception for request in requests]
    else:
        specs, make_unsent = _prepare(preparation, job, items)
        backend = get_backend(servers, settings.transport)
        submissions = backend.submit(specs)
        if backend.runs_in_caller:
            run_queued(backend)

        def make(place: int, submission: Submission) -> JobRequest[R_co]:
            request = make_unsent(place)
            request.sent(submission, servers)
            return request

        batch, errors = JobBatch([*submissions], make), [each.error for each in submissions]
        if counting.counter is not None:
            counting.counter.submitted_batch(job, errors.count(None))
    check_batch(batch, errors)
    return batch


def _call(item: Any) -> Call:
    return Call((item,))


def _prepare(
    preparation: Preparation, job: JobDefinition[R_co], items: Sequence[Any]
) -> tuple[Sequence[JobSpec], Callable[[int], JobRequest[R_co]]]:
    """Check all items; return their specs, and a function that makes the request of one."""
    specs = preparation.batch(job, items)
    if specs is not None:
        return specs, lambda place: preparation.make_request(
            job, specs[place], _call(items[place]), specs[place].unique
        )
    rows = preparation.specs(job, map(_call, items), "items")
    return [spec for spec, _, _ in rows], lambda place: preparation.make_request(job, *rows[place])


def check_batch(batch: JobBatch[R_co], errors: Sequence[object]) -> None:
    """Raise SubmitUncertain, with the batch, if a job was not acknowledged."""
    uncertain = [error for error in filter(None, errors) if isinstance(error, SubmitUncertain)]
    if uncertain:
        raise SubmitUncertain(
            f"{len(uncertain)} of {len(batch)} jobs were sent but not acknowledged; see .requests for "
            f"each. The first: {uncertain[0]}",
            batch,
        ) from uncertain[0]
