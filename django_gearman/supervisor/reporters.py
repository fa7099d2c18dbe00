"""
Processes that report on a task whose own process has died.

Each is started as soon as the system has room for it, and until it is done the dead process's sockets
stay open. One that does not end is killed, so that a report which hangs cannot keep the supervisor.
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

from .forking import delay_after
from .process import Process, spawn_once

logger = logging.getLogger(__name__)

#: Seconds that a report may take.
REPORTER_SECONDS = 60.0


@dataclass
class _Report:
    """One report; `at` is when to start it, or when to kill the process that makes it."""

    task: str
    work: Callable[[], object]
    dead: Process
    at: float = 0.0
    failures: int = 0
    pid: int = 0


class Reporters:
    """The reports that are to be made, or being made."""

    def __init__(self, in_child: Callable[[], object]) -> None:
        self._in_child = in_child
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
        """Start what is to be started, reap what has ended, and kill what does not end."""
        for report in list(self._reports):
            if report.pid and _has_ended(report.pid):
                self._drop(report)
            elif report.at > time.monotonic():
                continue
            elif report.pid:
                _kill(report.pid)
                told = "the report on the death that %s caused took %g s, and was killed"
                logger.error(told, report.task, REPORTER_SECONDS)
                report.at = math.inf
            else:
                self._start(report, processes)

    def kill(self) -> None:
        """End all of them at once; what was not started yet is left to others."""
        for report in list(self._reports):
            if report.pid:
                _kill(report.pid)
            else:
                self._drop(report)

    def _drop(self, report: _Report) -> None:
        self._reports.remove(report)
        report.dead.hang_up()  # a report that was killed has not done that
        report.dead.forget()

    def _start(self, report: _Report, processes: Iterable[Process]) -> None:
        others = [dead for dead in self.dead if dead is not report.dead]
        try:
            report.pid = spawn_once(report.work, [*processes, *others], self._in_child)
        except (OSError, MemoryError) as error:
            report.failures += 1
            delay = delay_after(report.failures)
            report.at = time.monotonic() + delay
            told = "cannot report the death that %s caused: %s; trying again in %g s"
            logger.error(told, report.task, error, delay)
            return
        report.at = time.monotonic() + REPORTER_SECONDS


def _has_ended(pid: int) -> bool:
    try:
        return bool(os.waitpid(pid, os.WNOHANG)[0])
    except ChildProcessError:  # somebody else has waited for it
        return True


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
