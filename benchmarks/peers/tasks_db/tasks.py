"""The jobs, as django-tasks-db has them."""

from __future__ import annotations

from django_tasks import task

from benchmarks.marks import note


@task()
def noop(payload: str) -> None:
    note(payload)


@task()
def echo(payload: str) -> str:
    return payload
