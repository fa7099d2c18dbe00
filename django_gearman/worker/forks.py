"""
Forks in a worker process: whatever a job forks is a plain process, and no second worker.

The child shares no connection with its worker: it closes its copies of the sockets, so that the job
servers notice when the worker dies, and forgets those to databases and caches, so that it opens its own.
Signals do in it what they do in any process.
"""

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
    """
    What happens when this process, a worker, forks.

    `leave` are called in the child, to have it let go of what connects the worker and its supervisor.
    """

    def __init__(self, *leave: Callable[[], object]) -> None:
        self._leave = leave
        self._process = os.getpid()
        self._masks = threading.local()  # of signals: several threads may fork

    def install(self) -> None:
        """Register with the interpreter, for the rest of this process's life."""
        os.register_at_fork(
            before=self._before,
            after_in_parent=self._in_parent,
            after_in_child=self._in_child,
        )

    def _before(self) -> None:
        if os.getpid() == self._process:
            # One that came before the child has its own handlers would be handled as the worker's.
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
    Have signals that the worker handles end the child; what the job has set stays.

    SIGINT too: a KeyboardInterrupt that came at once would be lost in what Python does after a fork.
    """
    faulthandler.unregister(signal.SIGQUIT)
    for number in _ALL:
        if getattr(signal.getsignal(number), "__module__", "").partition(".")[0] == _OURS:
            signal.signal(number, signal.SIG_DFL)


def end_if_forked(process: int, error: BaseException | None = None) -> None:
    """End this process if it is not `process`, in which the job began, but one that it has forked."""
    if os.getpid() != process:
        _end(error)


def _end(error: BaseException | None) -> NoReturn:
    """End as a program ends that has returned, or raised this, and run nothing that is the worker's."""
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
