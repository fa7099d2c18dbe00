"""Many foreground runs of one job, of which only the results are of interest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from ..backends.base import SpecBatch, Submission, WorkComplete
from ..exceptions import BackendError, GearmanError
from ..jobs.context import running
from ..jobs.definition import JobDefinition, R_co
from ..utils.waiting import submit_by
from .batch import JobBatch, call_with, check_batch, is_seen, request_of, send_batch
from .builder import Preparation
from .checking import check_acknowledged
from .delivery import Servers, deliver, limits_of
from .request import JobRequest


def map_items(
    preparation: Preparation, job: JobDefinition[R_co], items: Iterable[Any], servers: Servers
) -> list[R_co]:
    """
    Run a foreground job for each item, and return the results.

    All items are checked before the first is sent. Raises the errors of `submit_multiple_jobs`, and
    the error of the first job that failed, when all have ended or the time is over.
    """
    items = [*items]
    if not items:
        return []
    specs = None
    if running.get() is None and not is_seen(preparation, job):
        specs = preparation.batch(job, items)
    if specs is not None:
        return _Run(preparation, job, items, specs, servers).results()
    requests = preparation.requests(items, lambda item: (job, call_with(item)), "items")
    deliver(requests, servers, preparation.settings, wait=True)
    check_acknowledged(requests)
    return [request.result for request in requests]


class _Run:
    """The runs of a batch. A request is made only for a job whose result has not come at once."""

    def __init__(
        self,
        preparation: Preparation,
        job: JobDefinition[Any],
        items: Sequence[Any],
        specs: SpecBatch,
        servers: Servers,
    ) -> None:
        self._preparation = preparation
        self._target = preparation.target(job)
        self._job = job
        self._items = items
        self._specs = specs
        self._servers = servers
        self._submissions: Sequence[Submission] = ()
        self._outcomes: list[Any] = []  # bytes of results, and requests that were waited for

    def results(self) -> list[Any]:
        preparation, job, specs = self._preparation, self._job, self._specs
        deadline, limit = limits_of(self._target.options, wait=True)
        token = submit_by.set(limit)
        try:
            self._submissions = send_batch(preparation, job, specs, self._servers)
            self._outcomes = [
                self._outcome(place, submission, deadline)
                for place, submission in enumerate(self._submissions)
            ]
        finally:
            submit_by.reset(token)
        waited = [each for each in self._outcomes if type(each) is not bytes]
        batch = JobBatch(len(self._items), self._ended_request)
        check_batch(batch, [request.exception for request in waited])
        loads = self._target.serializer.loads_result
        return [loads(each) if type(each) is bytes else each.result for each in self._outcomes]

    def _outcome(self, place: int, submission: Submission, deadline: float | None) -> Any:
        """Return the bytes of a result, or the request of a job that was waited for."""
        update = None
        with suppress(GearmanError):  # the request will have it
            update = submission.next_update(0.0)
        if type(update) is WorkComplete:
            return update.data
        request = self._request(place, submission)
        if update is not None:
            request.take(update)
        with suppress(BackendError):  # the request has it as its .exception
            request.wait_until(deadline)
        return request

    def _request(self, place: int, submission: Submission) -> JobRequest[Any]:
        spec, item = self._specs[place], self._items[place]
        request = request_of(self._preparation, self._job, spec, item)
        request.sent(submission, self._servers)
        return request

    def _ended_request(self, place: int) -> JobRequest[Any]:
        outcome = self._outcomes[place]
        if type(outcome) is bytes:
            request = self._request(place, self._submissions[place])
            request.take(WorkComplete(outcome))
        else:
            request = outcome
        return request
