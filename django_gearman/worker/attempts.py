"""The next attempt of a job: its number in the workload, and its submission."""

from __future__ import annotations

import time

from ..jobs.identity import CARRIED
from ..protocol.messages import JobSpec, Priority
from ..serializers import Call

_MOST = 2**31  # other numbers in a workload are not believed


def attempt_of(arrived: Call) -> Call:
    """Return a call as the job sees it, with a valid number of the attempt."""
    if not (type(arrived.attempt) is int and 0 < arrived.attempt <= _MOST):
        arrived = arrived._replace(attempt=1)
    if arrived.context and CARRIED in arrived.context:
        context = {name: value for name, value in arrived.context.items() if name != CARRIED}
        return arrived._replace(context=context)
    return arrived


def delayed(spec: JobSpec, seconds: float) -> JobSpec:
    """Return a delayed job. It has no priority, because gearmand's delayed jobs have none."""
    return spec._replace(run_at=time.time() + seconds, priority=Priority.NORMAL)
