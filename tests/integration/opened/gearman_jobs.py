"""Jobs that use what their app has opened."""

from __future__ import annotations

from django.db import connection

from django_gearman import gearman_job

from .apps import reporter


@gearman_job(timeout=20)
def ask(number: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s, pg_sleep(0.01)", [number])
        answer: int = cursor.fetchone()[0]
    return answer


@gearman_job
def fail(number: int) -> None:
    reporter.send(f"event{number}")


@gearman_job(timeout=0.5)
def quick(number: int) -> int:
    return number
