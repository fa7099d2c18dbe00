"""A process of a supervisor: its start, the parent's view of it, and its end."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

from .forking import fork, reset_signals
from .scoreboard import Cell, Ended, Phase, Reported, Scoreboard, Stage

logger = logging.getLogger(__name__)

#: Seconds for the exit handlers of a process, before it is killed.
LEAVE_SECONDS = 10.0
#: The exit code of a process if another program has waited for it.
UNKNOWN_CODE = 256
#: The message of a process that asks for the scoreboards of all.
ASK = b"?"

# Seconds without a heartbeat after which a process no longer counts as serving: while it is idle,
# and while it reports the outcome of its task.
_SECONDS = {Phase.IDLE: 5.0, Phase.REPORTING: 10.0}
_MOST_BYTES = 300
_STOP_SECONDS = 0.1  # for the kernel to stop a process

Run: TypeAlias = Callable[[], object]
Stop: TypeAlias = Callable[[], object]
#: Called in a new process with its scoreboard and its channel to the parent; returns (run, stop).
Start: TypeAlias = Callable[[Scoreboard, socket.socket], tuple[Run, Stop]]
#: Called first in a new process, with its number.
InChild: TypeAlias = Callable[[int], object]


@dataclass
class Slot:
    """
    A place for one process at a time; `name` is for people, and `cells` is the number of tasks that
    the process may have at a time.

    A service is a process that the others need. It starts before them and stops after them. A
    reload keeps it. An attendant is a process that the others do not need. There is one at a time,
    until the others have ended, and a reload replaces it.
    """

    name: str
    start: Start
    is_service: bool = False
    is_attendant: bool = False
    cells: int = 1
    quick_deaths: int = 0
    has_started: bool = False
    vacant_until: float = 0.0

    @property
    def is_worker(self) -> bool:
        return not (self.is_service or self.is_attendant)


@dataclass(frozen=True)
class WorkerExit:
    """
    The unexpected exit of a process while it ran a task, for the report on that task.

    `sockets` are duplicates of the sockets that the process had opened, by name. `times` is the
    number of processes of this supervisor that ended with this task. `reported` is the part of the
    outcome that the process had reported. `count` adds the task to the tally of the process.
    `is_last` is False if the report on another task of this process follows: the sockets must stay
    open.
    """

    how: str
    task: bytes
    sockets: dict[str, socket.socket]
    times: int
    is_overdue: bool
    reported: Reported = Reported.NOTHING
    count: Callable[[Ended], object] = lambda ended: None
    is_last: bool = True


@dataclass
class Process:
    """The parent's view of a process."""

    pid: int
    slot: Slot | None
    scoreboard: Scoreboard
    channel: socket.socket
    born: float = field(default_factory=time.monotonic)
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    is_leaving: bool = False  # it got SIGTERM
    is_stopped: bool = False  # for example by SIGSTOP
    is_killed: bool = False  # the supervisor killed it; its tasks are for other workers
    #: The tasks that the supervisor killed it for, by the times at which they began.
    overdue: frozenset[float] = frozenset()
    number: int = 0  # no other one has it; 0 if a release without numbers has started it

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(self.pid, number)

    def stop(self) -> None:
        self.is_leaving = True
        self.send(signal.SIGTERM)
        if self.is_stopped:
            self.send(signal.SIGCONT)

    def kill(self) -> None:
        self.is_killed = True
        self.send(signal.SIGKILL)

    def enforce_deadlines(self, now: float) -> list[bytes]:
        """
        Kill the process if all its tasks are overdue, or its exit.

        If others are not, stop it, so that it gets no more tasks; return the overdue ones then.
        """
        board = self.scoreboard
        if self.is_killed or board.deadline > now:
            return []
        running = board.running()
        overdue = [cell for cell in running if cell.overdue_at <= now]
        if board.leave_by <= now or len(overdue) == len(running):
            if board.leave_by > now and not self._stands_still(overdue):
                return []
            self.overdue = frozenset(cell.began_at for cell in overdue)
            self.send(signal.SIGKILL)
            return []
        if self.is_leaving:
            return []
        self.stop()
        return [cell.task for cell in overdue]

    def _stands_still(self, overdue: Sequence[Cell]) -> bool:
        """
        Stop the process. If one of these tasks has just ended, let it continue and return False.

        Otherwise it could be killed while it runs the next one.
        """
        began = [cell.began_at for cell in overdue]
        if self.is_stopped:
            return True
        self.send(signal.SIGSTOP)
        until = time.monotonic() + _STOP_SECONDS
        while time.monotonic() < until:
            with contextlib.suppress(ChildProcessError):
                if os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOHANG) is not None:
                    break
            time.sleep(0.001)
        now = time.monotonic()
        is_same = began == [cell.began_at for cell in overdue]
        if is_same and all(cell.overdue_at <= now for cell in overdue):
            return True
        self.send(signal.SIGCONT)
        return False

    def is_overdue(self, cells: Iterable[Cell]) -> bool:
        """Return True if a task of these cells is overdue; an exit has a separate deadline."""
        now = time.monotonic()
        return not self.scoreboard.is_ending and any(cell.overdue_at <= now for cell in cells)

    def charged(self) -> list[Cell]:
        """Return the cells of the tasks that this process has ended with; none if it was killed."""
        if self.is_killed:
            return []
        # A task that began while the process was killed for others is for other workers.
        cells = self.scoreboard.running()
        return [cell for cell in cells if not self.overdue or cell.began_at in self.overdue]

    @property
    def is_service(self) -> bool:
        return self.slot is not None and self.slot.is_service

    @property
    def is_attendant(self) -> bool:
        return self.slot is not None and self.slot.is_attendant

    @property
    def is_worker(self) -> bool:
        return self.slot is None or self.slot.is_worker

    @property
    def is_serving(self) -> bool:
        """Return True if the process does its work, or waits for some."""
        if self.scoreboard.stage is not Stage.STARTED or self.is_stopped:
            return False
        return time.monotonic() - self.scoreboard.beat_at < _SECONDS.get(
            self.scoreboard.activity, math.inf
        )

    def listen(self) -> bool:
        """
        Receive duplicates of sockets that the process has sent; return True if it asks for an
        overview.
        """
        asks = False
        with contextlib.suppress(OSError):  # nothing more to read
            while True:
                name, descriptors, flags, _ = socket.recv_fds(self.channel, _MOST_BYTES, 1)
                if not name:
                    break
                asks = asks or name == ASK
                if flags & socket.MSG_CTRUNC:
                    message = (
                        "no file descriptor is left to share a connection of process %d; "
                        "raise the limit (ulimit -n)"
                    )
                    logger.warning(message, self.pid)
                old = self.sockets.pop(name.decode(), None)
                if old is not None:
                    old.close()
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
                    self.sockets[name.decode()] = socket.socket(fileno=descriptor)
        return asks

    def reap(self) -> int | None:
        """
        Return the exit code, the negative number of a signal that ended it, or None while it runs.
        """
        while True:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return UNKNOWN_CODE
            if not pid:
                return None
            if os.WIFCONTINUED(status):
                self.is_stopped = False
            elif os.WIFSTOPPED(status):
                self.is_stopped = True
                how = "process %d is stopped by signal %d, and does nothing until it gets SIGCONT"
                logger.warning(how, self.pid, os.WSTOPSIG(status))
            else:
                return os.waitstatus_to_exitcode(status)

    def hang_up(self) -> None:
        """
        Shut down the connections of a dead process: programs that it started may hold them open.
        """
        for opened in self.sockets.values():
            with contextlib.suppress(OSError):  # the other side has closed it
                opened.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Close this process's copies of everything that connects the two."""
        self.channel.close()
        self.scoreboard.close()
        for opened in self.sockets.values():
            opened.close()


