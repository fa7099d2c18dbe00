"""A cell: the part of a scoreboard that holds one task of a process."""

from __future__ import annotations

import enum
import math
import mmap
import signal
import struct
import time
from typing import NamedTuple

#: Longest description of a task, in bytes.
MAX_TASK = 1 << 18
#: Makes a process look at the requests to cancel. It does nothing in one that does not expect it.
CANCEL_SIGNAL = signal.SIGURG
#: Seconds from a request to cancel a task until it is overdue.
CANCEL_SECONDS = 5.0
#: Longest name of a task to cancel, in bytes.
MAX_NAME = 132
#: Bytes before the record of a cell, for what the first layout did not have.
EXTRA = 192
#: The place of the process's heartbeat in its scoreboard.
BEAT = EXTRA + 8

_PHASE, _REPORTED, _DEADLINE, _LENGTH, _ENDED, _TASK = 1, 2, 16, 24, 40, 64
_BEGAN, _CANCEL_AT, _CANCEL = -8, -16, -20 - MAX_NAME
_float = struct.Struct("=d")
_length = struct.Struct("=I")
_number = struct.Struct("=Q")
_numbers = struct.Struct("=QQQ")
_limits = struct.Struct("=dI")  # the deadline, and the length of the task


class Phase(enum.IntEnum):
    """The phase of a process's current task."""

    IDLE = 0
    RUNNING = 1
    REPORTING = 2  # the outcome; it is unknown whether it has arrived


class Reported(enum.IntEnum):
    """The part of a task's end that its process has reported."""

    NOTHING = 0
    NEXT = 1  # the task that follows this one
    ALL = 2


class Ended(enum.IntEnum):
    """How a task has ended."""

    DONE = 0
    FAILED = 1
    RETRIED = 2  # it failed, and another task tries again


# Members of an IntEnum are slow to find.
_TAKEN = bytes([Phase.RUNNING, Reported.NOTHING])  # the two are side by side
_REPORTING, _ALL = int(Phase.REPORTING), int(Reported.ALL)


class Tally(NamedTuple):
    """The numbers of ended tasks, in the order of `Ended`."""

    done: int = 0
    failed: int = 0
    retried: int = 0

    def plus(self, other: Tally) -> Tally:
        return Tally(*map(sum, zip(self, other, strict=True)))


