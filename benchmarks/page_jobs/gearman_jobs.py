"""The jobs, which take as long as they are asked to."""

from __future__ import annotations

import time

from django_gearman import gearman_job


def wait(seconds: float) -> None:
    """Wait for a number of seconds."""
    time.sleep(seconds)


JOBS = [gearman_job(f"queue{number % 10}", name=f"shop.job{number}")(wait) for number in range(40)]