def send_socket(channel: socket.socket, name: str, opened: socket.socket) -> None:
    """Send the parent a duplicate of a socket, from the process that opened it."""
    with contextlib.suppress(OSError):  # the parent hangs, or has ended
        socket.send_fds(channel, [name.encode()], [opened.fileno()])


def wake_parent(channel: socket.socket) -> None:
    """Make the parent read the scoreboard."""
    with contextlib.suppress(OSError):
        channel.send(b"!")


def spawn(slot: Slot, others: Iterable[Process], in_child: InChild) -> Process:
    """
    Fork a process for the slot, with the lowest number that none of the others has. It first closes
    the parent's copies for the others, and calls `in_child`.

    If no process can be started now, raise OSError or MemoryError and leave nothing open.
    """
    others = list(others)
    taken = {other.number for other in others}
    number = next(number for number in count(1) if number not in taken)
    with contextlib.ExitStack() as undo:
        scoreboard = Scoreboard(cells=slot.cells)
        undo.callback(scoreboard.close)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (ours, theirs):
            undo.callback(end.close)
            end.setblocking(False)

        def work() -> None:
            ours.close()
            _let_go(others, in_child, number)
            _be_process(slot, scoreboard, theirs)

        pid = fork(work, on_leave=lambda: scoreboard.leave_within(LEAVE_SECONDS))
        undo.pop_all()
    theirs.close()
    return Process(pid, slot, scoreboard, ours, number=number)


def spawn_once(
    work: Callable[[], object], forget: Iterable[Process], in_child: InChild, number: int
) -> int:
    """
    Fork a process that does this work and exits; return its id. Raises like `spawn`.

    `number` is that of the dead process for which it works.
    """

    def work_once() -> None:
        reset_signals(lambda *_: None)
        _let_go(forget, in_child, number)
        work()

    return fork(work_once)


def _let_go(others: Iterable[Process], in_child: InChild, number: int) -> None:
    for other in others:
        other.forget()
    in_child(number)


def _be_process(slot: Slot, scoreboard: Scoreboard, channel: socket.socket) -> None:
    stops: list[Stop] = []
    received: list[int] = []

    def on_stop(number: int, frame: object) -> None:
        received.append(number)
        for stop in stops:
            stop()

    reset_signals(on_stop)
    scoreboard.write_traceback_on(signal.SIGQUIT)
    run, stop = slot.start(scoreboard, channel)
    stops.append(stop)
    scoreboard.start()
    wake_parent(channel)
    if received:
        stop()
    run()
