"""
A process that is forked from its supervisor: how it begins, and how it leaves.

It never returns into the code of its parent. It leaves as an interpreter does: it waits for its threads
and runs what `atexit` was given, so that what reports errors sends them. What was registered before
the fork (a log handler, an error reporter) is run as well. What belongs to the parent is left alone: its
temporary directories, and the children that it has by `multiprocessing`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

#: Signals that the supervisor acts upon.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)
#: The exit code of a process whose system had no room for it; the next one may have more luck.
NOT_NOW = os.EX_TEMPFAIL

_SHORTAGES = {
    errno.EAGAIN,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.ENOSPC,
}
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 30.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def is_shortage(error: BaseException) -> bool:
    """Whether the system had too little of something, which may be otherwise in a moment."""
    if isinstance(error, OSError):
        return error.errno in _SHORTAGES
    return isinstance(error, MemoryError)


def delay_after(failures: int) -> float:
    """Return for how many seconds to wait after so many failures on end."""
    return min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(failures - 1, 20))


def insist(make: Callable[[], _T], trouble: str) -> _T:
    """Make something without which a supervisor cannot go on, as soon as the system has room for it."""
    failures = 0
    while True:
        try:
            return make()
        except (OSError, MemoryError) as error:
            if not is_shortage(error):
                raise
            failures += 1
            delay = min(1.0, delay_after(failures))
            logger.error("%s: %s; trying again in %g s", trouble, error, delay)
            time.sleep(delay)


def fork(work: Callable[[], object], *, on_leave: Callable[[], object] = lambda: None) -> int:
    """
    Fork a process that does this and ends, with its parent at the latest; return its id.

    `on_leave` is called before it runs what is registered for its exit. Raises OSError, and changes
    nothing, if there can be no other process now.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # it is closed, or full
            stream.flush()
    parent = os.getpid()
    # A signal that came before the child has its own handlers would be handled as the parent's.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which are told of
            pid = os.fork()
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        raise
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid

    def begin() -> None:
        signal.set_wakeup_fd(-1)
        _die_with(parent)
        _disown()
        work()

    _leave(begin, on_leave)
    raise AssertionError("unreachable")


def reset_signals(on_stop: Callable[..., Any]) -> None:
    """
    Unblock all signals, with handlers where an ignored one would stay so in a job's programs.

    A SIGHUP that whoever started the parent has it ignore (nohup) stays ignored.
    """
    for number in (signal.SIGINT, signal.SIGHUP):  # of a terminal; the parent says what to do
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, on_stop)
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # where stderr is no file
        faulthandler.register(signal.SIGQUIT, all_threads=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, where it can."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _disown() -> None:
    """Forget what the parent alone is to clean up when it ends."""
    for finalizer in list(vars(weakref.finalize)["_registry"]):
        finalizer.atexit = False  # that of a TemporaryDirectory removes it
    process_module = sys.modules.get("multiprocessing.process")
    if process_module is not None:  # its exit handler would end them
        vars(process_module)["_children"].clear()


def _leave(work: Callable[[], object], on_leave: Callable[[], object]) -> None:
    """Do the work, what is registered for the exit, and end the process, whatever happens."""
    code = 1
    try:
        try:
            work()
            code = 0
        except BaseException as error:  # noqa: BLE001 - there is no caller to raise it to
            code = NOT_NOW if is_shortage(error) else 1
            sys.excepthook(*sys.exc_info())
        signal.signal(signal.SIGTERM, lambda *_: None)  # it is about to end as it is
        on_leave()
        vars(threading)["_shutdown"]()  # waits for threads that are no daemons
        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001 - as above
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)
