"""Waiting for background jobs whose results an optional app stores."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, connections

from .. import environment
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


def wait_for_record(request: Described, deadline: float | None, is_pending: bool) -> bool:
    """
    Wait until the given monotonic time for the ending of a background job; return False if it has
    not ended.

    A pending job waits in the outbox, or for its transaction. Raises ResultUnavailable for the
    latter, and if no result of this job is stored.
    """
    if is_pending and _is_in_transaction(request):
        raise ResultUnavailable(
            f"job {request.task} has not been submitted: its transaction has not committed"
        )
    if keeping.keeper is None or not is_stored(request):
        raise ResultUnavailable(
            f"job {request.task} ({request.handle or 'no handle'}) runs in the background: Gearman "
            f"keeps no results of such jobs; {_remedy(request)}"
        )
    if running.get() is not None and not request.may_wait:
        refuse_to_wait_for_itself([request], request.servers, seconds_until(deadline))
    return keeping.keeper.wait(request, deadline)


def _is_in_transaction(request: Described) -> bool:
    alias = request.options.on_commit
    connection = connections[alias if isinstance(alias, str) else DEFAULT_DB_ALIAS]
    return environment.current().is_in_transaction(connection)


def _remedy(request: Described) -> str:
    job = registry.find(request.task)
    if job is not None and job.store_result and keeping.keeper is None:
        return f"the job declares store_result=True: {keeping.NOT_INSTALLED}"
    if job is not None and keeping.keeper is not None:
        return "declare it with @gearman_job(store_result=True), or submit it in the foreground"
    return "submit it in the foreground, or save its result in a model"
