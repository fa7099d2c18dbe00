"""Jobs for the integration tests of the optional parts."""

from __future__ import annotations

import os
import time

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


@gearman_job("trail")
def due() -> None:
    job = current_job()
    assert job is not None
    write(str(getattr(job, "scheduled_for", None)))
