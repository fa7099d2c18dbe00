"""
The choice among several servers, or addresses of a name, and parallel attempts.

Silent ones are passed over for a growing time, in all threads of the process, so only the first
thread waits for them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..exceptions import BackendError
from ..utils.clock import monotonic

_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)

#: The most doublings of a passed-over time: from 10 seconds to over 5 minutes.
_DOUBLED = 5
_QUICK_SECONDS = 0.5  # a failure within that time is no silence, and costs little


@dataclass(frozen=True)
class _Mark:
    since: float
    silences: int


class Standing(Generic[_K]):
    """The recent failures by key, for all threads of this process."""

    def __init__(self) -> None:
        self._marks: dict[_K, _Mark] = {}

    def passed_over(self, key: _K, seconds: float) -> bool:
        """
        Return True if it should be tried after others; `seconds` is the time after the first
        failure.
        """
        mark = self._marks.get(key)
        if mark is None:
            return False
        return monotonic() < mark.since + seconds * 2.0 ** min(max(0, mark.silences - 1), _DOUBLED)

    def silences(self, key: _K) -> int:
        """Return how many times in a row it was silent."""
        mark = self._marks.get(key)
        return 0 if mark is None else mark.silences

    def slow(self, key: _K) -> None:
        """Note that it has not answered yet."""
        self._marks[key] = _Mark(monotonic(), self.silences(key))

    def failed(self, key: _K, took: float) -> None:
        """Note that it has failed after this number of seconds."""
        silences = self.silences(key) + 1 if took > _QUICK_SECONDS else 0
        self._marks[key] = _Mark(monotonic(), silences)

    def answered(self, key: _K) -> None:
        if key in self._marks:
            self._marks.pop(key, None)

    def forget(self) -> None:
        """Forget all failures."""
        self._marks.clear()


@dataclass
class Race(Generic[_K, _T]):
    """
    Attempts in separate threads; each begins a moment after the one before, or when that fails.

    The first success wins. Later results are passed to `discard`.
    """

    attempts: Mapping[_K, Callable[[], _T]]
    standing: Standing[_K]
    discard: Callable[[_T], object]
    #: The errors of the failed ones.
    errors: dict[_K, BaseException] = field(default_factory=dict)
    #: The start times.
    began: dict[_K, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._winner: tuple[_K, _T] | None = None
        self._is_over = False
        self._changed = threading.Condition()

    def run(self, pauses: Sequence[float], until: float) -> tuple[_K, _T] | None:
        """
        Return the winner and its result; None if all fail, or none succeeds in time.

        `pauses` are the seconds to wait for each before the next one begins.
        """
        try:
            keys = list(self.attempts)
            for key, pause in zip(keys, [*pauses[: len(keys) - 1], math.inf], strict=True):
                self._begin(key)
                self._wait(min(until, monotonic() + pause), is_last=key == keys[-1])
                if self._winner is not None or monotonic() >= until:
                    break
                if key not in self.errors:
                    self.standing.slow(key)
        finally:
            with self._changed:
                self._is_over = True
                winner = self._winner
        return winner

    def run_here(self, key: _K) -> tuple[_K, _T] | None:
        """Make one attempt in this thread, so that a job's time limit can interrupt it."""
        self.began[key] = monotonic()
        self._try(key, BackendError)
        return self._winner

    def _begin(self, key: _K) -> None:
        self.began[key] = monotonic()
        thread = threading.Thread(target=self._try, args=[key], name="gearman-connect", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no more threads
            self.errors[key] = error

    def _wait(self, until: float, is_last: bool) -> None:
        with self._changed:
            failed = len(self.errors)
            while self._winner is None and (remaining := until - monotonic()) > 0:
                is_alone = len(self.errors) == len(self.began)
                if is_alone or (len(self.errors) > failed and not is_last):
                    return
                self._changed.wait(min(remaining, threading.TIMEOUT_MAX))

    def _try(self, key: _K, failures: type[Exception] = Exception) -> None:
        try:
            result = self.attempts[key]()
        except failures as error:  # the caller of the race reports it
            self.standing.failed(key, monotonic() - self.began[key])
            with self._changed:
                self.errors[key] = error
                self._changed.notify_all()
            return
        self.standing.answered(key)
        with self._changed:
            if wins := self._winner is None and not self._is_over:
                self._winner = key, result
                self._changed.notify_all()
        if not wins:
            self.discard(result)


def at_once(calls: Mapping[_K, Callable[[], _T]]) -> dict[_K, _T]:
    """
    Return the result of each call; they run at the same time, and take as long as the slowest.
    """
    results: dict[_K, _T] = {}
    errors: dict[_K, Exception] = {}

    def make(key: _K) -> None:
        try:
            results[key] = calls[key]()
        except Exception as error:  # noqa: BLE001 - it is raised in the caller's thread
            errors[key] = error

    here, threads = list(calls)[:1], []
    for key in list(calls)[1:]:
        thread = threading.Thread(
            target=copy_context().run, args=[make, key], name="gearman-ask", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads
            here.append(key)
        else:
            threads.append(thread)
    for key in here:
        make(key)
    for thread in threads:
        thread.join()
    for key in calls:
        if key in errors:
            raise errors[key]
    return {key: results[key] for key in calls}
