"""
Interrupts of jobs that run, from the attendant.

It finds the job on the scoreboards, writes a request into the cell of its task, and signals the
process. A task is named by the time at which it began, so the request never means the next task of
the same cell. The process compares it with its current task, raises JobCancelled in the job, or, if
that is impossible at this moment, waits for the next signal. If the task is still there five seconds
after the request, the supervisor kills the process.

The signal is SIGURG: it does nothing in a process that does not expect it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from ....jobs.functions import job_functions
from ....supervisor import CANCEL_SIGNAL, Attendant, Cell, Phase, Scoreboard
from ....supervisor.overview import Seen
from .describing import identify

#: Seconds between two signals to a process whose job could not be interrupted.
AGAIN_SECONDS = 0.03
_LONGEST_SECONDS = 30.0  # for which signals are sent; the supervisor kills the process before


class _Interrupt(NamedTuple):
    """A request that was written into a cell; `board` is open until the task has ended."""

    pid: int
    board: Scoreboard
    cell: Cell
    until: float


class Interrupts:
    """The interrupts that one attendant has begun; several threads use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: list[_Interrupt] = []

    def begin(self, attendant: Attendant, jobs: Mapping[str, str]) -> list[str]:
        """Interrupt the jobs with these ids and handles; return the ids of those that run here."""
        functions = job_functions()
        by_handle = {handle: job_id for job_id, handle in jobs.items() if handle}
        found: list[str] = []
        with self._lock, attendant.processes() as processes:
            for seen in processes:
                for cell in seen.scoreboard.running() if seen.is_worker else ():
                    began = cell.began_at
                    job_id, handle = identify(cell.task, functions)
                    job_id = job_id or by_handle.get(handle, "")  # only the arguments have the id
                    if job_id in jobs and began:
                        found.append(job_id)
                        self._begin(seen, began, job_id)
        return found

    def _begin(self, seen: Seen, began: float, job_id: str) -> None:
        board = Scoreboard(os.dup(seen.scoreboard.descriptor))
        cell = next((each for each in board.running() if each.began_at == began), None)
        if cell is None or cell.request is not None:  # it has ended, or its five seconds have begun
            board.close()
            return
        cell.ask(began, job_id)
        self._begun.append(_Interrupt(seen.pid, board, cell, time.monotonic() + _LONGEST_SECONDS))
        _signal(seen.pid)

    def again(self) -> float | None:
        """Signal again where a task is still there; return the seconds until the next call."""
        with self._lock:
            left = []
            for each in self._begun:
                if each.cell.request is None or each.cell.phase is Phase.IDLE or _is_late(each):
                    each.board.close()
                else:
                    _signal(each.pid)
                    left.append(each)
            self._begun = left
        return AGAIN_SECONDS if left else None


#: Those of this process.
interrupts = Interrupts()


def _is_late(interrupt: _Interrupt) -> bool:
    return time.monotonic() >= interrupt.until


def _signal(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, CANCEL_SIGNAL)
