"""One process of a supervisor: how it is born, what its parent knows of it, and how it ends."""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .scoreboard import Phase, Reported, Scoreboard, Stage

#: Signals that the supervisor acts upon.
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)
#: Seconds without a beat after which an idle process is not counted on.
_BEAT_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
_MOST_BYTES = 300

Run: TypeAlias = Callable[[], object]
Stop: TypeAlias = Callable[[], object]
#: Called in a new process with its board and its line to the parent; returns (run, stop).
Start: TypeAlias = Callable[[Scoreboard, socket.socket], tuple[Run, Stop]]


@dataclass
class Slot:
    """What one process at a time is to run; `name` is for people."""

    name: str
    start: Start
    quick_deaths: int = 0
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
    is_killed: bool = False  # it was killed, and what it had is for others

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(self.pid, number)

    def stop(self) -> None:
        self.is_leaving = True
        self.send(signal.SIGTERM)

    def kill(self) -> None:
        self.is_killed = True
        self.send(signal.SIGKILL)

    @property
    def is_serving(self) -> bool:
        """Whether it does its work, or could if there was some."""
        if self.board.stage is not Stage.STARTED:
            return False
        busy = self.board.phase is not Phase.IDLE
        return busy or time.monotonic() - self.board.beat_at < _BEAT_SECONDS

    def listen(self) -> None:
        """Take in the duplicates of sockets that have arrived."""
        with contextlib.suppress(OSError):  # nothing is there, any more
            while True:
                name, descriptors, _, _ = socket.recv_fds(self.line, _MOST_BYTES, 1)
                if not name:
                    return
                for descriptor in descriptors:
                    os.set_inheritable(descriptor, False)
                    old = self.sockets.pop(name.decode(), None)
                    if old is not None:
                        old.close()
                    self.sockets[name.decode()] = socket.socket(fileno=descriptor)

    def reap(self) -> int | None:
        """Return the exit code, a negative signal's number if one ended it; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None

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


def spawn(slot: Slot, others: Iterable[Process]) -> Process:
    """Fork a process for the slot; it closes what is the parent's, and of the `others`."""
    board = Scoreboard()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (ours, theirs):
        end.setblocking(False)
    pid = _fork(others)
    if pid:
        theirs.close()
        return Process(pid, slot, board, ours)
    ours.close()
    _be_process(slot.start, board, theirs)
    raise AssertionError("unreachable")


def spawn_once(work: Callable[[], object], others: Iterable[Process]) -> int:
    """Fork a process that does this and ends; return its id."""
    pid = _fork(others)
    if pid:
        return pid
    _reset_signals(lambda *_: None)
    _leave(work)
    raise AssertionError("unreachable")


def _fork(others: Iterable[Process]) -> int:
    """Fork; the child dies with its parent, and lets go of what that knows of `others`."""
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    # A signal that came before the child has its own handlers would be handled as the parent's.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return pid
    signal.set_wakeup_fd(-1)
    _die_with(parent)
    for other in others:
        other.forget()
    return 0


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _reset_signals(on_stop: Callable[..., Any]) -> None:
    """Unblock all signals, with handlers where an ignored one would stay so in a job's programs."""
    for number in (signal.SIGINT, signal.SIGHUP):  # of a terminal; the parent says what to do
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, on_stop)
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # where stderr is no file
        faulthandler.register(signal.SIGQUIT, all_threads=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def _be_process(start: Start, board: Scoreboard, line: socket.socket) -> None:
    stops: list[Stop] = []
    told: list[int] = []

    def on_stop(number: int, frame: object) -> None:
        told.append(number)
        for stop in stops:
            stop()

    def work() -> None:
        _reset_signals(on_stop)
        run, stop = start(board, line)
        stops.append(stop)
        board.start()
        wake_parent(line)
        if told:
            stop()
        run()

    _leave(work)


def _leave(work: Callable[[], object]) -> None:
    """Do the work, and end the process without what the parent has set up for its own exit."""
    code = 1
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - it is shown, and there is no caller to raise it to
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
