"""From one attempt of a job to the next: what a workload says of it, and what is submitted again."""

from __future__ import annotations

import time

from ..jobs.identity import CARRIED
from ..protocol.messages import JobSpec, Priority
from ..serializers import Call

_MOST = 2**31  # a workload that claims more, or less than one, is not believed


def attempt_of(arrived: Call) -> Call:
    """Return a call as the job sees it: with a number of the attempt that can be one."""
    if not (type(arrived.attempt) is int and 0 < arrived.attempt <= _MOST):
        arrived = arrived._replace(attempt=1)
    if arrived.context and CARRIED in arrived.context:
        context = {name: value for name, value in arrived.context.items() if name != CARRIED}
        return arrived._replace(context=context)
    return arrived


def delayed(spec: JobSpec, seconds: float) -> JobSpec:
    """Return a job that waits. It has no priority meanwhile: gearmand's delayed jobs have none."""
    return spec._replace(run_at=time.time() + seconds, priority=Priority.NORMAL)
