"""Tests without pytest: a mixin for test cases, and helpers for a block or a function."""

from __future__ import annotations

import sys
import unittest
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, overload

from django.test.utils import TestContextDecorator

from .. import environment
from .assertions import Assertions
from .client import ManualWorker, RecordingClient
from .gearmand import GearmanServer
from .harness import Harness, asked_harness, in_force
from .outbox import SubmittedJob
from .strict import leftovers


class override_gearman(TestContextDecorator):  # noqa: N801 - as Django's override_settings
    """
    The backend of a block, a test function or a test case class; `as` gives a RecordingClient.

    `transport` is "eager", "memory", or "real" for a private job server during the block. To use a
    server that you run yourself, pass "gearman" and `servers=["127.0.0.1:4730"]`. `options` replaces
    GEARMAN_OPTIONS. With `raise_failures=False`, exceptions in jobs do not reach the test.

    It applies to all threads. Raises ValueError or TypeError for an invalid transport.
    """

    def __init__(
        self,
        transport: str,
        *,
        servers: Sequence[Any] | None = None,
        options: Mapping[str, Any] | None = None,
        raise_failures: bool | None = None,
    ) -> None:
        super().__init__()
        self._transport = transport
        self._servers = servers
        self._options = options
        self._raise_failures = raise_failures
        self._stacks: list[ExitStack] = []

    def enable(self) -> RecordingClient:
        with ExitStack() as stack:
            servers = self._servers
            if self._transport == "real" and servers is None:
                servers = _private_server(stack)
            current = stack.enter_context(
                asked_harness(
                    self._transport,
                    servers=servers,
                    options=self._options,
                    raise_failures=self._raise_failures,
                )
            )
            self._stacks.append(stack.pop_all())
        return RecordingClient(current)

    def disable(self) -> None:
        self._stacks.pop().close()


class CapturedJobs(Assertions, Sequence[SubmittedJob]):
    """The jobs that were submitted in a block."""

    def __init__(self, current: Harness) -> None:
        self._harness = current
        self._start = len(current.records())
        self._at_end: list[SubmittedJob] | None = None

    @property
    def submitted(self) -> list[SubmittedJob]:
        if self._at_end is not None:
            return list(self._at_end)
        return self._harness.records()[self._start :]

    def end(self) -> None:
        self._at_end = self.submitted

    def __len__(self) -> int:
        return len(self.submitted)

    @overload
    def __getitem__(self, index: int) -> SubmittedJob: ...
    @overload
    def __getitem__(self, index: slice) -> list[SubmittedJob]: ...
    def __getitem__(self, index: int | slice) -> SubmittedJob | list[SubmittedJob]:
        return self.submitted[index]


@contextmanager
def capture_jobs() -> Iterator[CapturedJobs]:
    """Yield the jobs that any code submits in the block: a sequence with assertions."""
    with asked_harness() as current:
        captured = CapturedJobs(current)
        try:
            yield captured
        finally:
            captured.end()


class GearmanTestMixin(Assertions, unittest.TestCase):
    """
    A mixin for test cases: each test's jobs run at once and are recorded, without a job server.

    Name it before Django's class. `gearman_transport` chooses where jobs run, like the argument of
    `override_gearman`; the default is "eager". With `gearman_strict = True`, a test fails if it leaves
    jobs queued, or failures that it did not look at. With `gearman_raise_failures = False`, exceptions
    in jobs do not reach the test.
    """

    gearman_transport: ClassVar[str | None] = None
    gearman_strict: ClassVar[bool] = False
    gearman_raise_failures: ClassVar[bool | None] = None
    _gearman_of_class: ClassVar[Harness | None] = None

    @classmethod
    def setUpClass(cls) -> None:
        cls._gearman_of_class = None
        if not isinstance(environment.current(), Harness):  # as the pytest plugin installs one
            # Jobs of setUpClass and setUpTestData run at once, and no test records them.
            cls._gearman_of_class = Harness()
            cls.enterClassContext(in_force(cls._gearman_of_class))
            cls.enterClassContext(cls._gearman_of_class.using("eager"))
        super().setUpClass()

    def run(self, result: unittest.TestResult | None = None) -> unittest.TestResult | None:
        # Around setUp and tearDown, too, even if they do not call super().
        result = self.defaultTestResult() if result is None else result
        with ExitStack() as stack:
            try:
                self._put_in_force(stack)
            except unittest.SkipTest as reason:
                result.addSkip(self, str(reason))
                return result
            except Exception:  # noqa: BLE001 - it is this test's error, and the others go on
                result.startTest(self)
                result.addError(self, sys.exc_info())
                result.stopTest(self)
                return result
            return super().run(result)

    def _put_in_force(self, stack: ExitStack) -> None:
        current = environment.current()
        if not isinstance(current, Harness) or current is self._gearman_of_class:
            current = Harness()
            stack.enter_context(in_force(current))
        transport = self.gearman_transport or ("eager" if current.is_quiet else None)
        servers = _private_server(stack) if transport == "real" else None
        using = current.using(transport, servers, raise_failures=self.gearman_raise_failures)
        stack.enter_context(using)

    def _callTestMethod(self, method: Any) -> None:  # noqa: N802 - of unittest
        super()._callTestMethod(method)  # type: ignore[misc]
        if self.gearman_strict and (message := leftovers(self._harness)):
            self.fail(message)

    @property
    def _harness(self) -> Harness:
        # Not kept on the test, because Django's parallel test runner must pickle it.
        current = environment.current()
        if not isinstance(current, Harness):
            raise AssertionError("the testing package works only while a test runs")
        return current

    @property
    def gearman_client(self) -> RecordingClient:
        """A client that knows every job submitted in this test."""
        return RecordingClient(self._harness)

    @property
    def gearman_worker(self) -> ManualWorker:
        """A worker that runs the queued jobs when the test calls it."""
        return ManualWorker(self._harness)

    @property
    def submitted(self) -> list[SubmittedJob]:
        return self._harness.records()


def _private_server(stack: ExitStack) -> list[str]:
    return [stack.enter_context(GearmanServer()).address]
