"""The task of the benchmark, which does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django

from benchmarks.marks import note

if TYPE_CHECKING or django.VERSION < (6, 0):
    from django_tasks import task
else:
    from django.tasks import task


@task()
def noop(payload: str) -> None:
    note(payload)
