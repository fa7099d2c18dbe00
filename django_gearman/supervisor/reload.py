"""
The hand-over on reload: a supervisor replaces its own program, and keeps its processes.

A new release must start without a moment in which nothing is served, and without killing a task. A
second supervisor beside the old one cannot do that. Processes belong to their parent: only the parent
learns how they end, and a service manager stops everything when the process ends that it started. So
the supervisor executes the new program in its own process. It keeps its process id, its children, and
the descriptors that it passes on. The old processes work on with the old code. The new program adopts
them, and replaces one after another when its task is done.

There is no way back after `exec`: code that cannot start would take all processes with it. So a copy
of the new program with `--check` has to start first. If it fails, nothing changes.

What the old program tells the new one is a contract between releases: the environment variable, the
descriptors in it, and the layout of the scoreboard.
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
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

from .account import Account
from .forking import HANDLED, delay_after, insist, is_shortage
from .process import Process, Slot
from .scoreboard import LAYOUT, Scoreboard, memory_file

logger = logging.getLogger(__name__)

_MOST_OUTPUT = 20_000  # bytes of the check's output that are logged
_VARIABLE = "DJANGO_GEARMAN_ADOPT"


def _logical_directory() -> str:
    """
    Return the working directory by its logical name: a deployment may change what a link points to.
    """
    with contextlib.suppress(OSError, KeyError):
        if os.path.samefile(os.environ["PWD"], os.curdir):
            return os.environ["PWD"]
    return os.getcwd()


def is_taking_over() -> bool:
    """Return True if this program replaced another one, and has not adopted its processes yet."""
    return _VARIABLE in os.environ


def previous_release() -> Mapping[str, Any]:
    """Return the data that the replaced program left about itself; {} from an older release."""
    about: Mapping[str, Any] = json.loads(os.environ[_VARIABLE]).get("about", {})
    return about


def previous_descriptor(name: str) -> int | None:
    """Return the descriptor that the replaced program has kept under this name, if there is one."""
    number: int | None = None
    if is_taking_over():
        number = json.loads(os.environ[_VARIABLE]).get("kept", {}).get(name)
    if number is not None:
        os.set_inheritable(number, False)
    return number


class CheckFailed(Exception):
    """The new code cannot start; the text is the output of the check."""


class Reload:
    """
    A way to load new code: `command` is the program with its arguments, None if there is none.

    With the arguments `check`, the program only checks that it can start. The new program adopts
    the processes of the old one into `slots`, by name. `about` describes this release for the next
    one, in values that JSON knows. `kept` are descriptors that the next one needs, by name.
    """

    def __init__(
        self,
        command: Sequence[str] | None,
        check: Sequence[str] = (),
        slots: Sequence[Slot] = (),
        about: Mapping[str, Any] | None = None,
        kept: Mapping[str, int] | None = None,
    ) -> None:
        self._command = command
        self._check = check
        self._slots = slots
        self._about = about or {}
        self._kept = kept or {}
        self._directory = _logical_directory()
        self._checking: subprocess.Popen[bytes] | None = None
        self._written: IO[bytes] | None = None  # written by the check
        self._is_checked = False
        self._failures = 0
        self._try_at = math.inf  # time of the next attempt, if the system had no room

    @property
    def children(self) -> set[int]:
        return {self._checking.pid} if self._checking is not None else set()

    def begin(self) -> bool:
        """Start the check of new code; return False if there is no command to load it."""
        if self._command is None:
            return False
        self.cancel()
        logger.info("checking that the new code can start")
        self._check_code()
        return True

    def cancel(self) -> None:
        if self._checking is not None:
            self._checking.kill()
            self._checking.wait()
            self._take_output()
        self._checking, self._is_checked = None, False
        self._failures, self._try_at = 0, math.inf

    def look(self, processes: Sequence[Process], account: Account) -> None:
        """Take over if the check has passed. In this case the call does not return."""
        if self._checking is not None and (code := self._checking.poll()) is not None:
            self._checking = None
            output = self._take_output()
            if code == 0:
                logger.info("the new code takes over")
                self._is_checked, self._try_at = True, 0.0
            else:
                logger.error(
                    "Reload failed: the new code cannot start (output below). "
                    "The running processes are kept",
                    exc_info=CheckFailed(output or f"it exited with {code} and printed nothing"),
                )
        if self._try_at <= time.monotonic():
            self._try_at = math.inf
            if self._is_checked:
                self._take_over(processes, account)
            else:
                self._check_code()

    def _check_code(self) -> None:
        try:
            self._written = os.fdopen(memory_file("check"), "w+b", buffering=0)
            self._checking = subprocess.Popen(
                [*(self._command or ()), *self._check],
                cwd=self._directory,
                stdout=self._written,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            self._take_output()
            self._failed(error)

    def _take_output(self) -> str:
        """Return the last output of the check, and delete it."""
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
            logger.error("Reload failed: %s. The running processes are kept", error)
            return
        self._failures += 1
        delay = delay_after(self._failures)
        self._try_at = time.monotonic() + delay
        logger.error("the reload must wait: %s; trying again in %g s", error, delay)

    def _take_over(self, processes: Sequence[Process], account: Account) -> None:
        for process in processes:
            process.listen()
        left = [_leave(process) for process in processes]
        state = {
            "layout": LAYOUT,
            "processes": left,
            "account": account.dump(),
            "about": self._about,
            "kept": self._kept,
        }
        self._pass_on(True)
        environment = {**os.environ, _VARIABLE: json.dumps(state)}
        # Block signals until the new program has set its handlers.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        command = list(self._command or ())
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # it is closed, or full
                stream.flush()
        before: int | None = None
        try:
            before = os.open(os.curdir, os.O_RDONLY)  # the file may have been deleted
            os.chdir(self._directory)
            os.execvpe(command[0], command, environment)
        except OSError as error:
            if before is not None:
                os.fchdir(before)
                os.close(before)
            for process in processes:
                _set_inheritable(process, False)
            self._pass_on(False)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            self._failed(error)

    def _pass_on(self, passes: bool) -> None:
        for descriptor in self._kept.values():
            os.set_inheritable(descriptor, passes)

    def adopt(self, account: Account) -> list[Process]:
        """Return the processes of the previous program, if there was one; load its account."""
        state = os.environ.pop(_VARIABLE, None)
        if state is None:
            return []
        left = json.loads(state)
        account.load(left.get("account", {}))
        slots = {slot.name: slot for slot in self._slots}
        return [
            _adopt(each, slots, each.get("layout", left["layout"])) for each in left["processes"]
        ]


def _set_inheritable(process: Process, inheritable: bool) -> None:
    os.set_inheritable(process.scoreboard.descriptor, inheritable)
    for opened in (process.channel, *process.sockets.values()):
        opened.set_inheritable(inheritable)


def _leave(process: Process) -> dict[str, Any]:
    """Keep a process's descriptors open in the next program, and return the data that it needs."""
    _set_inheritable(process, True)
    return {
        "pid": process.pid,
        "slot": process.slot.name if process.slot else "",
        "born": process.born,
        "board": process.scoreboard.descriptor,
        "layout": process.scoreboard.layout,  # older, if another reload is not over
        "line": process.channel.fileno(),
        "sockets": {name: opened.fileno() for name, opened in process.sockets.items()},
        "is_leaving": process.is_leaving,
        "number": process.number,
    }


def _adopt(left: dict[str, Any], slots: dict[str, Slot], layout: int) -> Process:
    """
    Restore a process from the data of `_leave`; replace its scoreboard if its layout is unknown.
    """
    sockets = {name: socket.socket(fileno=number) for name, number in left["sockets"].items()}
    channel = socket.socket(fileno=left["line"])
    for opened in (channel, *sockets.values()):
        opened.set_inheritable(False)
    os.set_inheritable(left["board"], False)
    if layout in (1, LAYOUT):
        scoreboard = Scoreboard(left["board"], layout=layout)
    else:
        os.close(left["board"])
        scoreboard = insist(Scoreboard, "cannot create a scoreboard")
        scoreboard.start()
    return Process(
        left["pid"],
        slots.get(left["slot"]),
        scoreboard,
        channel,
        left["born"],
        sockets,
        left["is_leaving"],
        number=left.get("number", 0),
    )
