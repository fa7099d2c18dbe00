"""
Processes that report on a task after its own process has died.

Each starts as soon as the system has room for it. Until it ends, the sockets of the dead process
stay open. If it does not end in time it is killed, so a report that hangs cannot block the
supervisor.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .account import Account
from .forking import delay_after
from .process import InChild, Process, spawn_once

logger = logging.getLogger(__name__)

#: The time limit of a report, in seconds.
REPORTER_SECONDS = 60.0


@dataclass
class _Report:
    """One report; `at` is the time to start it, or to kill its process."""

    task: str
    work: Callable[[], object]
    dead: Process
    at: float = 0.0
    failures: int = 0
    pid: int = 0


class Reporters:
    """The pending and the running reports."""

    def __init__(self, in_child: InChild, account: Account) -> None:
        self._in_child = in_child
        self._account = account
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

    def add(self, task: str, work: Callable[[], object], dead: Process) -> None:
        self._reports.append(_Report(task, work, dead))

    def look(self, processes: Iterable[Process]) -> None:
        """
        Start pending reports, reap processes that ended, and kill those over their time limit.
        """
        for report in list(self._reports):
            if report.pid and _has_ended(report.pid):
                self._drop(report)
            elif report.at > time.monotonic():
                continue
            elif report.pid:
                _kill(report.pid)
                message = (
                    "the report on %s, which killed its process, took more than %g s and was killed"
                )
                logger.error(message, report.task, REPORTER_SECONDS)
                report.at = math.inf
            else:
                self._start(report, processes)

    def kill(self) -> None:
        """Kill all reports at once; tasks without a started report go to other workers."""
        for report in list(self._reports):
            if report.pid:
                _kill(report.pid)
            else:
                self._drop(report)

    def _drop(self, report: _Report) -> None:
        self._reports.remove(report)
        self._account.close(report.dead)  # a killed report has not hung up

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
            logger.error(message, report.task, error, delay)
            return
        report.at = time.monotonic() + REPORTER_SECONDS


def _has_ended(pid: int) -> bool:
    try:
        return bool(os.waitpid(pid, os.WNOHANG)[0])
    except ChildProcessError:  # other code has waited for it
        return True


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
