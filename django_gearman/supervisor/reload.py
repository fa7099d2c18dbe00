"""
New code for a supervisor, in the same process: it checks that the new code can start, and replaces
its own program by it; the processes live on, as children of the new program.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Any

from .forking import HANDLED, delay_after, insist, is_shortage
from .process import Process, Slot
from .scoreboard import LAYOUT, Scoreboard

logger = logging.getLogger(__name__)

_MOST_OUTPUT = 20_000  # bytes of what a check writes, that are told
_VARIABLE = "DJANGO_GEARMAN_ADOPT"


def _logical_directory() -> str:
    """Return the working directory as it was named: a deployment may point a link elsewhere."""
    with contextlib.suppress(OSError, KeyError):
        if os.path.samefile(os.environ["PWD"], os.curdir):
            return os.environ["PWD"]
    return os.getcwd()


def is_taking_over() -> bool:
    """Whether this program has replaced one whose processes live on, and are not adopted yet."""
    return _VARIABLE in os.environ


class CheckFailed(Exception):
    """The check whether the new code can start has failed; the text is what it has written."""


class Reload:
    """
    How to get new code: `command` is the program and its arguments, None if there is no way.

    `check` are the arguments with which the program only finds out whether it could start. The new
    program has processes of the old one adopted into `slots`, by name.
    """

    def __init__(
        self,
        command: Sequence[str] | None,
        check: Sequence[str] = (),
        slots: Sequence[Slot] = (),
    ) -> None:
        self._command = command
        self._check = check
        self._slots = slots
        self._directory = _logical_directory()
        self._checking: subprocess.Popen[bytes] | None = None
        self._written: IO[bytes] | None = None  # by the check
        self._is_checked = False
        self._failures = 0
        self._try_at = math.inf  # when to try again what the system had no room for

    @property
    def children(self) -> set[int]:
        return {self._checking.pid} if self._checking is not None else set()

    def begin(self) -> bool:
        """Have new code checked, and then take over; answer False if there is no way to it."""
        if self._command is None:
            return False
        self.cancel()
        logger.info("checking whether the code, as it is now, can start")
        self._check_code()
        return True

    def cancel(self) -> None:
        if self._checking is not None:
            self._checking.kill()
            self._checking.wait()
            self._read_output()
        self._checking, self._is_checked = None, False
        self._failures, self._try_at = 0, math.inf

    def look(self, processes: Sequence[Process]) -> None:
        """Take over if the new code has been found able to; this does not return then."""
        if self._checking is not None and (code := self._checking.poll()) is not None:
            self._checking = None
            output = self._read_output()
            if code == 0:
                logger.info("the new code takes over")
                self._is_checked, self._try_at = True, 0.0
            else:
                logger.error(
                    "the code, as it is now, cannot start: nothing is replaced",
                    exc_info=CheckFailed(output or f"it exited with {code}, and wrote nothing"),
                )
        if self._try_at <= time.monotonic():
            self._try_at = math.inf
            if self._is_checked:
                self._take_over(processes)
            else:
                self._check_code()

    def _check_code(self) -> None:
        try:
            self._written = _new_file()
            self._checking = subprocess.Popen(
                [*(self._command or ()), *self._check],
                cwd=self._directory,
                stdout=self._written,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            self._read_output()
            self._failed(error)

    def _read_output(self) -> str:
        """Return what the check has written at the last, and forget it."""
        if self._written is None:
            return ""
        with self._written as file:
            self._written = None
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _MOST_OUTPUT))
            return file.read().decode(errors="replace").strip()

    def _failed(self, error: OSError) -> None:
        if not is_shortage(error):
            self.cancel()
            logger.error("nothing is replaced: %s", error)
            return
        self._failures += 1
        delay = delay_after(self._failures)
        self._try_at = time.monotonic() + delay
        logger.error("the new code has to wait: %s; trying again in %g s", error, delay)

    def _take_over(self, processes: Sequence[Process]) -> None:
        for process in processes:
            process.listen()
        left = [_leave(process) for process in processes]
        environment = {**os.environ, _VARIABLE: json.dumps({"layout": LAYOUT, "processes": left})}
        # Whatever comes meanwhile waits until the new program has its handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        command = list(self._command or ())
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # it is closed, or full
                stream.flush()
        before: int | None = None
        try:
            before = os.open(os.curdir, os.O_RDONLY)  # its name may be gone
            os.chdir(self._directory)
            os.execvpe(command[0], command, environment)
        except OSError as error:
            if before is not None:
                os.fchdir(before)
                os.close(before)
            for process in processes:
                _set_inheritable(process, False)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            self._failed(error)

    def adopt(self) -> list[Process]:
        """Return the processes that the program before this one, if there was one, has left."""
        told = os.environ.pop(_VARIABLE, None)
        if told is None:
            return []
        left = json.loads(told)
        slots = {slot.name: slot for slot in self._slots}
        has_boards = left["layout"] == LAYOUT
        return [_adopt(each, slots, has_boards) for each in left["processes"]]


def _new_file() -> IO[bytes]:
    """Return a file without a name, in memory where the platform has such."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("check"), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _set_inheritable(process: Process, inheritable: bool) -> None:
    os.set_inheritable(process.board.descriptor, inheritable)
    for opened in (process.line, *process.sockets.values()):
        opened.set_inheritable(inheritable)


def _leave(process: Process) -> dict[str, Any]:
    """Make a process's descriptors outlive this program, and return what the next one needs."""
    _set_inheritable(process, True)
    return {
        "pid": process.pid,
        "slot": process.slot.name if process.slot else "",
        "born": process.born,
        "board": process.board.descriptor,
        "line": process.line.fileno(),
        "sockets": {name: opened.fileno() for name, opened in process.sockets.items()},
        "is_leaving": process.is_leaving,
    }


def _adopt(left: dict[str, Any], slots: dict[str, Slot], has_boards: bool) -> Process:
    """Make of what `_leave` told a process again; without its board where that reads otherwise."""
    sockets = {name: socket.socket(fileno=number) for name, number in left["sockets"].items()}
    line = socket.socket(fileno=left["line"])
    for opened in (line, *sockets.values()):
        opened.set_inheritable(False)
    os.set_inheritable(left["board"], False)
    if has_boards:
        board = Scoreboard(left["board"])
    else:
        os.close(left["board"])
        board = insist(Scoreboard, "what the processes tell can not be kept")
        board.start()
    return Process(
        left["pid"],
        slots.get(left["slot"]),
        board,
        line,
        left["born"],
        sockets,
        left["is_leaving"],
    )
