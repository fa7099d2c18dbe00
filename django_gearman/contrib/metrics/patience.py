"""Calls that may hang, with a limit to the wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from ...utils.clock import monotonic

_T = TypeVar("_T")


class Look(Generic[_T]):
    """
    A function that may hang, called in a separate thread, one call at a time.

    While a call hangs there is no second one, so hanging calls do not add up. Callers that come at
    the same time share one call and its result.
    """

    def __init__(self, look: Callable[[], _T]) -> None:
        self._look = look
        self._changing = threading.Lock()
        self._call: Future[_T] | None = None

    def begin(self) -> None:
        """Begin a call, if none is under way."""
        with self._changing:
            if self._call is None or self._call.done():
                self._call = Future()
                thread = threading.Thread(target=self._run, args=[self._call], daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:  # the system has no more threads
                    self._call.set_exception(error)

    def result(self, until: float) -> _T:
        """
        Return the result of the call that has begun; raise its exception.

        Raises TimeoutError if there is none at this monotonic time.
        """
        call = self._call
        if call is None:
            raise RuntimeError("no call has begun")
        return call.result(max(0.0, until - monotonic()))

    def _run(self, call: Future[_T]) -> None:
        try:
            call.set_result(self._look())
        except BaseException as error:  # noqa: BLE001 - its waiters get it
            call.set_exception(error)
