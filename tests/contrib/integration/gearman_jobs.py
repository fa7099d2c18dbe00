"""Jobs for the integration tests of the optional parts."""

from __future__ import annotations

import os
import time

from asgiref.sync import sync_to_async
from django.db import connection
from prometheus_client import Counter

from django_gearman import current_job, gearman_job


def write(line: str) -> None:
    """Append a line to the file TRAIL, as a whole."""
    descriptor = os.open(os.environ["TRAIL"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


@gearman_job("trail")
def mark(value: object) -> None:
    write(str(value))


@gearman_job("other")
def note(value: object) -> None:
    write(str(value))


@gearman_job("trail")
def slow(seconds: float) -> None:
    write("begin")
    time.sleep(seconds)
    write("end")


def _backend() -> int:
    """Return the process of PostgreSQL that serves this connection, after a moment."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), pg_sleep(0.02)")
        return int(cursor.fetchone()[0])


@gearman_job("trail")
def queries(number: int) -> None:
    write(f"{number} {_backend()}")


@gearman_job("trail")
async def queries_async(number: int) -> None:
    write(f"{number} {await sync_to_async(_backend)()}")


@gearman_job("trail")
def due() -> None:
    job = current_job()
    assert job is not None
    write(str(getattr(job, "scheduled_for", None)))


OBSERVED = Counter("observed_jobs_total", "Runs that this job counts itself.")


@gearman_job("trail")
def observed(seconds: float) -> None:
    time.sleep(seconds)
    write("observed")
    OBSERVED.inc()


@gearman_job("trail")
def submits() -> None:
    if not (child := os.fork()):
        OBSERVED.inc()
        os._exit(0)
    os.waitpid(child, 0)
    observed.do_background(0)
    observed.enqueue_many([0, 0])
    raise ValueError("and fails")
