"""The jobs of the benchmark: one does nothing, and one returns its argument."""

from __future__ import annotations

from django_gearman import gearman_job

from .marks import note


@gearman_job
def noop(payload: str) -> None:
    note(payload)


@gearman_job
def echo(payload: str) -> str:
    return payload
