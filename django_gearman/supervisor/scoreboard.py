"""The scoreboard: memory in which a process reports its state to its parent."""

from __future__ import annotations

import contextlib
import enum
import faulthandler
import math
import mmap
import os
import struct
import tempfile
import time
from typing import NamedTuple

#: Change this number with the layout below, so that new code does not misread old scoreboards.
LAYOUT = 1
#: Longest description of a task, in bytes.
MAX_TASK = 1 << 18

_STAGE, _PHASE, _REPORTED, _BEAT, _DEADLINE, _LENGTH, _LEAVE_BY, _ENDED = 0, 1, 2, 8, 16, 24, 32, 40
_TASK = 64
_SIZE = _TASK + MAX_TASK
_float = struct.Struct("=d")
_length = struct.Struct("=I")
_number = struct.Struct("=Q")
_numbers = struct.Struct("=QQQ")


class Stage(enum.IntEnum):
    """The stage in the life of a process."""

    STARTING = 0
    STARTED = 1
    LEAVING = 2  # the process decided to exit; another one takes its slot
    DONE = 3  # the process decided to exit; no work is left


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


class Tally(NamedTuple):
    """The numbers of ended tasks, in the order of `Ended`."""

    done: int = 0
    failed: int = 0
    retried: int = 0

    def plus(self, other: Tally) -> Tally:
        return Tally(*map(sum, zip(self, other, strict=True)))


class Scoreboard:
    """The state of one process, for its parent; `descriptor` opens an existing scoreboard."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _new_board() if descriptor is None else descriptor
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
        """Record a heartbeat: the process can do its work now."""
        _float.pack_into(self._memory, _BEAT, time.monotonic())

    def take(self, task: bytes, deadline: float) -> None:
        """
        Record the current task, and the monotonic time at which the parent kills the process for
        it.
        """
        memory, length = self._memory, len(task)
        _length.pack_into(memory, _LENGTH, length)
        memory[_TASK : _TASK + length] = task
        _float.pack_into(memory, _DEADLINE, deadline)
        memory[_REPORTED] = Reported.NOTHING
        memory[_PHASE] = Phase.RUNNING

    def report(self, seconds: float, at_least: float = 0.0) -> None:
        """
        Record that the task is done and that its outcome is about to be reported.

        The deadline of the task still applies, but not within `at_least` seconds from now. Without
        such a deadline, the process is killed after `seconds`.
        """
        memory, now = self._memory, time.monotonic()
        deadline = _float.unpack_from(memory, _DEADLINE)[0]
        until = now + seconds if deadline == math.inf else max(deadline, now + at_least)
        _float.pack_into(memory, _DEADLINE, until)
        _float.pack_into(memory, _BEAT, now)
        memory[_PHASE] = Phase.REPORTING

    def reported(self, what: Reported) -> None:
        """Record which part of the outcome has been reported."""
        self._memory[_REPORTED] = what

    def count(self, ended: Ended) -> None:
        """Count a task that has ended."""
        place = _ENDED + ended * _number.size
        _number.pack_into(self._memory, place, _number.unpack_from(self._memory, place)[0] + 1)

    def drop(self) -> None:
        """Record that there is no current task."""
        self._memory[_PHASE] = Phase.IDLE

    def leave_within(self, seconds: float) -> None:
        """Record that this process is exiting, and is to be killed after these seconds."""
        _float.pack_into(self._memory, _LEAVE_BY, time.monotonic() + seconds)

    def write_traceback_on(self, number: int) -> None:
        """Make this process write its traceback behind the scoreboard when it gets this signal."""
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            faulthandler.register(number, file=self.descriptor, all_threads=True)

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
    def tally(self) -> Tally:
        """The numbers of tasks that the process has ended."""
        return Tally(*_numbers.unpack_from(self._memory, _ENDED))

    @property
    def beat_at(self) -> float:
        found: float = _float.unpack_from(self._memory, _BEAT)[0]
        return found

    @property
    def deadline(self) -> float:
        """The time to kill the process, for its task or for its exit; infinity for never."""
        leave_by: float = _float.unpack_from(self._memory, _LEAVE_BY)[0] or math.inf
        if self.phase is Phase.IDLE:
            return leave_by
        found: float = _float.unpack_from(self._memory, _DEADLINE)[0]
        return min(found, leave_by)

    @property
    def is_ending(self) -> bool:
        """True while the process is exiting."""
        return bool(_float.unpack_from(self._memory, _LEAVE_BY)[0])

    # Text behind the scoreboard, which the process writes through its descriptor

    @property
    def text_size(self) -> int:
        """The number of bytes of text."""
        return os.fstat(self.descriptor).st_size - _SIZE

    def take_text(self) -> str:
        """Return the text, and delete it."""
        text = os.pread(self.descriptor, max(0, self.text_size), _SIZE)
        _end_at(self.descriptor, _SIZE)
        return text.decode(errors="replace")

    @property
    def task(self) -> bytes:
        """The current task, or no bytes if there is none."""
        if self.phase is Phase.IDLE:
            return b""
        length = min(_length.unpack_from(self._memory, _LENGTH)[0], MAX_TASK)
        return self._memory[_TASK : _TASK + length]


def memory_file(name: str) -> int:
    """Return the descriptor of a file without a name, in memory if the platform supports this."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _new_board() -> int:
    descriptor = memory_file("worker")
    try:
        _end_at(descriptor, _SIZE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _end_at(descriptor: int, size: int) -> None:
    """Set the size of a file, and write there next, from every process that has the descriptor."""
    os.ftruncate(descriptor, size)
    os.lseek(descriptor, size, os.SEEK_SET)
