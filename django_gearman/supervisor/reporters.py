"""
Processes that report on the tasks of a process that has died.

One process reports on all tasks of a dead one, each in turn, as soon as the system has room for it.
Until it ends, the sockets of the dead process stay open. If it dies or hangs, another one reports on
the remaining tasks, so a report that hangs cannot block the supervisor.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .account import Account
from .cell import Cell, Phase
from .forking import delay_after
from .process import InChild, Process, WorkerExit, spawn_once

logger = logging.getLogger(__name__)

#: The time limit of the report on a task, in seconds.
REPORTER_SECONDS = 60.0

_MOST_TASKS = 10_000  # tasks with a crash count; more than a process has at a time


@dataclass
class _Report:
    """
    The report on one process; `at` is the time to start it, or to kill its process.

    `left` are the tasks without a report. The process that reports drops each of them from the
    scoreboard first.
    """

    left: list[tuple[Cell, WorkerExit]]
    dead: Process
    on_death: Callable[[WorkerExit], object]
    at: float = 0.0
    failures: int = 0
    pid: int = 0
    checked: int = 0  # tasks whose report had begun at the last check

    def work(self) -> None:
        """Report on each task; a dropped one is not reported again if this process dies of it."""
        for cell, death in self.left:
            cell.drop()
            self.on_death(death)

    def begun(self) -> list[bytes]:
        """Return the tasks whose report has begun."""
        return [death.task for cell, death in self.left if cell.phase is Phase.IDLE]


class Reporters:
    """
    The pending and the running reports.

    `on_death` reports on a task; without it there are none. `describe` returns a text for a task.
    """

    def __init__(
        self,
        in_child: InChild,
        account: Account,
        on_death: Callable[[WorkerExit], object] | None,
        describe: Callable[[bytes], str],
    ) -> None:
        self._in_child = in_child
        self._account = account
        self._on_death = on_death
        self._describe = describe
        self._times: Counter[bytes] = Counter()  # crashes, by a digest of the task
        self._reports: list[_Report] = []

    def __len__(self) -> int:
        return len(self._reports)

    @property
    def pids(self) -> set[int]:
        return {report.pid for report in self._reports if report.pid}

    @property
    def dead(self) -> list[Process]:
        """The dead processes whose sockets are still open here."""
        return [report.dead for report in self._reports]

    def next_moment(self) -> float:
        return min((report.at for report in self._reports), default=math.inf)

    def add(self, dead: Process, how: str, running: Sequence[Cell]) -> None:
        """Add the report on these tasks of a dead process; `how` describes its end."""
        if not running or self._on_death is None:
            return
        left = []
        for cell in running:
            death = WorkerExit(
                how,
                cell.task,
                dead.sockets,
                self._count(cell.task),
                dead.is_overdue([cell]),
                cell.has_reported,
                cell.count,
                is_last=cell is running[-1],
            )
            left.append((cell, death))
        for key in [*self._times][:-_MOST_TASKS]:
            del self._times[key]
        self._reports.append(_Report(left, dead, self._on_death))

    def _count(self, task: bytes) -> int:
        key = hashlib.blake2b(task).digest()
        self._times[key] += 1
        return self._times[key]

    def look(self, processes: Iterable[Process]) -> None:
        """
        Start pending reports, reap processes that ended, and kill those over their time limit.
        """
        for report in list(self._reports):
            if report.pid and _has_ended(report.pid):
                self._end(report)
            elif report.at > time.monotonic():
                continue
            elif report.pid:
                self._check(report)
            else:
                self._start(report, processes)

    def kill(self) -> None:
        """Kill all reports at once; tasks without a started report go to other workers."""
        for report in list(self._reports):
            if report.pid:
                _kill(report.pid)
                report.left = []
            else:
                self._drop(report)

    def _end(self, report: _Report) -> None:
        """Start the reports that are left, if the process of the others has ended before them."""
        report.left = report.left[len(report.begun()) :]
        report.pid, report.at = 0, 0.0
        if not report.left:
            self._drop(report)

    def _drop(self, report: _Report) -> None:
        self._reports.remove(report)
        self._account.close(report.dead)  # a killed report has not hung up

    def _check(self, report: _Report) -> None:
        """Kill the process of a report, unless it has begun with another task meanwhile."""
        begun = report.begun()
        if len(begun) > report.checked:
            report.checked, report.at = len(begun), time.monotonic() + REPORTER_SECONDS
            return
        _kill(report.pid)
        message = "the report on %s, which killed its process, took more than %g s and was killed"
        task = self._describe((begun or [report.left[0][1].task])[-1])
        logger.error(message, task, REPORTER_SECONDS)
        report.at = math.inf

    def _start(self, report: _Report, processes: Iterable[Process]) -> None:
        others = [dead for dead in self.dead if dead is not report.dead]
        try:
            known = [*processes, *others]
            report.pid = spawn_once(report.work, known, self._in_child, report.dead.number)
        except (OSError, MemoryError) as error:
            report.failures += 1
            delay = delay_after(report.failures)
            report.at = time.monotonic() + delay
            message = "cannot report on %s, which killed its process: %s; trying again in %g s"
            logger.error(message, self._describe(report.left[0][1].task), error, delay)
            return
        report.checked, report.at = 1, time.monotonic() + REPORTER_SECONDS


def _has_ended(pid: int) -> bool:
    try:
        return bool(os.waitpid(pid, os.WNOHANG)[0])
    except ChildProcessError:  # other code has waited for it
        return True


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
