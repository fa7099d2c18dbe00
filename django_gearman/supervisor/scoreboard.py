"""
What a process tells its parent all the time, in memory that they share.

Writing costs a fraction of a microsecond, and what was written is there after the process has died,
however it died.
"""

from __future__ import annotations

import contextlib
import enum
import math
import mmap
import os
import struct
import tempfile
import time

#: Changes with what follows, so that new code does not misread boards that old code has made.
LAYOUT = 1
#: Longest description of a task, in bytes.
MAX_TASK = 1 << 18

_STAGE, _PHASE, _REPORTED, _BEAT, _DEADLINE, _LENGTH, _LEAVE_BY = 0, 1, 2, 8, 16, 24, 32
_TASK = 64
_SIZE = _TASK + MAX_TASK
_float = struct.Struct("=d")
_length = struct.Struct("=I")


class Stage(enum.IntEnum):
    """How far a process is."""

    STARTING = 0
    STARTED = 1
    LEAVING = 2  # by its own decision, for another to take its slot
    DONE = 3  # by its own decision, as there is nothing left to do


class Phase(enum.IntEnum):
    """What it does with its task."""

    IDLE = 0
    RUNNING = 1
    REPORTING = 2  # what came of it; whether that has arrived is not known


class Reported(enum.IntEnum):
    """What of the end of its task a process has reported."""

    NOTHING = 0
    NEXT = 1  # the task that follows this one
    ALL = 2


class Scoreboard:
    """One process's words to its parent; `descriptor` is that of one which exists already."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _new_file() if descriptor is None else descriptor
        try:
            self._memory = mmap.mmap(self.descriptor, _SIZE)
        except BaseException:
            if descriptor is None:
                os.close(self.descriptor)
            raise
        if descriptor is None:
            _float.pack_into(self._memory, _BEAT, -math.inf)
            _float.pack_into(self._memory, _DEADLINE, math.inf)

    def close(self) -> None:
        self._memory.close()
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    # Written by the process

    def start(self) -> None:
        self._memory[_STAGE] = Stage.STARTED

    def leave(self) -> None:
        self._memory[_STAGE] = Stage.LEAVING

    def done(self) -> None:
        self._memory[_STAGE] = Stage.DONE

    def beat(self) -> None:
        """Tell that this process can do its work now."""
        _float.pack_into(self._memory, _BEAT, time.monotonic())

    def take(self, task: bytes, deadline: float) -> None:
        """Tell which task is in hand, and when on the monotonic clock the parent is to kill for it."""
        memory, length = self._memory, len(task)
        _length.pack_into(memory, _LENGTH, length)
        memory[_TASK : _TASK + length] = task
        _float.pack_into(memory, _DEADLINE, deadline)
        memory[_REPORTED] = Reported.NOTHING
        memory[_PHASE] = Phase.RUNNING

    def report(self, seconds: float, at_least: float = 0.0) -> None:
        """
        Tell that the task is done, and what came of it about to be reported.

        The parent is to kill for that as it would have for the task, but not within `at_least`
        seconds from now; after `seconds` if it would not have.
        """
        memory, now = self._memory, time.monotonic()
        deadline = _float.unpack_from(memory, _DEADLINE)[0]
        until = now + seconds if deadline == math.inf else max(deadline, now + at_least)
        _float.pack_into(memory, _DEADLINE, until)
        _float.pack_into(memory, _BEAT, now)
        memory[_PHASE] = Phase.REPORTING

    def reported(self, what: Reported) -> None:
        """Tell what has been reported, whatever becomes of this process from now on."""
        self._memory[_REPORTED] = what

    def drop(self) -> None:
        """Tell that no task is in hand."""
        self._memory[_PHASE] = Phase.IDLE

    def leave_within(self, seconds: float) -> None:
        """Tell that this process does its last things, and is to be killed after these seconds."""
        _float.pack_into(self._memory, _LEAVE_BY, time.monotonic() + seconds)

    # Read by the parent

    @property
    def stage(self) -> Stage:
        return Stage(self._memory[_STAGE])

    @property
    def phase(self) -> Phase:
        return Phase(self._memory[_PHASE])

    @property
    def has_reported(self) -> Reported:
        return Reported(self._memory[_REPORTED])

    @property
    def beat_at(self) -> float:
        found: float = _float.unpack_from(self._memory, _BEAT)[0]
        return found

    @property
    def deadline(self) -> float:
        """When the process is to be killed for its task, or as it does not end; infinity for never."""
        leave_by: float = _float.unpack_from(self._memory, _LEAVE_BY)[0] or math.inf
        if self.phase is Phase.IDLE:
            return leave_by
        found: float = _float.unpack_from(self._memory, _DEADLINE)[0]
        return min(found, leave_by)

    @property
    def is_ending(self) -> bool:
        """Whether the process does its last things."""
        return bool(_float.unpack_from(self._memory, _LEAVE_BY)[0])

    @property
    def task(self) -> bytes:
        """The task in hand, nothing if there is none."""
        if self.phase is Phase.IDLE:
            return b""
        length = min(_length.unpack_from(self._memory, _LENGTH)[0], MAX_TASK)
        return self._memory[_TASK : _TASK + length]


def _new_file() -> int:
    """Return the descriptor of a file without a name, in memory where the platform has such."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("worker")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, _SIZE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
