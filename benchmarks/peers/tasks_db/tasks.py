"""The jobs of the benchmark for django-tasks-db."""

from __future__ import annotations

from django_tasks import task

from benchmarks.marks import note


@task()
def noop(payload: str) -> None:
    note(payload)


@task()
def echo(payload: str) -> str:
    return payload
