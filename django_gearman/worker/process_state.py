"""The state of the process that is restored after each job: timers, signals, directory..."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import gc
import locale
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from .alarm import alarm

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_SIGNALS = [int(n) for n in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}]
# The functions of the signal module create an enum's member for each number.
_getsignal: Callable[[int], Any] = _signal.getsignal
_sigmask: Callable[[int, Any], Any] = _signal.pthread_sigmask
_ROOT = logging.root.manager
_ALARM = _SIGNALS.index(signal.SIGALRM)


def _timers() -> list[Any]:
    real = 0.0 if alarm.is_set else signal.getitimer(signal.ITIMER_REAL)[0]
    others = signal.getitimer(signal.ITIMER_VIRTUAL)[0], signal.getitimer(signal.ITIMER_PROF)[0]
    return [real, *others]


def _stop_timers(before: list[Any]) -> None:
    """Stop running timers; between jobs the worker has none but its alarm, which is set again."""
    for timer in _TIMERS:
        signal.setitimer(timer, 0)


def _handlers() -> list[Any]:
    found = [*map(_getsignal, _SIGNALS)]
    if alarm.is_set:
        found[_ALARM] = alarm.before
    return found


def _set_handlers(before: list[Any]) -> None:
    for number, handler in zip(_SIGNALS, before, strict=True):
        if _getsignal(number) is not handler and handler is not None:
            signal.signal(number, handler)


def _modules() -> list[Any]:
    return [
        sys.stdin,
        sys.stdout,
        sys.stderr,
        sys.excepthook,
        sys.unraisablehook,
        threading.excepthook,
        sys.gettrace(),
        sys.getprofile(),
        sys.getrecursionlimit(),
        gc.isenabled(),
        socket.getdefaulttimeout(),
        _ROOT.disable,
    ]


def _set_modules(before: list[Any]) -> None:
    sys.stdin, sys.stdout, sys.stderr = before[:3]
    sys.excepthook, sys.unraisablehook, threading.excepthook = before[3:6]
    sys.settrace(before[6])
    sys.setprofile(before[7])
    sys.setrecursionlimit(before[8])
    (gc.enable if before[9] else gc.disable)()
    socket.setdefaulttimeout(before[10])
    logging.disable(before[11])


def _directory() -> list[Any]:
    try:
        return [os.getcwd()]
    except OSError:  # it was deleted
        return [None]


def _locale() -> list[Any]:
    return [locale.setlocale(locale.LC_ALL)]


class ProcessState:
    """A snapshot of the state of this process, taken in its main thread."""

    def __init__(self) -> None:
        self._home = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._mask = _sigmask(signal.SIG_BLOCK, ())
        self._kept: list[tuple[str, Callable[[], list[Any]], Callable[[list[Any]], object]]] = [
            ("timers", _timers, _stop_timers),
            ("signal handlers", _handlers, _set_handlers),
            ("streams, hooks or settings of the interpreter", _modules, _set_modules),
            ("the working directory", _directory, lambda before: os.fchdir(self._home)),
            ("the locale", _locale, lambda before: locale.setlocale(locale.LC_ALL, before[0])),
        ]
        self._reads = [read for _, read, _ in self._kept]
        self._before = [read() for _, read, _ in self._kept]
        self._before[0] = [0.0, 0.0, 0.0]

    def close(self) -> None:
        os.close(self._home)

    def put_back(self) -> list[str]:
        """Restore the state, and return the names of the parts that had changed."""
        umask = os.umask(self._umask)  # setting it is the only way to read it
        mask = _sigmask(signal.SIG_BLOCK, ())
        found = [read() for read in self._reads]
        if umask == self._umask and mask == self._mask and found == self._before:
            return []
        return [*self._put_back(umask, mask)]

    def _put_back(self, umask: int, mask: object) -> Iterator[str]:
        if umask != self._umask:
            yield "the umask"
        if mask != self._mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            yield "the signal mask"
        for place, (name, read, put) in enumerate(self._kept):
            before = self._before[place]
            if read() != before:
                with suppress(OSError, ValueError, locale.Error):
                    put(before)
                self._before[place] = read()  # a part that cannot be restored is reported once
                yield name
