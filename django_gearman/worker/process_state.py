"""The state of the process that is restored after each job: timers, signals, directory..."""

from __future__ import annotations

import _locale
import _signal  # type: ignore[import-not-found]
import ctypes
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

from .alarm import alarm, getsignal

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_SIGNALS = [int(n) for n in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}]
# The functions of the signal module create an enum's member for each number.
_sigmask: Callable[[int, Any], Any] = _signal.pthread_sigmask
_setlocale: Callable[..., str] = _locale.setlocale
_getitimer = signal.getitimer
_BLOCK, _LC_ALL = int(signal.SIG_BLOCK), locale.LC_ALL
_REAL, _VIRTUAL, _PROF = _TIMERS
_STOPPED = (0.0, 0.0)
_ROOT = logging.root.manager
_ALARM = _SIGNALS.index(signal.SIGALRM)
# os.getcwd() releases the lock of the interpreter. That wakes each thread that waits for it, though it
# rarely gets it, and takes longer than a quick job.
_getcwd = ctypes.PyDLL(None).getcwd
_getcwd.argtypes, _getcwd.restype = [ctypes.c_char_p, ctypes.c_size_t], ctypes.c_void_p
_LONGEST = 4096
_directory = ctypes.create_string_buffer(_LONGEST)


def _read() -> tuple[Any, ...]:
    """
    Return the parts of the state that a job may leave changed, in the order of `ProcessState`.

    This is one function because it runs after each job; its calls cost time.
    """
    handlers = [*map(getsignal, _SIGNALS)]
    if alarm.is_set:
        real, handlers[_ALARM] = _STOPPED, alarm.before
    else:
        real = _getitimer(_REAL)
    return (
        _sigmask(_BLOCK, ()),
        (real, _getitimer(_VIRTUAL), _getitimer(_PROF)),
        handlers,
        (
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
        ),
        _directory.value if _getcwd(_directory, _LONGEST) else None,  # None if it was deleted
        _setlocale(_LC_ALL),
    )


def _stop_timers(before: object) -> None:
    """Stop running timers; between jobs the worker has none but its alarm, which is set again."""
    for timer in _TIMERS:
        signal.setitimer(timer, 0)


def _set_handlers(before: list[Any]) -> None:
    for number, handler in zip(_SIGNALS, before, strict=True):
        if getsignal(number) is not handler and handler is not None:
            signal.signal(number, handler)


def _set_modules(before: tuple[Any, ...]) -> None:
    sys.stdin, sys.stdout, sys.stderr = before[:3]
    sys.excepthook, sys.unraisablehook, threading.excepthook = before[3:6]
    sys.settrace(before[6])
    sys.setprofile(before[7])
    sys.setrecursionlimit(before[8])
    (gc.enable if before[9] else gc.disable)()
    socket.setdefaulttimeout(before[10])
    logging.disable(before[11])


class ProcessState:
    """A snapshot of the state of this process, taken in its main thread."""

    def __init__(self) -> None:
        self._home = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        mask, _, *others = _read()
        self._before = mask, (_STOPPED, _STOPPED, _STOPPED), *others
        self._parts: list[tuple[str, Callable[[Any], object]]] = [
            ("the signal mask", lambda mask: _sigmask(signal.SIG_SETMASK, mask)),
            ("timers", _stop_timers),
            ("signal handlers", _set_handlers),
            ("streams, hooks or settings of the interpreter", _set_modules),
            ("the working directory", lambda path: os.fchdir(self._home)),
            ("the locale", lambda name: locale.setlocale(locale.LC_ALL, name)),
        ]

    def close(self) -> None:
        os.close(self._home)

    def put_back(self) -> list[str]:
        """Restore the state, and return the names of the parts that had changed."""
        umask = os.umask(self._umask)  # setting it is the only way to read it
        if _read() == self._before and umask == self._umask:
            return []
        return [*self._put_back(umask)]

    def _put_back(self, umask: int) -> Iterator[str]:
        if umask != self._umask:
            yield "the umask"
        for place, (name, put) in enumerate(self._parts):
            if _read()[place] != self._before[place]:
                with suppress(OSError, ValueError, locale.Error):
                    put(self._before[place])
                # A part that cannot be restored is reported once.
                before = [*self._before]
                before[place] = _read()[place]
                self._before = tuple(before)
                yield name
