"""
The cost of the outbox: a row in the caller's transaction, the time until the job runs, and the
speed of a relay.

A transaction inserts one row of the project's. It ends when it has committed: `on_commit` callbacks,
which send the job, are not counted. Transactions with and without a job come in turns of fifty.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from benchmarks.gearman_jobs import noop  # noqa: E402
from benchmarks.marks import FILE, MARK  # noqa: E402
from django_gearman import GearmanClient  # noqa: E402
from django_gearman.contrib.store.functions import DatabaseTime  # noqa: E402
from django_gearman.contrib.store.models import OutboxJob  # noqa: E402
from django_gearman.contrib.store.outbox.relay import Relay  # noqa: E402

TURNS, TRANSACTIONS = 10, 50
MARK_SECONDS = 60.0
PAYLOAD = "x" * 100


class Client:
    """A process with a database, which writes and sends jobs."""

    def __init__(self) -> None:
        settings.GEARMAN_OUTBOX = True
        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE purchase (id bigserial PRIMARY KEY, text varchar(100))")

    def transactions(self) -> dict[str, float]:
        """Return the milliseconds of a transaction alone, and of one with a job in the outbox."""
        kinds = {"alone": lambda: None, "outbox": lambda: noop.do_background(PAYLOAD)}
        times: dict[str, list[float]] = {kind: [] for kind in kinds}
        for turn in range(TURNS + 1):
            for kind, submit in kinds.items():
                found = [_committed(submit) for _ in range(TRANSACTIONS)]
                times[kind] += found if turn else []  # the first turn warms up
        return {kind: statistics.median(found) for kind, found in times.items()}

    def relay(self, rows: int) -> float:
        """Return the rows that a relay sends in a second."""
        with transaction.atomic():
            jobs = ({"task": noop, "data": PAYLOAD} for _ in range(rows))
            GearmanClient().submit_multiple_jobs(jobs, background=True)
            connection.run_on_commit.clear()  # as if this process had died after the commit
        OutboxJob.objects.update(next_try_at=DatabaseTime(-1))
        started = time.perf_counter()
        sent = Relay("default").sweep().sent
        seconds = time.perf_counter() - started
        if sent < rows:
            raise RuntimeError(f"the relay has sent {sent} of {rows} rows")
        return sent / seconds

    def latencies(self, count: int) -> list[float]:
        """Return the milliseconds from a commit until a worker runs the job, for each of `count`."""
        found = []
        for number in range(count + 1):
            committed_at = _commit_marked_job()
            found.append((_mark(number) - committed_at) * 1000)
        return found[1:]  # the worker may have started after the first commit


def _commit_marked_job() -> float:
    """Return the monotonic time at which the transaction has committed."""
    times: list[float] = []
    with transaction.atomic():
        transaction.on_commit(lambda: times.append(time.monotonic()))
        noop.do_background(MARK)
    return times[0]


def _mark(number: int) -> float:
    """Wait for a mark, and return its time."""
    marks, deadline = Path(os.environ[FILE]), time.monotonic() + MARK_SECONDS
    while time.monotonic() < deadline:
        lines = marks.read_text().splitlines(keepends=True) if marks.exists() else []
        if len(lines) > number and lines[number].endswith("\n"):
            return float(lines[number])
        time.sleep(0.001)
    raise TimeoutError(f"job {number} has not run in {MARK_SECONDS:g} s")


def _committed(submit: Callable[[], object]) -> float:
    """Return the milliseconds until a transaction has committed."""
    ended: list[float] = []
    started = time.perf_counter()
    with transaction.atomic(), connection.cursor() as cursor:
        transaction.on_commit(lambda: ended.append(time.perf_counter()))
        cursor.execute("INSERT INTO purchase (text) VALUES (%s)", [PAYLOAD])
        submit()
    return (ended[0] - started) * 1000
