"""Batches of background jobs: many runs of one job, submitted together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from .. import environment
from ..backends import get_backend
from ..backends.base import JobSpec, SpecBatch, Submission
from ..backends.submitted import errors_of
from ..exceptions import BackendError, GearmanError, SubmitUncertain
from ..jobs import counting, keeping
from ..jobs.definition import JobDefinition, R_co
from ..serializers import Call
from ..signals import job_submitted
from ..worker.inline import run_queued
from .arguments import parse_alike
from .builder import Preparation
from .delivery import Servers, deliver
from .request import JobRequest


class JobBatch(Sequence[JobRequest[R_co]]):
    """
    Background jobs that were submitted together: a sequence of requests, in the order of the items.

    A request is made when you ask for it, so a large batch takes little time and memory.
    """

    def __init__(
        self,
        number: int,
        make: Callable[[int], JobRequest[R_co]],
        errors: Mapping[int, BackendError] | None = None,
    ) -> None:
        self._number = number
        self._make = make
        self._errors = errors  # by place; None if only the requests know them
        self._made: dict[int, JobRequest[R_co]] = {}

    def __len__(self) -> int:
        return self._number

    def __reduce__(self) -> tuple[Any, ...]:
        """Make all requests, for a copy: another process cannot make them."""
        return _batch_of, ([*self],)

    @overload
    def __getitem__(self, place: int) -> JobRequest[R_co]: ...

    @overload
    def __getitem__(self, place: slice) -> list[JobRequest[R_co]]: ...

    def __getitem__(self, place: int | slice) -> JobRequest[R_co] | list[JobRequest[R_co]]:
        places = range(self._number)[place]
        if not isinstance(places, int):
            return [self[each] for each in places]
        if (request := self._made.get(places)) is None:
            # One for all threads: the first that is recorded.
            request = self._made.setdefault(places, self._make(places))
        return request

    def __iter__(self) -> Iterator[JobRequest[R_co]]:
        return map(self.__getitem__, range(self._number))

    def __repr__(self) -> str:
        return f"<JobBatch of {len(self)} jobs>"

    @property
    def refused(self) -> list[JobRequest[R_co]]:
        """The requests that a job server has refused; each has the reason as its `exception`."""
        if self._errors is None:
            return [request for request in self if request.exception is not None]
        return [self[place] for place in self._errors]


def _batch_of(requests: list[JobRequest[R_co]]) -> JobBatch[R_co]:
    return JobBatch(len(requests), requests.__getitem__)


def submit_batch(
    preparation: Preparation, job: JobDefinition[R_co], items: Iterable[Any], servers: Servers
) -> JobBatch[R_co]:
    """
    Queue a background job for each item.

    All items are checked before the first is sent. Raises the errors of `submit_multiple_jobs`.
    """
    items = [*items]
    if not items:
        return _batch_of([])
    specs = None
    if not is_seen(preparation, job):
        specs = preparation.batch(job, items)
    if specs is None:
        rows = preparation.specs(job, map(call_with, items), "items")
        requests = [preparation.make_request(job, *row) for row in rows]
        deliver(requests, servers, preparation.settings, wait=False)
        batch = _batch_of(requests)
        check_batch(batch, [request.exception for request in requests])
        return batch
    submissions = send_batch(preparation, job, specs, servers)
    return sent_batch(preparation, job, items, specs, submissions, servers)


def sent_batch(
    preparation: Preparation,
    job: JobDefinition[R_co],
    items: Sequence[Any],
    specs: SpecBatch,
    submissions: Sequence[Submission],
    servers: Servers,
) -> JobBatch[R_co]:
    """Return the batch of submissions; raise SubmitUncertain as `check_batch` does."""

    def make(place: int) -> JobRequest[R_co]:
        request: JobRequest[R_co] = request_of(preparation, job, specs[place], items[place])
        request.sent(submissions[place], servers)
        return request

    errors = errors_of(submissions)
    batch = JobBatch(len(items), make, errors)
    check_batch(batch, errors.values())
    return batch


def submit_alike(
    preparation: Preparation, entries: Sequence[Any], servers: Servers
) -> list[JobRequest] | None:
    """
    Queue background jobs, as entries of `submit_multiple_jobs`, at once.

    Returns None, and does nothing, unless they are of one task and have one argument each; and if
    there may be an error, which a look at each entry finds.
    """
    task, items = parse_alike(entries)
    try:
        target = preparation.target(task) if items else None
        if target is None or target.job is None or is_seen(preparation, task):
            return None
        specs = preparation.batch(task, items)
    except (GearmanError, TypeError, ValueError):
        return None
    if specs is None:
        return None
    job = target.job
    submissions = send_batch(preparation, job, specs, servers)
    requests: list[JobRequest] = []
    name, serializer, options = target.name, target.serializer, target.options
    for spec, item, submission in zip(specs, items, submissions, strict=True):
        # A row of `make_request`, without a look for the target each time.
        request = JobRequest(name, call_with(item), spec, serializer, options, spec.unique, job)
        request.sent(submission, servers)
        requests.append(request)
    return requests


def is_seen(preparation: Preparation, task: str | JobDefinition[Any]) -> bool:
    """Return True if something of the project, or a delivery option, needs the request of each job."""
    target = preparation.target(task)
    return bool(
        environment.current() is not environment.PRODUCTION
        or (keeping.keeper is not None and keeping.is_recorded(target.job))
        or preparation.settings.middleware
        or job_submitted.receivers
        or target.options.on_commit
        or target.options.resubmit
    )


def send_batch(
    preparation: Preparation, job: JobDefinition[Any], specs: SpecBatch, servers: Servers
) -> Sequence[Submission]:
    """Send a batch that nobody else sees."""
    backend = get_backend(servers, preparation.settings.transport)
    submissions = backend.submit_batch(specs)
    count(job, submissions)
    if backend.runs_in_caller:
        run_queued(backend)
    return submissions


def count(job: JobDefinition[Any], submissions: Sequence[Submission]) -> None:
    """Count the jobs of a batch that a server has accepted as submitted."""
    if counting.counter is not None:
        counting.counter.submitted_batch(job, len(submissions) - len(errors_of(submissions)))


def request_of(
    preparation: Preparation, task: str | JobDefinition[Any], spec: JobSpec, item: Any
) -> JobRequest[Any]:
    """Return the request for an element of a batch."""
    return preparation.make_request(task, spec, call_with(item), spec.unique)


def call_with(item: Any) -> Call:
    """Return the call with one argument."""
    return Call((item,))


def check_batch(batch: JobBatch[R_co], errors: Iterable[object]) -> None:
    """Raise SubmitUncertain, with the batch, if a job was not acknowledged."""
    uncertain = [error for error in errors if isinstance(error, SubmitUncertain)]
    if uncertain:
        raise SubmitUncertain(
            f"{len(uncertain)} of {len(batch)} jobs were sent but not acknowledged; see .requests for "
            f"each. The first: {uncertain[0]}",
            batch,
        ) from uncertain[0]
