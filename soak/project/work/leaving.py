"""Jobs that leave state behind, fork, or run out of time in a transaction."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

from django.db import connection, transaction
from django.utils import translation

from django_gearman import gearman_job


@gearman_job(name="work.leaves")
def leaves(number: int) -> None:
    """Leave each kind of state behind."""
    left = number % 6
    if left == 0:
        transaction.atomic().__enter__()
    elif left == 1:
        signal.alarm(1)
    elif left == 2:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif left == 3:
        os.chdir("/")
    elif left == 4:
        translation.activate("de")
    else:
        os.umask(0o777)


def double(number: int) -> int:
    return 2 * number


@gearman_job(name="work.forks", timeout=30)
def forks(number: int) -> list[int]:
    """Use a pool, and fork a child that returns."""
    if number % 2:
        child = os.fork()
        if not child:
            return []
        os.waitpid(child, 0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(double, [number])


@gearman_job(name="work.writes_rows", timeout=0.05)
def writes_rows() -> None:
    """Write rows, each in a transaction, until the time limit is over."""
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("CREATE TABLE IF NOT EXISTS rows (n integer)")
            cursor.execute("INSERT INTO rows VALUES (1)")


@gearman_job(name="work.is_clean")
def is_clean() -> list[str]:
    """Return the leftovers of an earlier job; use the database, and wait for a possible alarm."""
    found = []
    if connection.in_atomic_block or not connection.get_autocommit():
        found.append("a transaction")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        found.append("an alarm")
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        found.append("a handler")
    if os.getcwd() == "/":
        found.append("a directory")
    if translation.get_language() != "en-us":
        found.append("a language")
    before = os.umask(0o022)
    os.umask(before)
    if before == 0o777:
        found.append("a umask")
    time.sleep(0.001)
    return found
