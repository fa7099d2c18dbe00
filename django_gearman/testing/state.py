"""The state of one test: submissions, faults, stubs, workers and calls."""

from __future__ import annotations

from typing import Protocol

from .. import conf
from ..serializers import Serializer, get_serializer
from .calls import Calls
from .faults import Faults
from .outbox import Outbox, SubmittedJob
from .stubs import Stubs


class Worker(Protocol):
    """A worker of this process."""

    def serves(self, function: str) -> bool: ...

    def is_of_this_thread(self) -> bool: ...


class State:
    """
    The state of one test.

    `is_quiet` is True while the test has asked for nothing. Then jobs run as the settings say,
    except on real servers, and behave as in production.
    """

    def __init__(self) -> None:
        self.is_quiet = True
        self.has_ended = False
        self.outbox = Outbox()
        self.faults = Faults()
        self.calls = Calls(self.outbox)
        self.stubs = Stubs(self._serializer_of, self.job_failed)
        self.workers: set[Worker] = set()

    def job_failed(self, handle: str, error: BaseException) -> None:
        """Record a job's exception, before its failure is reported."""
        self.outbox.tell(handle, SubmittedJob.fail, handle, error)
        self.calls.failed(handle, error)

    def _serializer_of(self, handle: str) -> Serializer:
        for record in self.outbox.of(handle):
            return record.request.serializer
        return get_serializer(conf.serializer())
