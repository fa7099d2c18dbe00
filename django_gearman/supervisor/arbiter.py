"""
The supervisor: it forks processes, handles signals, and replaces processes that end.

A signal handler only wakes the loop. The loop handles signals, reaps processes, kills processes that
are overdue, and fills vacant slots.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from .account import Account, Status
from .endings import how_ended, reap_strangers, reason_of_death, replacement_delay
from .forking import NOT_NOW, delay_after
from .listening import has_terminal, listening
from .overview import send_overview
from .process import (
    LEAVE_SECONDS,
    UNKNOWN_CODE,
    InChild,
    Process,
    Slot,
    WorkerExit,
    spawn,
)
from .reload import Reload
from .reporters import Reporters
from .scoreboard import Stage
from .tracebacks import show_tracebacks

logger = logging.getLogger(__name__)

#: The exit code of `run` if a process could not start.
CANNOT_START = 3

_TROUBLE_SECONDS = 0.1  # pause after an error in the supervisor itself
_LOOK_SECONDS = 1.0  # between two rounds of the loop; all deadlines are longer when they are set
_MOST_DESCRIBED = 20  # tasks in a message
_UNKNOWN = (NOT_NOW, UNKNOWN_CODE)  # exit codes after which another process may start


class Supervisor:
    """
    A parent process that runs one process for each slot, forked from itself.

    SIGTERM, SIGINT: the processes get SIGTERM and finish; after `grace_period` seconds, or at a
    second signal, they are killed. SIGQUIT: each process writes its tracebacks to stderr. SIGHUP: the
    processes are replaced one by one, with the new code of `reload`, unless nohup ignores SIGHUP.

    A process that dies is replaced. If the first process of a slot cannot start, the supervisor
    stops, because the next process would fail too; a lack of resources does not count as one. A
    process that declares itself done is not replaced. When all are done, the supervisor ends. If
    the system has no room for a process or a socket, the supervisor tries again with growing
    delays. Services start before the other processes, and stop after the last of them. An attendant
    stops after the last worker. Its failures stop nothing.

    If a process dies while it runs tasks, a separate process calls `on_death` for each of them. A
    process with an overdue task is replaced: it finishes the other tasks before it is killed.
    `describe` returns a text for a task. `report` gets the status every second. `in_child` is
    called first in each process, with its number: the lowest one that no other running process has.
    Exceptions of these functions are only logged.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        grace_period: float = 30.0,
        on_death: Callable[[WorkerExit], object] | None = None,
        describe: Callable[[bytes], str] = repr,
        report: Callable[[Status], object] = lambda status: None,
        reload: Reload | None = None,
        in_child: InChild = lambda number: None,
    ) -> None:
        self._slots = sorted(slots, key=lambda slot: not slot.is_service)
        self._workers = [slot for slot in self._slots if slot.is_worker]
        self._grace_period = grace_period
        self._words, self._report = describe, report
        self._in_child = in_child
        self._reload = reload or Reload(None)
        self._processes: list[Process] = []
        self._old: list[Process] = []  # the processes to replace
        self.account = Account()
        self._reporters = Reporters(in_child, self.account, on_death, self._describe)
        self._kill_at: float | None = None  # set when the processes are stopping
        self._failed = False
        self._troubles: dict[str, type[Exception]] = {}  # logged errors of the supervisor itself
        self._had_terminal = has_terminal()

    def run(self) -> int:
        """Run until a signal stops the supervisor; return the exit code: 0, or CANNOT_START."""
        gc.collect()
        gc.freeze()  # memory that is loaded now stays shared with the processes
        self._processes = self._reload.adopt(self.account)
        self._renew()
        with listening() as wake:
            try:
                while not self._is_done():
                    with self._surviving("look"):
                        self._look()
                    with self._surviving("report"):
                        self._report(self._status())
                    with self._surviving("wait"):
                        self._wait(wake)
            except BaseException:
                for process in self._processes:
                    process.send(signal.SIGTERM)
                raise
        return CANNOT_START if self._failed else 0

    @contextlib.contextmanager
    def _surviving(self, step: str) -> Iterator[None]:
        """Log an exception of this step, only once if it repeats, and continue."""
        try:
            yield
            self._troubles.pop(step, None)
        except Exception as error:
            if self._troubles.get(step) is not type(error):
                self._troubles[step] = type(error)
                logger.exception("the supervisor has an internal error, and continues")
            time.sleep(_TROUBLE_SECONDS)

    @property
    def _is_stopping(self) -> bool:
        return self._kill_at is not None

    def _is_done(self) -> bool:
        return not self._processes and self._is_work_over()

    def _is_work_over(self) -> bool:
        """Return True if no worker is left, and none will start."""
        unfilled = any(slot.vacant_until < float("inf") for slot in self._workers)
        idle = not any(process.is_worker for process in self._processes) and not self._reporters
        return idle and (self._is_stopping or not unfilled)

    def _look(self) -> None:
        for process in list(self._processes):
            if process.listen():
                deaths = self.account.deaths
                send_overview(process.channel, self._processes, self._status(), deaths)
            code = process.reap()
            if code is not None:
                self._ended(process, code)
            elif process.slot is not None and process.scoreboard.stage is not Stage.STARTING:
                process.slot.has_started = True
        self._reporters.look(self._processes)
        if os.getpid() == 1:
            pids = {process.pid for process in self._processes}
            reap_strangers(pids | self._reporters.pids | self._reload.children)
        now = time.monotonic()
        for process in self._processes:
            if overdue := process.enforce_deadlines(now):
                message = (
                    "process %d runs overdue tasks: %s; it is replaced when its others have ended"
                )
                logger.error(message, process.pid, self._describe_all(overdue))
        if self._kill_at is not None and self._kill_at <= now:
            self._kill_at = float("inf")
            logger.error("stopping now: killing the processes that have not finished")
            if tasks := self._running_tasks():
                logger.error("interrupted, to run again on another worker: %s", tasks)
            for process in self._processes:
                if process.is_leaving:
                    self.account.interrupted += len(process.scoreboard.running())
                    process.kill()
            self._reporters.kill()
        if self._is_work_over():
            self._stop_services()
        if not self._is_stopping:
            self._fill_slots()
            self._replace_old()
            if not self._reporters:  # the new code would not know these
                self._reload.look(self._processes, self.account)

    def _status(self) -> Status:
        counted = [p for p in self._processes if not p.is_leaving and p.is_worker]
        serving = sum(process.is_serving for process in counted)
        return Status(len(self._workers), serving, self._is_stopping)

    def _wait(self, wake: socket.socket) -> None:
        """Wait for a signal, for a message of a process, or for the next deadline."""
        now = time.monotonic()
        moments = [at for process in self._processes for at in process.scoreboard.deadlines]
        moments += [slot.vacant_until for slot in self._slots]
        moments += [self._reporters.next_moment(), self._kill_at or now]
        moments = [moment for moment in moments if moment > now]
        timeout = min([_LOOK_SECONDS, *(moment - now for moment in moments)])
        poller = select.poll()
        for readable in (wake, *(process.channel for process in self._processes)):
            poller.register(readable, select.POLLIN)
        poller.poll(timeout * 1000 + 1)
        with contextlib.suppress(BlockingIOError):
            for number in wake.recv(1000):
                self._on_signal(number)

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGQUIT:
            show_tracebacks(self._processes)
        elif number == signal.SIGHUP and self._had_terminal and not has_terminal():
            self._on_signal(signal.SIGTERM)  # the terminal was closed
        elif number == signal.SIGHUP:
            if not self._is_stopping and not self._reload.begin():
                logger.info("replacing the processes one by one, with the same code")
                self._renew()
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._is_stopping:
                self._kill_at = time.monotonic()
            else:
                self._stop()

    def _stop(self) -> None:
        self._kill_at = time.monotonic() + self._grace_period
        self._reload.cancel()
        for process in filter(lambda each: each.is_worker, self._processes):
            process.stop()
        if tasks := self._running_tasks():
            message = "stopping: waiting for %s, at most %g s; a second signal stops at once"
            logger.info(message, tasks, self._grace_period)

    def _stop_services(self) -> None:
        """Stop the attendant, and the services after it."""
        for process in [p for p in self._processes if p.is_attendant] or self._processes:
            if not process.is_leaving:
                self._kill_at = time.monotonic() + LEAVE_SECONDS
                process.stop()

    def _running_tasks(self) -> str:
        tasks = [task for process in self._processes for task in process.scoreboard.tasks()]
        return self._describe_all(tasks)

    def _describe_all(self, tasks: Sequence[bytes]) -> str:
        """Describe the first tasks, and say how many there are besides."""
        texts = [self._describe(task) for task in tasks[:_MOST_DESCRIBED]]
        if len(tasks) > _MOST_DESCRIBED:
            texts.append(f"and {len(tasks) - _MOST_DESCRIBED} more")
        return ", ".join(texts)

    def _describe(self, task: bytes) -> str:
        try:
            return self._words(task)
        except Exception:
            logger.exception("cannot describe a task")
            return "a task"

    def _renew(self) -> None:
        self._old = [p for p in self._processes if not p.is_leaving and p.is_worker]
        for process in filter(lambda each: each.is_attendant, self._processes):
            process.stop()

    # Start processes

    def _fill_slots(self) -> None:
        filled = [p.slot for p in self._processes if p.is_attendant or not p.is_leaving]
        for slot in self._slots:
            if slot not in filled and slot.vacant_until <= time.monotonic():
                self._spawn(slot)
            if slot.is_service and not slot.has_started:
                return  # the other processes need it

    def _replace_old(self) -> None:
        """Start a process beside an old one, and stop the old one when the new one serves."""
        if not self._old:
            return
        old = self._old[0]
        same = [process for process in self._processes if process.slot is old.slot]
        new = [process for process in same if process is not old and not process.is_leaving]
        started = any(process.scoreboard.stage is Stage.STARTED for process in new)
        serving = any(process.is_serving for process in new)
        if old.slot is None or serving or (started and not old.is_serving):
            self._old.remove(old)
            old.stop()
        elif not new and old.slot.vacant_until <= time.monotonic():
            self._spawn(old.slot)

    def _spawn(self, slot: Slot) -> None:
        others = [*self._processes, *self._reporters.dead]
        try:
            self._processes.append(spawn(slot, others, self._in_child))
        except (OSError, MemoryError) as error:
            slot.quick_deaths += 1
            delay = delay_after(slot.quick_deaths)
            slot.vacant_until = time.monotonic() + delay
            message = "%s: cannot start a process: %s; trying again in %g s"
            logger.error(message, slot.name, error, delay)

    # Handle processes that ended

    def _ended(self, process: Process, code: int) -> None:
        process.listen()  # read its last messages
        self._processes.remove(process)
        running = process.charged()
        tasks = [cell.task for cell in running]
        how = how_ended(code)
        if code == -signal.SIGKILL and process.is_overdue(running):
            how = "was killed: it exceeded its time limit"
            if any(cell.request for cell in running):
                how = "was killed: its task was cancelled, but did not end in time"
        if code and not process.is_killed:
            reason = reason_of_death(code, process.scoreboard, process.is_overdue(running))
            self.account.deaths[reason] += 1
        self._reporters.add(process, how, running)
        self._replace(process, code, how, tasks)
        if process not in self._reporters.dead:
            self.account.close(process)

    def _replace(self, process: Process, code: int, how: str, tasks: Sequence[bytes]) -> None:
        """Log that a process has ended, and schedule its replacement if it needs one."""
        slot, stage = process.slot, process.scoreboard.stage
        if self._is_stopping or process.is_leaving or slot is None:
            if tasks:
                message = "process %d %s, while it ran %s"
                logger.error(message, process.pid, how, self._describe_all(tasks))
            return
        if process in self._old:
            self._old.remove(process)
        if code == 0 and stage in (Stage.LEAVING, Stage.DONE):
            slot.quick_deaths = 0
            slot.vacant_until = float("inf") if stage is Stage.DONE else 0.0
            return
        if code == -signal.SIGKILL and process.scoreboard.is_ending:
            slot.vacant_until = float("inf") if stage is Stage.DONE else 0.0
            message = "%s: process %d was killed: it did not exit in time"
            logger.error(message, slot.name, process.pid)
            return
        is_needed = not (slot.has_started or slot.is_attendant)
        if is_needed and stage is Stage.STARTING and code > 0 and code not in _UNKNOWN:
            logger.error("%s: process %d could not start; stopping", slot.name, process.pid)
            self._failed = True
            self._stop()
            return
        delay = replacement_delay(slot, process, code, bool(tasks))
        slot.vacant_until = time.monotonic() + delay
        logger.error(
            "%s: process %d %s%s; starting another one%s",
            *(slot.name, process.pid, how),
            f", while it ran {self._describe_all(tasks)}" if tasks else "",
            f" in {delay:g} s" if delay else "",
        )
