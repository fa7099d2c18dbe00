"""Jobs that leave state behind, and one that reports it."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import gc
import io
import locale
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.utils import timezone, translation

from django_gearman import gearman_job

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


def state() -> dict[str, Any]:
    return {
        "handlers": [str(signal.getsignal(n)) for n in sorted(signal.valid_signals())],
        "timers": [signal.getitimer(timer)[0] for timer in range(3)],
        "mask": sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
        "umask": [os.umask(0o022), os.umask(0o022)][0],
        "directory": os.getcwd(),
        "streams": [type(sys.stdout).__name__, type(sys.stderr).__name__],
        "interpreter": [sys.getrecursionlimit(), gc.isenabled(), str(sys.gettrace())],
        "hooks": [str(sys.excepthook), str(threading.excepthook)],
        "default timeout": socket.getdefaulttimeout(),
        "logging": logging.root.manager.disable,
        "locale": locale.setlocale(locale.LC_ALL),
        "language": translation.get_language(),
        "zone": timezone.get_current_timezone_name(),
        "precision": decimal.getcontext().prec,
        "user": user.get(),
        "in a block": connection.in_atomic_block,
    }


@gearman_job
def found() -> dict[str, Any]:
    return state()


@gearman_job(timeout=60)
def found_with_limit() -> dict[str, Any]:
    return state()


def _query() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def _mask() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])


def _stream() -> None:
    sys.stdout = io.StringIO()


LEAVES: dict[str, Callable[[], Any]] = {
    "alarm": lambda: signal.alarm(1),
    "virtual timer": lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 0.05),
    "profiling timer": lambda: signal.setitimer(signal.ITIMER_PROF, 0.05),
    "SIGTERM by default": lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL),
    "SIGTERM ignored": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "SIGCHLD ignored": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "SIGUSR1 handled": lambda: signal.signal(signal.SIGUSR1, print),
    "mask": _mask,
    "umask": lambda: os.umask(0o077),
    "directory": lambda: os.chdir("/"),
    "stdout": _stream,
    "recursion": lambda: sys.setrecursionlimit(500),
    "gc": gc.disable,
    "excepthook": lambda: setattr(sys, "excepthook", print),
    "socket timeout": lambda: socket.setdefaulttimeout(7),
    "logging": lambda: logging.disable(logging.INFO),
    "trace": lambda: sys.settrace(lambda *_: None),
    "language": lambda: translation.activate("de"),
    "zone": lambda: timezone.activate("Asia/Tokyo"),
    "precision": lambda: setattr(decimal.getcontext(), "prec", 3),
    "context variable": lambda: user.set("ada"),
    "transaction": lambda: (transaction.atomic().__enter__(), _query()),
    "two transactions": lambda: [transaction.atomic().__enter__() for _ in range(2)],
    "autocommit": lambda: transaction.set_autocommit(False),
}
CONTEXTUAL = ("language", "zone", "precision", "context variable")


@gearman_job
def leaves(what: str) -> None:
    LEAVES[what]()


@gearman_job(timeout=60)
async def uses_threads() -> None:
    await asyncio.gather(
        asyncio.to_thread(_query),
        sync_to_async(_query, thread_sensitive=False)(),
        sync_to_async(_query)(),
    )


@gearman_job
def uses_a_thread() -> None:
    thread = threading.Thread(target=_query)
    thread.start()
    thread.join()
