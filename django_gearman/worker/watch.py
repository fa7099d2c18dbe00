"""
Interrupts of functions that run in threads: their time limits.

No signal reaches a thread. The main thread watches the functions, and lets the interpreter raise an
exception in the thread of one whose time is over. This works between two steps of Python code. A call
into C that blocks is not interrupted; then the exception waits for its end, and the hard limit of the
supervisor applies.

The main thread looks where the other thread is, while that stands still. If the exception would leave
work half done, it tries again some milliseconds later; see `interrupts`.
"""

from __future__ import annotations

import ctypes
import math
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

from ..exceptions import JobCancelled, JobTimeLimitExceeded
from ..jobs.context import running
from ..utils.clock import monotonic
from ..utils.interrupts import Place, cancel_query, place_of
from .cancelling import CANCELLED, Interruptible
from .runs import RunAttributes
from .timelimit import PATIENCE_SECONDS, chain, is_database_error, time_is_over

_AGAIN_SECONDS = 0.005  # until the next try

_FUNCTION = ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
_raise_in = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)(_FUNCTION)


class _Withdrawn(BaseException):
    """An exception that takes the place of another one, and is caught at once."""


def _withdraw() -> None:
    """
    Drop an exception that waits for this thread, and the interpreter's note that one waits.

    Every thread is slowed down by that note, and with Python 3.11 a thread that is traced or profiled
    stops for good. The note ends when some thread gets its exception. One that waits for another
    thread is noted again when that thread continues.
    """
    try:
        _raise_in(threading.get_ident(), _Withdrawn)
        while True:
            pass
    except _Withdrawn:
        pass


class _Thread(threading.local):
    """The watch of the functions that run in a thread."""

    watch: Watch | None = None


_thread = _Thread()


class _Watched:
    """A function that runs in a thread, and the exception to raise in it."""

    def __init__(self, seconds: float | None) -> None:
        self.at = math.inf if seconds is None else monotonic() + seconds
        self.raised: type[BaseException] | None = None
        self.has_cancelled = False  # a query
        self._seconds = seconds
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._is_running = True
        self._patience_ends = 0.0
        self._kind: type[BaseException] = JobTimeLimitExceeded
        self._message = "" if seconds is None else time_is_over(seconds)

    def interrupt(self, kind: type[BaseException], message: str) -> None:
        """Make the next look raise this exception, and not that of the time limit."""
        self._kind, self._message, self.at = kind, message, 0.0

    def strike(self, now: float) -> None:
        """Raise the exception in the thread, or note when to try again."""
        with self._lock:
            frame = sys._current_frames().get(self._thread)
            if not self._is_running or frame is None:
                self.at = math.inf
            elif self._may_be_interrupted(frame, now):
                self.at = math.inf
                self.raised = _with_message(self._kind, self._message)
                _raise_in(self._thread, self.raised)
                with suppress(RuntimeError):  # the system has no more threads
                    threading.Thread(target=_withdraw, daemon=True).start()
            else:
                self.at = now + _AGAIN_SECONDS

    def _may_be_interrupted(self, frame: FrameType, now: float) -> bool:
        if frame.f_code in _OWN:  # the function has just ended, or is about to begin
            return False
        self._patience_ends = self._patience_ends or now + PATIENCE_SECONDS
        place, _ = place_of(frame, _call_watched.__code__)
        if place is Place.IN_QUERY and not self.has_cancelled:
            self.has_cancelled = True
            # It may take a second, in which the main thread has other work.
            threading.Thread(target=cancel_query, args=[frame], daemon=True).start()
        is_patient = now < self._patience_ends
        return place is Place.ANYWHERE or (place is not Place.NEVER and not is_patient)

    def end(self) -> None:
        """Note that the function has ended; an exception that was not raised yet is not raised."""
        with self._lock:
            self._is_running = False
            if self.raised is not None:
                _withdraw()

    def translate(self, error: BaseException) -> BaseException:
        """Return the exception to raise in place of one that the interrupt has caused."""
        for each in chain(error):
            if self.raised is not None and type(each) is self.raised:
                each.__class__ = self._kind
        if self.raised is None and not self.has_cancelled:
            return error
        caused = self.has_cancelled or any(type(each) is self._kind for each in chain(error))
        if caused and is_database_error(error):
            return self._kind(self._message)
        return error


class Watch:
    """
    The functions that run in the threads of a worker.

    The main thread calls `enforce` at the time `next_at`. `wake` makes it ask for that again.
    """

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._watched: dict[int, _Watched] = {}  # by thread
        #: The time of the next `enforce` that the main thread knows.
        self.expected_at = math.inf

    @property
    def next_at(self) -> float:
        self.expected_at = min((each.at for each in [*self._watched.values()]), default=math.inf)
        return self.expected_at

    def enforce(self) -> None:
        """Interrupt the functions whose time is over."""
        now = monotonic()
        if now >= self.expected_at:
            for each in [*self._watched.values()]:
                if now >= each.at:
                    each.strike(now)

    def interrupt(self, watched: _Watched, kind: type[BaseException], message: str) -> None:
        """Raise an exception in a function, soon."""
        watched.interrupt(kind, message)
        self.expected_at = 0.0
        self._wake()

    def begin(self, watched: _Watched) -> None:
        self._watched[threading.get_ident()] = watched
        if watched.at < self.expected_at:
            self._wake()

    def end(self) -> None:
        self._watched.pop(threading.get_ident(), None)


def watch_thread(watch: Watch) -> None:
    """Make `watched` use this watch in the present thread."""
    _thread.watch = watch


def is_watched() -> bool:
    """Return True in a thread with a watch."""
    return _thread.watch is not None


def watched(
    seconds: float | None, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """
    Call a function in a thread with a watch; raise JobTimeLimitExceeded in it after the limit.

    If the job is cancelled, raise JobCancelled. A database error that the interrupt causes is reported
    as that exception.
    """
    watch = _thread.watch or Watch(lambda: None)
    each, run = _Watched(seconds), running.get()
    cancel = partial(watch.interrupt, each, JobCancelled, CANCELLED)
    watch.begin(each)
    try:
        if not isinstance(run, RunAttributes):
            return _call_watched(each, func, args, kwargs)
        with Interruptible(run, cancel):
            return _call_watched(each, func, args, kwargs)
    except BaseException as error:
        each.end()  # the exception may have been raised in the first call of it
        instead = each.translate(error)
        if instead is error:
            raise
        raise instead from error
    finally:
        watch.end()


def _call_watched(
    each: _Watched, func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    try:
        return func(*args, **kwargs)
    finally:
        each.end()


def _with_message(kind: type[BaseException], message: str) -> type[BaseException]:
    """Return a class for the interpreter, which makes the exception without arguments."""

    def initialize(self: BaseException) -> None:
        kind.__init__(self, message)

    about = {
        "__init__": initialize,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
    }
    return type(kind.__name__, (kind,), about)


_OWN = {_call_watched.__code__, _Watched.end.__code__, watched.__code__, Watch.begin.__code__}
