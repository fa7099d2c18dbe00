"""
Processes that are forked from a supervisor: how they begin, and how they exit.

A forked process never returns into the code of its parent. It exits like an interpreter: it waits
for its threads and runs its `atexit` handlers, so that error reporters send their events. This
includes handlers that were registered before the fork. It does not touch the parent's resources:
temporary directories, and the parent's children by `multiprocessing`.
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

#: Signals that the supervisor handles.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)
#: The exit code of a process that the system had no room for. A later attempt may succeed.
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
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None)


def is_shortage(error: BaseException) -> bool:
    """
    Return True if an error means that the system lacked a resource. This may change in a moment.
    """
    if isinstance(error, OSError):
        return error.errno in _SHORTAGES
    return isinstance(error, MemoryError)


def delay_after(failures: int) -> float:
    """Return the seconds to wait after this number of failures in a row."""
    return min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(failures - 1, 20))


def insist(make: Callable[[], _T], trouble: str) -> _T:
    """
    Call `make` again and again until the system has room for its result; the supervisor needs it.
    """
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
    Fork a process that does this work and then exits; return its process id.

    The process dies with its parent. `on_leave` is called before its exit handlers run. If no
    process can be forked now, raise OSError and change nothing.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # it is closed, or full
            stream.flush()
    parent = os.getpid()
    # Block signals: without handlers of its own, the child would handle a signal like its parent.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the worker reports threads
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
    Unblock all signals, and set handlers; programs that a job starts would inherit an ignored
    signal.

    SIGHUP stays ignored if it was ignored when the parent started (nohup).
    """
    for number in (signal.SIGINT, signal.SIGHUP):  # from a terminal; the parent decides
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, on_stop)
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # stderr is no file
        faulthandler.register(signal.SIGQUIT, all_threads=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def name_process(name: str) -> None:
    """Set the name of this process for `ps -o comm` and `top`, if the platform supports this."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_NAME, name.encode()[:15])


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends, if the platform supports this."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _disown() -> None:
    """Drop the cleanup that belongs to the parent process."""
    for finalizer in list(vars(weakref.finalize)["_registry"]):
        finalizer.atexit = False  # the finalizer of a TemporaryDirectory removes the directory
    process_module = sys.modules.get("multiprocessing.process")
    if process_module is not None:  # its exit handler would end them
        vars(process_module)["_children"].clear()


def _leave(work: Callable[[], object], on_leave: Callable[[], object]) -> None:
    """Do the work, run the exit handlers, and end the process in any case."""
    code = 1
    try:
        try:
            work()
            code = 0
        except BaseException as error:  # noqa: BLE001 - there is no caller to raise it to
            code = NOT_NOW if is_shortage(error) else 1
            sys.excepthook(*sys.exc_info())
        signal.signal(signal.SIGTERM, lambda *_: None)  # the process ends anyway
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
