"""The state of the process that is restored after each job: timers, signals, directory..."""

from __future__ import annotations

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
from typing import Any, NamedTuple

from .alarm import alarm, getsignal

_TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
_SIGNALS = [int(n) for n in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}]
# The functions of the signal module create an enum's member for each number.
_sigmask: Callable[[int, Any], Any] = _signal.pthread_sigmask
_ROOT = logging.root.manager
_ALARM = _SIGNALS.index(signal.SIGALRM)
# os.getcwd() releases the lock of the interpreter. That wakes each thread that waits for it, though it
# rarely gets it, and takes longer than a quick job.
_getcwd = ctypes.PyDLL(None).getcwd
_getcwd.argtypes, _getcwd.restype = [ctypes.c_char_p, ctypes.c_size_t], ctypes.c_void_p
_directory = ctypes.create_string_buffer(4096)


class _State(NamedTuple):
    """The parts of the state that a job may leave changed."""

    timers: tuple[float, ...]
    handlers: list[Any]
    modules: tuple[Any, ...]
    directory: bytes | None  # None if it was deleted
    locale: str
    mask: Any


def _read() -> _State:
    """Read the state. This is one function because it runs after each job; its calls cost time."""
    handlers = [*map(getsignal, _SIGNALS)]
    if alarm.is_set:
        real, handlers[_ALARM] = 0.0, alarm.before
    else:
        real = signal.getitimer(signal.ITIMER_REAL)[0]
    return _State(
        (real, signal.getitimer(signal.ITIMER_VIRTUAL)[0], signal.getitimer(signal.ITIMER_PROF)[0]),
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
        _directory.value if _getcwd(_directory, len(_directory)) else None,
        locale.setlocale(locale.LC_ALL),
        _sigmask(signal.SIG_BLOCK, ()),
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
        self._before = _read()._replace(timers=(0.0, 0.0, 0.0))
        self._kept: dict[str, tuple[str, Callable[[Any], object]]] = {
            "mask": ("the signal mask", lambda mask: _sigmask(signal.SIG_SETMASK, mask)),
            "timers": ("timers", _stop_timers),
            "handlers": ("signal handlers", _set_handlers),
            "modules": ("streams, hooks or settings of the interpreter", _set_modules),
            "directory": ("the working directory", lambda path: os.fchdir(self._home)),
            "locale": ("the locale", lambda name: locale.setlocale(locale.LC_ALL, name)),
        }

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
        for part, (name, put) in self._kept.items():
            before = getattr(self._before, part)
            if getattr(_read(), part) != before:
                with suppress(OSError, ValueError, locale.Error):
                    put(before)
                # A part that cannot be restored is reported once.
                self._before = self._before._replace(**{part: getattr(_read(), part)})
                yield name
