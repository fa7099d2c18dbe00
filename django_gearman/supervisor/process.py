"""One process of a supervisor: how it is born, what its parent knows of it, and how it ends."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from .forking import delay_after, fork, reset_signals
from .scoreboard import Phase, Reported, Scoreboard, Stage
from .streams import has_room

logger = logging.getLogger(__name__)

#: Seconds that a process has for what is registered for its exit, before it is killed.
LEAVE_SECONDS = 10.0
#: What stands for the exit code of a process that somebody else has waited for.
UNKNOWN_CODE = 256

# Seconds without a sign of life after which a process is not counted on: an idle one, and one that
# has done its task and reports what came of it.
_SECONDS = {Phase.IDLE: 5.0, Phase.REPORTING: 10.0}
_MOST_BYTES = 300
_QUICK_SECONDS = 5.0  # a process that lived for less has died quickly

Run: TypeAlias = Callable[[], object]
Stop: TypeAlias = Callable[[], object]
#: Called in a new process with its board and its line to the parent; returns (run, stop).
Start: TypeAlias = Callable[[Scoreboard, socket.socket], tuple[Run, Stop]]


@dataclass
class Slot:
    """
    What one process at a time is to run; `name` is for people.

    A service is a process that the others need: it starts before them, and stops after them. A reload
    keeps it.
    """

    name: str
    start: Start
    is_service: bool = False
    quick_deaths: int = 0
    has_started: bool = False
    vacant_until: float = 0.0


@dataclass(frozen=True)
class Death:
    """
    A process that ended with a task in hand, for whoever has to report on that.

    `sockets` are duplicates of those that the process had opened, by the name it gave them. `times`
    is how many processes of this supervisor have ended with this task, `reported` what this one had
    said of its end.
    """

    how: str
    task: bytes
    sockets: dict[str, socket.socket]
    times: int
    is_overdue: bool
    reported: Reported = Reported.NOTHING


@dataclass
class Process:
    """What the parent knows of a process."""

    pid: int
    slot: Slot | None
    board: Scoreboard
    line: socket.socket
    born: float = field(default_factory=time.monotonic)
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    is_leaving: bool = False  # it was told to stop
    is_stopped: bool = False  # by SIGSTOP, say
    is_killed: bool = False  # it was killed, and what it had is for others

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

    @property
    def is_service(self) -> bool:
        return self.slot is not None and self.slot.is_service

    @property
    def is_serving(self) -> bool:
        """Whether it does its work, or could if there was some."""
        if self.board.stage is not Stage.STARTED or self.is_stopped:
            return False
        return time.monotonic() - self.board.beat_at < _SECONDS.get(self.board.phase, math.inf)

    def listen(self) -> None:
        """Take in the duplicates of sockets that have arrived."""
        with contextlib.suppress(OSError):  # nothing is there, any more
            while True:
                name, descriptors, flags, _ = socket.recv_fds(self.line, _MOST_BYTES, 1)
                if not name:
                    return
                if flags & socket.MSG_CTRUNC:
                    told = (
                        "no descriptor is left to share a connection of process %d; raise the limit"
                    )
                    logger.warning(told, self.pid)
                old = self.sockets.pop(name.decode(), None)
                if old is not None:
                    old.close()
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
                    self.sockets[name.decode()] = socket.socket(fileno=descriptor)

    def reap(self) -> int | None:
        """Return the exit code, a negative signal's number if one ended it; None while it runs."""
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
                how = (
                    "process %d is stopped by a signal, %d, and does nothing until it gets SIGCONT"
                )
                logger.warning(how, self.pid, os.WSTOPSIG(status))
            else:
                return os.waitstatus_to_exitcode(status)

    def hang_up(self) -> None:
        """End the connections of a dead process: what it has started may hold them open."""
        for opened in self.sockets.values():
            with contextlib.suppress(OSError):  # the other side has closed it
                opened.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Close this process's share of all that connects the two."""
        self.line.close()
        self.board.close()
        for opened in self.sockets.values():
            opened.close()


def tell(line: socket.socket, name: str, opened: socket.socket) -> None:
    """Give the parent a duplicate of a socket, in the process that has opened it."""
    with contextlib.suppress(OSError):  # a parent that is hung, or gone
        socket.send_fds(line, [name.encode()], [opened.fileno()])


def wake_parent(line: socket.socket) -> None:
    """Have the parent look at the board."""
    with contextlib.suppress(OSError):
        line.send(b"!")


def spawn(slot: Slot, forget: Iterable[Process], in_child: Callable[[], object]) -> Process:
    """
    Fork a process for the slot; it begins with `in_child`, and lets go of what its parent knows of
    other processes.

    Raises OSError or MemoryError, with nothing left open, if there can be no other process now.
    """
    with contextlib.ExitStack() as undo:
        board = Scoreboard()
        undo.callback(board.close)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for end in (ours, theirs):
            undo.callback(end.close)
            end.setblocking(False)

        def work() -> None:
            ours.close()
            _let_go(forget, in_child)
            _be_process(slot, board, theirs)

        pid = fork(work, on_leave=lambda: board.leave_within(LEAVE_SECONDS))
        undo.pop_all()
    theirs.close()
    return Process(pid, slot, board, ours)


def spawn_once(
    work: Callable[[], object], forget: Iterable[Process], in_child: Callable[[], object]
) -> int:
    """Fork a process that does this and ends; return its id. Raises what `spawn` does."""

    def work_once() -> None:
        reset_signals(lambda *_: None)
        _let_go(forget, in_child)
        work()

    return fork(work_once)


def _let_go(others: Iterable[Process], in_child: Callable[[], object]) -> None:
    for other in others:
        other.forget()
    in_child()


def _be_process(slot: Slot, board: Scoreboard, line: socket.socket) -> None:
    stops: list[Stop] = []
    told: list[int] = []

    def on_stop(number: int, frame: object) -> None:
        told.append(number)
        for stop in stops:
            stop()

    reset_signals(on_stop)
    run, stop = slot.start(board, line)
    stops.append(stop)
    board.start()
    wake_parent(line)
    if told:
        stop()
    run()


def reap_strangers(known: Collection[int]) -> None:
    """
    Reap children that nobody here has forked.

    The first process of a container is given those whose parents have died; nobody else reaps them.
    """
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid in known:
            return
        os.waitpid(found.si_pid, 0)


def replacement_delay(slot: Slot, process: Process, code: int, task: bytes) -> float:
    """Return the seconds until a process is replaced: more, if one after another does nothing."""
    lived = time.monotonic() - process.born
    if not code or lived >= _QUICK_SECONDS:
        slot.quick_deaths = 0
        return 0.0
    slot.quick_deaths = 1 if task else slot.quick_deaths + 1
    return delay_after(slot.quick_deaths)


def how_ended(code: int) -> str:
    """Say how a process has ended, by its exit code."""
    if code == UNKNOWN_CODE:
        return "has ended, and another program has its exit code"
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def show_tracebacks(processes: Iterable[Process]) -> None:
    """Write to stderr where this process is, and have each of the others do so."""
    for frame in sys._current_frames().values():
        print("the supervisor is here:", file=sys.stderr)
        traceback.print_stack(frame, file=sys.stderr)
    for process in processes:
        if not has_room(2):  # who writes there would wait
            return
        name = process.slot.name if process.slot else "an old worker"
        logger.info("%s: process %d is here:", name, process.pid)
        process.send(signal.SIGQUIT)
        time.sleep(0.05)  # one after another, so that they do not mix
