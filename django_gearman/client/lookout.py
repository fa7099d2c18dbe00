"""
The warning for a caller that waits for a job which no worker serves.

It exists in production only. In a test, workers run in the process of the test, which knows them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .. import environment
from ..backends import get_backend, get_backend_class
from ..backends.base import (
    BaseBackend,
    FunctionStatus,
    Submission,
    Update,
)
from ..exceptions import BackendError, WaitsForItself
from ..jobs.context import running
from ..jobs.registry import registry
from ..utils.clock import monotonic
from ..utils.records import get_logger, log
from ..utils.waiting import submit_by
from .described import Described

logger = get_logger("django_gearman.jobs")

#: Seconds of waiting before the first check for workers of the job.
PATIENCE = 3.0
#: Seconds for another worker to register, for example when this one has just started.
COMING = 1.5
_LOOK = 1.0  # limit of a check, in seconds
_MOST_TOLD = 1000

_told: dict[str, object] = {}  # functions without a worker; one warning for each
_looked_at: set[str] = set()  # functions whose workers a task is asking for


class Lookout:
    """
    The checks during one wait for a job: after `PATIENCE` seconds, then after twice as long each
    time.
    """

    _waited = 0.0  # until the last check; most waits end before the first one

    def watch(
        self, submission: Submission, seconds: float | None, request: Described
    ) -> Update | None:
        """Wait for the next update, up to the given seconds or to the next check."""
        period = self._waited or PATIENCE
        # A test's submission must see that the caller waits without limit.
        if (seconds is not None and seconds <= period) or environment.current().workers_are_here:
            return submission.next_update(seconds)
        update = submission.next_update(period)
        if update is None and self._is_due(request.spec.function):
            token = submit_by.set(monotonic() + self._limit(seconds))
            try:
                self._judge(request, get_backend(request.servers).functions())
            except (BackendError, ImproperlyConfigured):
                pass  # the wait itself reports the error
            finally:
                submit_by.reset(token)
        return update

    def seconds_on_loop(self, seconds: float | None) -> float:
        """Return how long a task may wait before the next check is due."""
        period = self._waited or PATIENCE
        return period if seconds is None else min(seconds, period)

    async def look_on_loop(self, request: Described, seconds: float | None) -> None:
        """Check for workers, after a wait of `seconds_on_loop`."""
        if seconds is not None and seconds <= (self._waited or PATIENCE):
            return
        function = request.spec.function
        if not self._is_due(function) or function in _looked_at:
            return
        _looked_at.add(function)  # one look for all tasks
        try:
            if (half := get_backend(request.servers).on_loop()) is not None:
                self._judge(request, await half.functions(self._limit(seconds)))
        except (BackendError, ImproperlyConfigured):
            pass  # the wait itself reports the error
        finally:
            _looked_at.discard(function)

    def _is_due(self, function: str) -> bool:
        """Begin the next period; return True if a warning may be due."""
        self._waited += self._waited or PATIENCE
        return function not in _told and not environment.current().workers_are_here

    def _limit(self, seconds: float | None) -> float:
        return _LOOK if seconds is None else max(0.0, min(_LOOK, seconds - self._waited))

    def _judge(self, request: Described, rows: Sequence[FunctionStatus]) -> None:
        function = request.spec.function
        if any(row.function == function and (row.workers or row.running) for row in rows):
            return
        if len(_told) < _MOST_TOLD and _told.setdefault(function, self) is self:
            _warn(request, rows, self._waited)


def _warn(request: Described, rows: Sequence[FunctionStatus], seconds: float) -> None:
    job, function = registry.find(request.task), request.spec.function
    start = "start the program that serves it"
    if job is not None:
        start = (
            f"start one: python manage.py gearman_worker -q {job.queue}, or restart one that has "
            "loaded older code"
        )
    alike = [
        row.function
        for row in rows
        if row.workers and (row.function.endswith(function) or function.endswith(row.function))
    ]
    if alike:
        start = f"{alike[0]} is served: is GEARMAN_JOB_NAME the same for clients and workers?"
    log(
        logger,
        logging.WARNING,
        "a caller has waited %d s for job %s (%s), but no worker serves function %s; %s",
        *(seconds, request.task, request.handle, function, start),
        extra={
            "gearman_job": request.task,
            "gearman_handle": request.handle,
            "gearman_queue": "" if job is None else job.queue,
        },
    )


def refuse_to_wait_for_itself(
    requests: Sequence[Described], servers: Sequence[Any] | None, timeout: float | None
) -> None:
    """
    Raise WaitsForItself if the current job would wait for one that only its own worker serves.

    A worker that runs one job at a time would never start the second one.
    """
    run = running.get()
    if run is None or environment.current().workers_are_here or get_backend_class().runs_in_caller:
        return
    worker = run.session
    if worker.slots > 1:
        return
    functions = {r.spec.function: r.task for r in requests if r.spec.function in worker.functions}
    until = monotonic() + min(COMING, COMING if timeout is None else timeout)
    for function, name in functions.items():
        while _serves_alone(get_backend(servers), function, worker.client_id):
            if monotonic() >= until:
                raise WaitsForItself(
                    f"job {run.job_context.name} waits for job {name}, but the only worker that serves "
                    "it is the one that runs this job, which would wait forever; run more processes "
                    "(gearman_worker -w 2), use do_background, or call the function itself"
                )
            time.sleep(0.1)
    for request in requests:
        request.may_wait = True


def _serves_alone(backend: BaseBackend, function: str, client_id: str) -> bool:
    try:
        most = max((r.workers for r in backend.functions() if r.function == function), default=0)
        if most != 1:
            return False
        serving = [each for each in backend.workers() if function in each.functions]
    except BackendError:
        return False  # the submission reports the error of the server
    return bool(serving) and all(each.client_id == client_id for each in serving)
