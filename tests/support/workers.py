"""Workers inside a test."""

from __future__ import annotations

from django_gearman import GearmanWorker


def work_off() -> int:
    """Run the jobs that wait, in this thread; return how many ran."""
    return GearmanWorker(clean_connections=False).work(burst=True)
