"""Clients that wait for a job in a test."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial

from ..backends.base import JobSpec, Outcome, Submission, Update
from ..exceptions import JobError
from .outbox import Outbox, SubmittedJob

_LOOK_SECONDS = 0.2  # how long a client waits until it looks whether anybody still serves its job


class NotServed(JobError, AssertionError):
    """A client waits for a job that no worker of this test serves."""


class WatchedSubmission(Submission):
    """Passes on what a submission tells; before it waits, it has `serve` see to it that it can end."""

    def __init__(
        self,
        submission: Submission,
        spec: JobSpec,
        outbox: Outbox,
        serve: Callable[[JobSpec], None],
    ) -> None:
        self.handle = submission.handle
        self.error = submission.error
        self._submission = submission
        self._spec = spec
        self._outbox = outbox
        self._serve = serve
        self._finished = False

    def next_update(self, timeout: float | None = None) -> Update | None:
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        update = self._submission.next_update(0)
        while update is None and not self._finished and time.monotonic() < deadline:
            self._serve(self._spec)
            remaining = max(0.0, deadline - time.monotonic())
            update = self._submission.next_update(min(_LOOK_SECONDS, remaining))
        if update is not None:
            self._finished = isinstance(update, Outcome)
            told = partial(SubmittedJob.client_saw, handle=self.handle, update=update)
            self._outbox.tell(self.handle, told)
        return update
