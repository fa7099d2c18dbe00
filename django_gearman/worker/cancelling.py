"""
Interrupts of jobs that a user cancels while they run, in a worker process of a supervisor.

The request is in the cell of the job's task, and a signal says so. The handler compares the request
with the job that runs now. It raises JobCancelled in the job's function, once. If that would leave work
half done, it does nothing, and the signal comes again some milliseconds later; see `interrupts`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from types import FrameType
from typing import Any

from ..exceptions import JobCancelled
from ..jobs.context import running
from ..supervisor import CANCEL_SIGNAL, Cell, Phase, Scoreboard
from ..utils.clock import monotonic
from ..utils.interrupts import Place, cancel_query, place_of
from .runs import RunAttributes

#: The longest delay for code that should end soon, in seconds.
PATIENCE_SECONDS = 2.0
#: The message of JobCancelled.
CANCELLED = "the job was cancelled (its process is killed 5 s later)"


def invoke(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call a function of the project; an interrupt strikes while it runs, and not before or after."""
    return func(*args, **kwargs)


#: The runs that do not run in the main thread, by the identity of the object.
_elsewhere: dict[int, RunAttributes] = {}


class Cancelling:
    """The handler of requests to cancel tasks, in a process of a supervisor."""

    def __init__(self, scoreboard: Scoreboard) -> None:
        self._cell: Cell = scoreboard  # of a process with one task at a time
        self._scoreboard = scoreboard

    def install(self) -> None:
        """Handle the signal in this process, from its main thread."""
        signal.signal(CANCEL_SIGNAL, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        run = running.get()
        if not isinstance(run, RunAttributes):
            self._interrupt_elsewhere()
            return
        if run.was_interrupted or frame is None:
            return
        if self._cell.phase is not Phase.RUNNING or (request := self._cell.request) is None:
            return
        job_id, asked_at = request
        if job_id == run.identity.id:
            _interrupt(run, frame, asked_at)

    def _interrupt_elsewhere(self) -> None:
        """Interrupt the jobs that run in threads, or as tasks of the loop."""
        cells = [cell for cell in self._scoreboard.running() if cell.phase is Phase.RUNNING]
        named = {request[0] for cell in cells if (request := cell.request) is not None}
        for run in [*_elsewhere.values()] if named else ():
            if run.interrupt is not None and not run.was_interrupted and run.identity.id in named:
                run.was_interrupted = True
                run.interrupt()


def _interrupt(run: RunAttributes, frame: FrameType, asked_at: float) -> None:
    if run.interrupt is not None:
        run.was_interrupted = True
        run.interrupt()
        return
    if frame.f_code is invoke.__code__ or not _is_inside(frame):
        return  # the function has just ended, or has not begun
    place, _ = place_of(frame, invoke.__code__)
    is_patient = monotonic() < asked_at + PATIENCE_SECONDS
    if place is Place.ANYWHERE or (place is not Place.NEVER and not is_patient):
        run.was_interrupted = True
        raise JobCancelled(CANCELLED)
    if place is Place.IN_QUERY and not run.has_cancelled_query:
        run.has_cancelled_query = cancel_query(frame)


def _is_inside(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is invoke.__code__:
            return True
        frame = frame.f_back
    return False


class Interruptible:
    """A block in which a function interrupts a run, from any thread, in place of a signal."""

    def __init__(self, run: RunAttributes, interrupt: Callable[[], object]) -> None:
        self._run = run
        self._interrupt = interrupt

    def __enter__(self) -> None:
        self._before, self._run.interrupt = self._run.interrupt, self._interrupt
        _elsewhere[id(self._run)] = self._run

    def __exit__(self, *about: object) -> None:
        self._run.interrupt = self._before
        if self._before is None:
            del _elsewhere[id(self._run)]


async def cancellable(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await it; if the job is cancelled, this task is, and that raises JobCancelled."""
    run, task = running.get(), asyncio.current_task()
    if not isinstance(run, RunAttributes) or task is None:
        return await coroutine

    def cancel() -> None:
        if run.interrupt is not None:  # otherwise the job has just ended
            task.cancel()

    with Interruptible(run, partial(task.get_loop().call_soon_threadsafe, cancel)):
        try:
            return await coroutine
        except asyncio.CancelledError as error:
            if run.was_interrupted:
                task.uncancel()
                raise JobCancelled(CANCELLED) from error
            raise
