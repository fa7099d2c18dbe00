"""
New code for a supervisor, in the same process: it checks that the new code can start, and replaces
its own program by it; the processes live on, as children of the new program.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from .process import HANDLED, Process, Slot
from .scoreboard import LAYOUT, Scoreboard

logger = logging.getLogger(__name__)

_VARIABLE = "DJANGO_GEARMAN_ADOPT"


def _logical_directory() -> str:
    """Return the working directory as it was named: a deployment may point a link elsewhere."""
    with contextlib.suppress(OSError, KeyError):
        if os.path.samefile(os.environ["PWD"], os.curdir):
            return os.environ["PWD"]
    return os.getcwd()


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

    def begin(self) -> bool:
        """Have new code checked, and then take over; answer False if there is no way to it."""
        if self._command is None:
            return False
        self.cancel()
        logger.info("checking whether the code, as it is now, can start")
        try:
            self._checking = subprocess.Popen([*self._command, *self._check], cwd=self._directory)
        except OSError as error:
            logger.error("nothing is replaced: %s", error)
        return True

    def cancel(self) -> None:
        if self._checking is not None:
            self._checking.kill()
            self._checking.wait()
        self._checking = None

    def look(self, processes: Sequence[Process]) -> None:
        """Take over if the new code has been found able to; this does not return then."""
        if self._checking is None or (code := self._checking.poll()) is None:
            return
        self._checking = None
        if code != 0:
            logger.error("the code, as it is now, cannot start: nothing is replaced")
            return
        logger.info("the new code takes over")
        self._take_over(processes)

    def _take_over(self, processes: Sequence[Process]) -> None:
        for process in processes:
            process.listen()
        left = [_leave(process) for process in processes]
        environment = {**os.environ, _VARIABLE: json.dumps({"layout": LAYOUT, "processes": left})}
        # Whatever comes meanwhile waits until the new program has its handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        command = list(self._command or ())
        sys.stdout.flush()
        sys.stderr.flush()
        before = os.getcwd()
        try:
            os.chdir(self._directory)
            os.execvpe(command[0], command, environment)
        except OSError as error:
            os.chdir(before)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            logger.error("nothing is replaced: %s", error)

    def adopt(self) -> list[Process]:
        """Return the processes that the program before this one, if there was one, has left."""
        told = os.environ.pop(_VARIABLE, None)
        if told is None:
            return []
        left = json.loads(told)
        slots = {slot.name: slot for slot in self._slots}
        has_boards = left["layout"] == LAYOUT
        return [_adopt(each, slots, has_boards) for each in left["processes"]]


def _leave(process: Process) -> dict[str, Any]:
    """Make a process's descriptors outlive this program, and return what the next one needs."""
    descriptors = [process.board.descriptor, process.line.fileno()]
    sockets = {name: opened.fileno() for name, opened in process.sockets.items()}
    for descriptor in [*descriptors, *sockets.values()]:
        os.set_inheritable(descriptor, True)
    return {
        "pid": process.pid,
        "slot": process.slot.name if process.slot else "",
        "born": process.born,
        "board": descriptors[0],
        "line": descriptors[1],
        "sockets": sockets,
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
        board = Scoreboard()
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
