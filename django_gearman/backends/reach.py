"""
Which of several servers, or of the addresses of a name, to try first, and several at once.

Who was silent is passed over for a while that grows, in all threads of the process: only the first
one pays for finding out.
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

#: How often a passed-over time is doubled, at most: from 10 seconds to 5 minutes, and a bit.
_DOUBLED = 5
_QUICK_SECONDS = 0.5  # a failure within that time was no silence, and costs nobody anything


@dataclass(frozen=True)
class _Mark:
    since: float
    silences: int


class Standing(Generic[_K]):
    """Which keys have failed lately, for all threads of this process."""

    def __init__(self) -> None:
        self._marks: dict[_K, _Mark] = {}

    def passed_over(self, key: _K, seconds: float) -> bool:
        """Whether to try it after others; `seconds` is for how long, after the first failure."""
        mark = self._marks.get(key)
        if mark is None:
            return False
        return monotonic() < mark.since + seconds * 2.0 ** min(max(0, mark.silences - 1), _DOUBLED)

    def silences(self, key: _K) -> int:
        """How many times in a row it was silent."""
        mark = self._marks.get(key)
        return 0 if mark is None else mark.silences

    def slow(self, key: _K) -> None:
        """Note that it has not answered yet."""
        self._marks[key] = _Mark(monotonic(), self.silences(key))

    def failed(self, key: _K, took: float) -> None:
        """Note that it has failed after so many seconds."""
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
    Attempts in threads of their own, each begun a moment after the one before, or as that fails.

    The first that succeeds wins. What the others still bring is given to `discard`.
    """

    attempts: Mapping[_K, Callable[[], _T]]
    standing: Standing[_K]
    discard: Callable[[_T], object]
    #: Of those that have failed, why.
    errors: dict[_K, BaseException] = field(default_factory=dict)
    #: When each of them was begun.
    began: dict[_K, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._winner: tuple[_K, _T] | None = None
        self._is_over = False
        self._changed = threading.Condition()

    def run(self, pauses: Sequence[float], until: float) -> tuple[_K, _T] | None:
        """
        Return the winner and what it brought; None if all fail, or none succeeds in time.

        `pauses` are the seconds to wait for each before the next one is begun.
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
        """Make one attempt in this thread, where a job's time limit may be raised in it."""
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
        except failures as error:  # who runs the race tells it
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
    """Return what each call returns; made at the same time, they take as long as the slowest."""
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
