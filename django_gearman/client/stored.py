"""Waiting for background jobs whose results an optional app stores."""

from __future__ import annotations

from ..exceptions import ResultUnavailable
from ..jobs import keeping
from ..jobs.context import running
from ..jobs.registry import registry
from ..utils.waiting import seconds_until
from .described import Described
from .lookout import refuse_to_wait_for_itself


def is_stored(request: Described) -> bool:
    """Return True if the store keeps the result of this request."""
    job = request.definition or registry.find(request.task)
    return keeping.keeper is not None and bool(request.id) and keeping.is_recorded(job)


def wait_for_record(request: Described, deadline: float | None) -> bool:
    """
    Wait until the given monotonic time for the ending of a background job; return False if it has
    not ended.

    Raises ResultUnavailable if no result of this job is stored.
    """
    if keeping.keeper is None or not is_stored(request):
        raise ResultUnavailable(
            f"job {request.task} ({request.handle or 'no handle'}) runs in the background: Gearman "
            f"keeps no results of such jobs; {_remedy(request)}"
        )
    if running.get() is not None and not request.may_wait:
        refuse_to_wait_for_itself([request], request.servers, seconds_until(deadline))
    return keeping.keeper.wait(request, deadline)


def _remedy(request: Described) -> str:
    job = registry.find(request.task)
    if job is not None and job.store_result and keeping.keeper is None:
        return f"the job declares store_result=True: {keeping.NOT_INSTALLED}"
    if job is not None and keeping.keeper is not None:
        return "declare it with @gearman_job(store_result=True), or submit it in the foreground"
    return "submit it in the foreground, or save its result in a model"
