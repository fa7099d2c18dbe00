"""
The execution of one assigned `async def` job as a task of the worker's loop, beside others.

It does what `execution.execute` does. Code that may block, such as signal receivers, the store and the
submission of a next attempt, runs in the thread of the job's slot. Most jobs need no such code.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from .. import environment
from ..backends.base import AssignedJob, WorkerSession
from ..jobs import keeping
from ..jobs.context import running
from ..jobs.definition import JobDefinition
from ..middleware import NONE, Chain, chain_of
from ..signals import job_finished, job_started
from ..utils.records import format_errors_once
from .execution import Run, Submit, checked, execute
from .loop import KeptLoop
from .observer import WorkerObserver
from .reporting import tell_finished, tell_started
from .runs import Ending, RunLost
from .timelimit import within

#: Runs a function in the thread of the job's slot.
InThread = Callable[[Callable[[], object]], Awaitable[object]]
#: Makes the thread of the job's slot call a function when the task has ended; None is no function.
Leave = Callable[[Callable[[], object] | None], None]


async def execute_on_loop(
    job: JobDefinition,
    assigned: AssignedJob,
    session: WorkerSession,
    submit: Submit,
    observer: WorkerObserver,
    loop: KeptLoop,
    in_thread: InThread,
    leave: Leave,
) -> None:
    """
    Run the job on the loop, and report its outcome; the task has a separate context.

    The job may cancel its task, or raise an exception that ends it. So nothing is awaited after its
    outcome: the thread of the slot does everything that may block.
    """
    leave(None)  # the task has begun
    seconds = observer.time_limit(job.timeout)
    observer.began(assigned, seconds)
    run = Run(job, assigned, session, submit)
    if _has_blocking_steps(run):
        leave(partial(execute, job, assigned, session, submit, observer))
        return
    if job.varies:
        seconds = observer.time_limit(run.job.timeout)
        observer.limited(assigned, seconds)
    token = running.set(run)
    try:
        tell_started(run)
        started = time.monotonic()
        result: Ending | BaseException
        try:
            chain = _chain_of(run)
            if chain.around_arun:
                result = await _through_middleware(chain, run, seconds, loop, in_thread)
            else:
                result = await _call(run, seconds, loop)
        except RunLost:
            raise
        except BaseException as error:  # noqa: BLE001 - a job must never end its worker
            result = error
        finish = partial(_finish, run, result, time.monotonic() - started, observer)
        blocks = keeping.keeper is not None and run.may_have_record
        has_failed = isinstance(result, BaseException) or result.exception is not None
        if has_failed or blocks or _has_receivers(run):
            leave(finish)
        else:
            finish()
    finally:
        running.reset(token)


def _has_blocking_steps(run: Run) -> bool:
    """Return True if code around the run may block: middleware, receivers, the store."""
    if job_started.receivers:
        return True
    if keeping.keeper is not None and (
        keeping.records_all
        or run.job.store_result
        or run.call.attempt > 1
        or run.assigned.unique[32:33] == ":"
    ):
        return True
    return _chain_of(run).runs_in_thread


def _chain_of(run: Run) -> Chain:
    chain = chain_of(run.middleware) if run.middleware else NONE
    seen: Chain = environment.current().middleware(chain)  # in a test with faults, a longer one
    return seen


def _has_receivers(run: Run) -> bool:
    return bool(job_finished.receivers) or run.job.on_ended is not None


async def _through_middleware(
    chain: Chain, run: Run, seconds: float | None, loop: KeptLoop, in_thread: InThread
) -> Ending:
    """Call the function through the project's middleware; return its ending."""

    async def proceed() -> Ending:
        started = time.monotonic()
        try:
            ending = await _call(run, seconds, loop)
        except BaseException as error:  # noqa: BLE001 - middleware sees it in the ending
            format_errors_once()  # in this context: each of the threads' functions has a copy of it
            failed: Any = await in_thread(partial(run.failed, error))  # it may call `backoff`
            ending = failed
        ending.seconds = time.monotonic() - started
        return ending

    run.was_called = True  # exceptions of middleware count as the job's
    return checked(await chain.arun(run, proceed))


async def _call(run: Run, seconds: float | None, loop: KeptLoop) -> Ending:
    """Call the function; return its ending, or raise its exception."""
    args, kwargs = run.arguments()
    names = run.job.name, run.assigned.handle
    function = partial(_complete, run.job.func)
    return run.succeed(await loop.run_here(names, within, seconds, function, args, kwargs))


async def _complete(func: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
    result = await func(*args, **kwargs)
    while hasattr(type(result), "__await__"):  # as from a coroutine function that another one wraps
        result = await result
    return result


def _finish(
    run: Run, result: Ending | BaseException, seconds: float, observer: WorkerObserver
) -> None:
    ending = run.failed(result) if isinstance(result, BaseException) else result
    ending.seconds = seconds
    observer.returned()
    ending = run.report(ending, observer)
    observer.reported(ending.state)
    tell_finished(run, ending)
