"""Forks in a worker process: a process that a job forks is a plain process, not a second worker."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from .inheritance import forget_shared

_ALL = signal.valid_signals()
_OURS = __name__.partition(".")[0]


class WorkerForks:
    """The fork handlers of a worker process."""

    def __init__(self, *leave: Callable[[], object]) -> None:
        self._leave = leave
        self._process = os.getpid()
        self._masks = threading.local()  # of signals: several threads may fork

    def install(self) -> None:
        """Register the handlers with the interpreter, for the life of this process."""
        os.register_at_fork(
            before=self._before,
            after_in_parent=self._in_parent,
            after_in_child=self._in_child,
        )

    def _before(self) -> None:
        if os.getpid() == self._process:
            # Without handlers of its own, the child would handle a signal like the worker.
            self._masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _ALL)

    def _in_parent(self) -> None:
        if os.getpid() == self._process:
            mask = self._masks.__dict__.pop("before")
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _in_child(self) -> None:
        mask = self._masks.__dict__.pop("before", None)
        if mask is None:
            return  # a child of the child
        _reset_handlers()
        for leave in self._leave:
            leave()
        forget_shared()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _reset_handlers() -> None:
    """
    Reset the worker's signal handlers, so that signals end the child; handlers of the job stay.
    """
    faulthandler.unregister(signal.SIGQUIT)
    for number in _ALL:
        if getattr(signal.getsignal(number), "__module__", "").partition(".")[0] == _OURS:
            signal.signal(number, signal.SIG_DFL)


def end_if_forked(process: int, error: BaseException | None = None) -> None:
    """End this process if it is a fork of `process`, in which the job began."""
    if os.getpid() != process:
        _end(error)


def _end(error: BaseException | None) -> NoReturn:
    """End like a program that has returned, or raised this, without the worker's exit handlers."""
    code = 1
    if error is None:
        code = 0
    elif not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    elif error.code is None or isinstance(error.code, int):
        code = error.code or 0
    else:
        print(error.code, file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # it may be closed, or full
            stream.flush()
    os._exit(code & 0xFF)
