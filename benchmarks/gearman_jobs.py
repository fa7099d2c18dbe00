"""The jobs of the benchmark: one that does nothing, and one that gives back what it gets."""

from __future__ import annotations

from django_gearman import gearman_job

from .marks import note


@gearman_job
def noop(payload: str) -> None:
    note(payload)


@gearman_job
def echo(payload: str) -> str:
    return payload
