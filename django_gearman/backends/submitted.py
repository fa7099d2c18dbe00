"""The submitters' side of the transport contract; `base` has these names, too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from typing import TypeVar, overload

from ..exceptions import BackendError, JobTimeout
from ..protocol.messages import Outcome, Update
from ..utils.clock import monotonic

_S = TypeVar("_S", bound="Submission")


class Submission(ABC):
    """
    A submitted job, as the submitter sees it.

    `handle` names it in `BaseBackend.job_status`, also from another process. It is "", and `error`
    is set, if the server refused the job (`ServerError`) or never acknowledged it
    (`SubmitUncertain`).
    """

    handle: str = ""
    error: BackendError | None = None

    @abstractmethod
    def next_update(self, timeout: float | None = None) -> Update | None:
        """
        Wait up to `timeout` seconds (None: without limit) for the next update.

        Returns None after the timeout, and after the outcome. Raises `ConnectionLost` if no update
        can arrive any more, `JobLost` if the server has forgotten the job, and `ResultUnavailable`
        for a background job, which sends none.
        """

    def release(self) -> None:  # noqa: B027 - what keeps nothing has nothing to forget
        """
        Note that a wait has ended without an outcome.

        The submitter may wait again. When no reference to the submission is left, the backend may
        forget its job: a queued job without another waiting client need not run.
        """

    def updates(self, timeout: float | None = None) -> Iterator[Update]:
        """
        Yield updates up to and including the outcome; raise JobTimeout after `timeout` seconds in
        all.
        """
        deadline = None if timeout is None else monotonic() + timeout
        while True:
            remaining = None if deadline is None else max(0.0, deadline - monotonic())
            update = self.next_update(remaining)
            if update is None:
                raise JobTimeout(f"job {self.handle} has not finished within {timeout} s")
            yield update
            if isinstance(update, Outcome):
                return


class SubmissionBatch(Sequence[_S]):
    """Submissions of which each is made when it is asked for."""

    @property
    @abstractmethod
    def errors(self) -> Mapping[int, BackendError]:
        """The errors of the submissions that have one, by their places."""

    @abstractmethod
    def _make(self, place: int) -> _S:
        """Return the submission at a place, from 0 on."""

    def __iter__(self) -> Iterator[_S]:
        return map(self._make, range(len(self)))

    @overload
    def __getitem__(self, place: int) -> _S: ...

    @overload
    def __getitem__(self, place: slice) -> list[_S]: ...

    def __getitem__(self, place: int | slice) -> _S | list[_S]:
        places = range(len(self))[place]
        return self._make(places) if isinstance(places, int) else [*map(self._make, places)]


class Joined(SubmissionBatch[_S]):
    """Sequences of submissions, one after the other."""

    def __init__(self, parts: Iterable[Sequence[_S]]) -> None:
        self._parts = [*parts]
        self._starts = [0, *accumulate(map(len, self._parts))]

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[_S]:
        return chain.from_iterable(self._parts)

    def _make(self, place: int) -> _S:
        part = bisect_right(self._starts, place) - 1
        return self._parts[part][place - self._starts[part]]

    @property
    def errors(self) -> Mapping[int, BackendError]:
        found: dict[int, BackendError] = {}
        for start, part in zip(self._starts, self._parts, strict=False):
            found |= {start + place: error for place, error in errors_of(part).items()}
        return found


def errors_of(submissions: Sequence[Submission]) -> Mapping[int, BackendError]:
    """Return the errors of the submissions that have one, by their places."""
    if isinstance(submissions, SubmissionBatch):
        return submissions.errors
    errors = [each.error for each in submissions]
    return {place: error for place, error in enumerate(errors) if error is not None}


class AwaitableSubmission(Submission):
    """A job submitted on an event loop; only that loop may await it."""

    def give_up(self) -> None:
        """Set `error` if the server has not acknowledged the job yet: the time is over."""

    @abstractmethod
    async def wait_update(self, timeout: float | None = None) -> Update | None:
        """Await what `next_update` returns, with the same arguments, result and errors."""


class UnsentSubmission(AwaitableSubmission):
    """A job that was not sent, because of `error`."""

    def __init__(self, error: BackendError) -> None:
        self.error: BackendError = error

    def next_update(self, timeout: float | None = None) -> Update | None:
        raise self.error.with_traceback(None)  # otherwise its traceback would grow each time

    async def wait_update(self, timeout: float | None = None) -> Update | None:
        return self.next_update(timeout)
