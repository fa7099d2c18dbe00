"""Clients that wait for a job in a test."""

from __future__ import annotations

from collections.abc import Callable

from ..backends.base import JobSpec, Outcome, Submission, Update
from ..utils.clock import monotonic
from ..utils.waiting import seconds_until
from .outbox import Outbox, SubmittedJob

_LOOK_SECONDS = 0.02  # seconds that a client waits before it checks that a worker serves its job


class NotServed(AssertionError):
    """The error of a client that waits for a job which no worker of this test serves."""


class WatchedSubmission(Submission):
    """
    A submission that passes updates on, and does not wait forever for a job without a worker.

    `serve` serves the job, or returns True if a worker may. `complain` gets the number of failed
    tries, and may raise NotServed.
    """

    def __init__(
        self,
        submission: Submission,
        spec: JobSpec,
        outbox: Outbox,
        serve: Callable[[JobSpec, str], bool],
        complain: Callable[[JobSpec, float | None, int], None],
    ) -> None:
        self.handle = submission.handle
        self.error = submission.error
        self._submission = submission
        self._spec = spec
        self._outbox = outbox
        self._serve = serve
        self._complain = complain
        self._finished = False

    def next_update(self, timeout: float | None = None) -> Update | None:
        deadline = None if timeout is None else monotonic() + timeout
        update = self._submission.next_update(0)
        unserved = 0
        while update is None and not self._finished and seconds_until(deadline) != 0.0:
            unserved = 0 if self._serve(self._spec, self.handle) else unserved + 1
            if unserved:
                self._complain(self._spec, timeout, unserved)
            remaining = seconds_until(deadline)
            patience = _LOOK_SECONDS if remaining is None else min(_LOOK_SECONDS, remaining)
            update = self._submission.next_update(patience)
        if update is not None:
            self._finished = isinstance(update, Outcome)
            self._outbox.tell(self.handle, SubmittedJob.client_saw, self.handle, update)
        return update