class Cell:
    """
    The state of one task of a process, in the memory of its scoreboard.

    The parent, or another process that has the scoreboard, may ask to cancel the task: it calls `ask`,
    and sends CANCEL_SIGNAL to the process. A request stays there until the next one. It names its task
    by the time at which that began, because the task may have ended meanwhile.
    """

    def __init__(self, memory: mmap.mmap, place: int) -> None:
        self._memory = memory
        self._at = place
        self._phase_at = place + _PHASE
        self._began_at = place + _BEGAN
        self._deadline_at = place + _DEADLINE
        self._text = place + _TASK

    # Written by the process

    def take(self, task: bytes, deadline: float) -> None:
        """
        Record the current task, and the monotonic time at which it is overdue: then the parent kills
        the process, when all its other tasks have ended.
        """
        memory, length, phase_at = self._memory, len(task), self._phase_at
        memory[self._text : self._text + length] = task
        _limits.pack_into(memory, self._deadline_at, deadline, length)
        _float.pack_into(memory, self._began_at, time.monotonic())
        memory[phase_at : phase_at + 2] = _TAKEN

    def report(self, seconds: float, at_least: float = 0.0) -> None:
        """
        Record that the task is done and that its outcome is about to be reported.

        The deadline of the task still applies, but not within `at_least` seconds from now. Without
        such a deadline, the task is overdue after `seconds`.
        """
        memory, now = self._memory, time.monotonic()
        deadline = _float.unpack_from(memory, self._deadline_at)[0]
        until = now + seconds if deadline == math.inf else max(deadline, now + at_least)
        _float.pack_into(memory, self._deadline_at, until)
        _float.pack_into(memory, BEAT, now)
        memory[self._phase_at] = _REPORTING

    def reported(self, what: Reported) -> None:
        """Record which part of the outcome has been reported."""
        self._memory[self._at + _REPORTED] = what

    def count(self, ended: Ended) -> None:
        """Count a task that has ended."""
        memory, place = self._memory, self._at + _ENDED + ended * 8
        _number.pack_into(memory, place, _number.unpack_from(memory, place)[0] + 1)

    def end(self, ended: Ended) -> None:
        """Count the task, and record that its whole outcome has been reported."""
        self.count(ended)
        self._memory[self._at + _REPORTED] = _ALL

    def drop(self) -> None:
        """Record that there is no current task."""
        self._memory[self._phase_at] = 0

    # Read by the parent

    @property
    def phase(self) -> Phase:
        return Phase(self._memory[self._phase_at])

    @property
    def has_reported(self) -> Reported:
        return Reported(self._memory[self._at + _REPORTED])

    @property
    def overdue_at(self) -> float:
        """The monotonic time at which the current task is overdue; infinity for never."""
        phase = self.phase
        if phase is Phase.IDLE:
            return math.inf
        found: float = _float.unpack_from(self._memory, self._deadline_at)[0]
        if phase is Phase.RUNNING and (request := self.request) is not None:
            return min(found, request[1] + CANCEL_SECONDS)
        return found

    @property
    def began_at(self) -> float:
        """The monotonic time at which the current, or the last, task began; 0 if it is unknown."""
        if self._at < EXTRA:
            return 0.0
        found: float = _float.unpack_from(self._memory, self._at + _BEGAN)[0]
        return found

    @property
    def task(self) -> bytes:
        """The current task, or no bytes if there is none."""
        if self.phase is Phase.IDLE:
            return b""
        length = min(_length.unpack_from(self._memory, self._at + _LENGTH)[0], MAX_TASK)
        return self._memory[self._text : self._text + length]

    @property
    def tally(self) -> Tally:
        """The numbers of tasks that have ended here."""
        return Tally(*_numbers.unpack_from(self._memory, self._at + _ENDED))

    # Written by others, read by the process

    def ask_to_cancel(self, name: str) -> None:
        """Ask to cancel the task of this name; raise ValueError if it is longer than MAX_NAME."""
        encoded = name.encode()
        if len(encoded) > MAX_NAME:
            raise ValueError(f"the name of a task has at most {MAX_NAME} bytes, not {len(encoded)}")
        memory, place = self._memory, self._at + _CANCEL
        _float.pack_into(memory, self._at + _CANCEL_AT, 0.0)
        _length.pack_into(memory, place, len(encoded))
        memory[place + 4 : place + 4 + len(encoded)] = encoded
        _float.pack_into(memory, self._at + _CANCEL_AT, time.monotonic())

    def ask(self, began: float, name: str) -> None:
        """Ask to cancel the task that began at this monotonic time; `name` is for the process."""
        self.ask_to_cancel(f"{began!r} {name}")

    @property
    def request(self) -> tuple[str, float] | None:
        """
        The name in the request to cancel the current task, and the monotonic time of the request.

        It is None without one, and if the task of the request has ended.
        """
        if self._at < EXTRA or (found := self.cancel) is None:  # an older release knows no requests
            return None
        began, _, name = found[0].partition(" ")
        return (name, found[1]) if began == repr(self.began_at) else None

    @property
    def cancel(self) -> tuple[str, float] | None:
        """The name of the task to cancel, and the monotonic time of the request; None without one."""
        asked_at: float = _float.unpack_from(self._memory, self._at + _CANCEL_AT)[0]
        if not asked_at:
            return None
        place = self._at + _CANCEL
        length = min(_length.unpack_from(self._memory, place)[0], MAX_NAME)
        return self._memory[place + 4 : place + 4 + length].decode(errors="replace"), asked_at
