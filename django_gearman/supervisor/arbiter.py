"""
The parent of all: it forks processes, listens to signals, and replaces what ends.

Signal handlers do nothing but wake the loop, which does one thing after another: act upon signals,
reap, kill what is overdue, fill vacant slots.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import logging
import os
import select
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from .forking import NOT_NOW, delay_after
from .listening import has_terminal, listening
from .process import (
    LEAVE_SECONDS,
    UNKNOWN_CODE,
    Death,
    Process,
    Slot,
    how_ended,
    reap_strangers,
    replacement_delay,
    show_tracebacks,
    spawn,
)
from .reload import Reload
from .reporters import Reporters
from .scoreboard import Stage

logger = logging.getLogger(__name__)

#: What `run` returns when a process could not start.
CANNOT_START = 3

_TROUBLE_SECONDS = 0.1  # to wait after an error of the supervisor's own
_LOOK_SECONDS = 0.5  # between looks at what the processes tell
_MOST_TASKS = 1000  # that killed a process, and are remembered


@dataclass(frozen=True)
class Status:
    """How the whole is doing: `serving` of `wanted` processes do their work."""

    wanted: int
    serving: int
    is_stopping: bool

    @property
    def is_ready(self) -> bool:
        return self.serving >= self.wanted and not self.is_stopping


class Supervisor:
    """
    Runs one process for each slot, forked from this one.

    SIGTERM and SIGINT are passed on to the processes as SIGTERM, upon which they are expected to
    finish; those that have not within `grace_period` seconds, and all of them at a second signal,
    are killed. SIGQUIT has each write its tracebacks to stderr. SIGHUP replaces them one by one, by
    processes of new code where `reload` has some; it is ignored if it was when this began (nohup).
    A process that dies is replaced; one that could not even start stops the whole, because the next
    would fail alike, unless its slot had one before or the system had no room for it. One that says
    it is done is not replaced; when all are, the whole ends. What the system has no room for, a
    process or a socket, is tried again, later and later. Services start before the other processes,
    and are stopped when the last of these has ended.

    `on_death` is called, in a process of its own, with the death of a process that had a task in hand;
    `describe` says in words which task that was. `report` is told the status every half second.
    `in_child` is called first in each process. What these raise is logged, and changes nothing here.
    """

    def __init__(
        self,
        slots: Sequence[Slot],
        *,
        grace_period: float = 30.0,
        on_death: Callable[[Death], object] | None = None,
        describe: Callable[[bytes], str] = repr,
        report: Callable[[Status], object] = lambda status: None,
        reload: Reload | None = None,
        in_child: Callable[[], object] = lambda: None,
    ) -> None:
        self._slots = sorted(slots, key=lambda slot: not slot.is_service)
        self._workers = [slot for slot in self._slots if not slot.is_service]
        self._grace_period = grace_period
        self._on_death = on_death
        self._words = describe
        self._report = report
        self._in_child = in_child
        self._reload = reload or Reload(None)
        self._processes: list[Process] = []
        self._old: list[Process] = []  # of these, those that are to be replaced
        self._reporters = Reporters(in_child)
        self._times: Counter[bytes] = Counter()  # by digests
        self._kill_at: float | None = None  # since when all are told to stop
        self._failed = False
        self._troubles: dict[str, type[Exception]] = {}  # of this process, which were logged
        self._had_terminal = has_terminal()

    def run(self) -> int:
        """Work until told to stop; return the exit code: 0, or CANNOT_START."""
        gc.collect()
        gc.freeze()  # what is loaded now stays shared with the processes
        self._processes = self._reload.adopt()
        self._renew()
        with listening() as wake:
            try:
                while not self._is_done():
                    with self._surviving("look"):
                        self._look()
                    with self._surviving("tell"):
                        self._tell_status()
                    with self._surviving("wait"):
                        self._wait(wake)
            except BaseException:
                for process in self._processes:
                    process.send(signal.SIGTERM)
                raise
        return CANNOT_START if self._failed else 0

    @contextlib.contextmanager
    def _surviving(self, step: str) -> Iterator[None]:
        """Log what this step raises, once if it comes again and again, and go on."""
        try:
            yield
            self._troubles.pop(step, None)
        except Exception as error:
            if self._troubles.get(step) is not type(error):
                self._troubles[step] = type(error)
                logger.exception("the supervisor has an error of its own, and goes on")
            time.sleep(_TROUBLE_SECONDS)

    @property
    def _is_stopping(self) -> bool:
        return self._kill_at is not None

    def _is_done(self) -> bool:
        return not self._processes and self._is_work_over()

    def _is_work_over(self) -> bool:
        """Whether nothing but services is left, and nothing else is to come."""
        unfilled = any(slot.vacant_until < float("inf") for slot in self._workers)
        idle = all(process.is_service for process in self._processes) and not self._reporters
        return idle and (self._is_stopping or not unfilled)

    def _look(self) -> None:
        for process in list(self._processes):
            process.listen()
            code = process.reap()
            if code is not None:
                self._ended(process, code)
            elif process.slot is not None and process.board.stage is not Stage.STARTING:
                process.slot.has_started = True
        self._reporters.look(self._processes)
        if os.getpid() == 1:
            pids = {process.pid for process in self._processes}
            reap_strangers(pids | self._reporters.pids | self._reload.children)
        now = time.monotonic()
        for process in self._processes:
            if process.board.deadline <= now and not process.is_killed:
                process.send(signal.SIGKILL)
        if self._kill_at is not None and self._kill_at <= now:
            self._kill_at = float("inf")
            tasks = self._in_hand() or "no task"
            logger.error("killing what has not finished; left for others: %s", tasks)
            for process in self._processes:
                if process.is_leaving:
                    process.kill()
            self._reporters.kill()
        if self._is_work_over():
            self._stop_services()
        if not self._is_stopping:
            self._fill_slots()
            self._replace_old()
            if not self._reporters:  # new code would not know of them
                self._reload.look(self._processes)

    def _tell_status(self) -> None:
        counted = [p for p in self._processes if not p.is_leaving and not p.is_service]
        serving = sum(process.is_serving for process in counted)
        self._report(Status(len(self._workers), serving, self._is_stopping))

    def _wait(self, wake: socket.socket) -> None:
        """Wait for a signal, for what a process tells, or until it is time to look."""
        now = time.monotonic()
        moments = [process.board.deadline for process in self._processes]
        moments += [slot.vacant_until for slot in self._slots]
        moments += [self._reporters.next_moment(), self._kill_at or now]
        moments = [moment for moment in moments if moment > now]
        timeout = min([_LOOK_SECONDS, *(moment - now for moment in moments)])
        poller = select.poll()
        for readable in (wake, *(process.line for process in self._processes)):
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
                self._renew()  # with the same code again
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._is_stopping:
                self._kill_at = time.monotonic()
            else:
                self._stop()

    def _stop(self) -> None:
        self._kill_at = time.monotonic() + self._grace_period
        self._reload.cancel()
        for process in self._processes:
            if not process.is_service:
                process.stop()
        if tasks := self._in_hand():
            told = "stopping; in hand: %s, for %g s at most; a second signal kills at once"
            logger.info(told, tasks, self._grace_period)

    def _stop_services(self) -> None:
        for process in self._processes:
            if not process.is_leaving:
                self._kill_at = time.monotonic() + LEAVE_SECONDS
                process.stop()

    def _in_hand(self) -> str:
        return ", ".join(self._describe(p.board.task) for p in self._processes if p.board.task)

    def _describe(self, task: bytes) -> str:
        try:
            return self._words(task)
        except Exception:
            logger.exception("a task cannot be described")
            return "a task"

    def _renew(self) -> None:
        self._old = [p for p in self._processes if not p.is_leaving and not p.is_service]

    # Births

    def _fill_slots(self) -> None:
        filled = [process.slot for process in self._processes if not process.is_leaving]
        for slot in self._slots:
            if slot not in filled and slot.vacant_until <= time.monotonic():
                self._spawn(slot)
            if slot.is_service and not slot.has_started:
                return  # the others need it

    def _replace_old(self) -> None:
        """Start a process beside an old one, and stop that when the new one serves."""
        if not self._old:
            return
        old = self._old[0]
        same = [process for process in self._processes if process.slot is old.slot]
        new = [process for process in same if process is not old and not process.is_leaving]
        started = any(process.board.stage is Stage.STARTED for process in new)
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
            told = "%s: cannot start a process: %s; trying again in %g s"
            logger.error(told, slot.name, error, delay)

    # Deaths

    def _ended(self, process: Process, code: int) -> None:
        process.listen()  # what it told at the last
        self._processes.remove(process)
        is_overdue = process.board.deadline <= time.monotonic() and not process.board.is_ending
        task = b"" if process.is_killed else process.board.task
        how = (
            "killed: its time was up" if is_overdue and code == -signal.SIGKILL else how_ended(code)
        )
        if task and self._on_death is not None:
            key, reported = hashlib.blake2b(task).digest(), process.board.has_reported
            self._times[key] += 1
            death = Death(how, task, process.sockets, self._times[key], is_overdue, reported)
            self._reporters.add(self._describe(task), partial(self._on_death, death), process)
            if len(self._times) > _MOST_TASKS:
                del self._times[next(iter(self._times))]
        self._tell(process, code, how, task)
        if process not in self._reporters.dead:
            process.hang_up()
            process.forget()

    def _tell(self, process: Process, code: int, how: str, task: bytes) -> None:
        """Say that a process has ended, and arrange for another one, if it should not have."""
        slot, stage = process.slot, process.board.stage
        if self._is_stopping or process.is_leaving or slot is None:
            if task:
                told = "process %d %s, with %s in hand"
                logger.error(told, process.pid, how, self._describe(task))
            return
        if process in self._old:
            self._old.remove(process)
        if code == 0 and stage in (Stage.LEAVING, Stage.DONE):
            slot.quick_deaths = 0
            slot.vacant_until = float("inf") if stage is Stage.DONE else 0.0
            return
        if code == -signal.SIGKILL and process.board.is_ending:
            slot.vacant_until = float("inf") if stage is Stage.DONE else 0.0
            logger.error("%s: process %d was killed: it did not end", slot.name, process.pid)
            return
        is_hopeless = code not in (NOT_NOW, UNKNOWN_CODE) and not slot.has_started
        if code > 0 and stage is Stage.STARTING and is_hopeless:
            logger.error("%s: process %d could not start; stopping", slot.name, process.pid)
            self._failed = True
            self._stop()
            return
        slot.vacant_until = time.monotonic() + (
            delay := replacement_delay(slot, process, code, task)
        )
        logger.error(
            "%s: process %d %s%s; starting another one%s",
            *(slot.name, process.pid, how),
            f", with {self._describe(task)} in hand" if task else "",
            f" in {delay:g} s" if delay else "",
        )
