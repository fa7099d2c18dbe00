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
from typing import Any

from .cell import BEAT, EXTRA, MAX_TASK, Cell, Ended, Phase, Reported, Tally

__all__ = [
    "LAYOUT",
    "MAX_TASK",
    "Cell",
    "Ended",
    "Phase",
    "Reported",
    "Scoreboard",
    "Stage",
    "Tally",
]

#: Change this number with the layout below, so that new code does not misread old scoreboards.
LAYOUT = 2
# Of the process, at the place of its first cell; each cell has a part of its own.
_STAGE, _LEAVE_BY, _NUMBER, _USED = 0, 32, -160, -156
_PART = MAX_TASK + 4096  # whole pages of memory, which exist as soon as they are written
_FIRST_SIZE = MAX_TASK + 64  # of a scoreboard of layout 1
_float = struct.Struct("=d")
_length = struct.Struct("=I")


class Stage(enum.IntEnum):
    """The stage in the life of a process."""

    STARTING = 0
    STARTED = 1
    LEAVING = 2  # the process decided to exit; another one takes its slot
    DONE = 3  # the process decided to exit; no work is left


class Scoreboard(Cell):
    """
    The state of one process, for its parent; `descriptor` opens an existing scoreboard.

    A new one has room for a number of tasks at a time, `cells`. It is itself the first cell: a
    process with one task at a time needs no other. `layout` is that of the release whose process
    writes an existing one.
    """

    def __init__(
        self, descriptor: int | None = None, *, cells: int = 1, layout: int = LAYOUT
    ) -> None:
        self.descriptor = _new_board(cells) if descriptor is None else descriptor
        self.layout = layout
        try:
            self._number, self._size, place = cells, cells * _PART, EXTRA
            if layout == 1:
                self._number, self._size, place = 1, _FIRST_SIZE, 0
            elif descriptor is not None:
                self._number = _number_of_cells(descriptor)
                self._size = self._number * _PART
            super().__init__(mmap.mmap(self.descriptor, self._size), place)
        except BaseException:
            if descriptor is None:
                os.close(self.descriptor)
            raise
        self._cells: list[Cell] = [self]
        if descriptor is None:
            self._pack(_length, _NUMBER, cells)
            self._pack(_length, _USED, 1)
            _float.pack_into(self._memory, BEAT, -math.inf)
            _float.pack_into(self._memory, self._deadline_at, math.inf)

    def _pack(self, kind: struct.Struct, place: int, value: float) -> None:
        kind.pack_into(self._memory, self._at + place, value)

    def _unpack(self, kind: struct.Struct, place: int) -> Any:
        return kind.unpack_from(self._memory, self._at + place)[0]

    def close(self) -> None:
        self._memory.close()
        with contextlib.suppress(OSError):
            os.close(self.descriptor)

    # Written by the process

    def cell(self, number: int) -> Cell:
        """
        Return a cell, from 0, for use by the process; one thread makes all of these calls.

        The parent looks only at the cells up to the last one that was used.
        """
        if not 0 <= number < self._number:
            raise IndexError(f"cell {number} of a scoreboard with {self._number}")
        if number >= self._unpack(_length, _USED):
            self._pack(_length, _USED, number + 1)
        return self._used_cells()[number]

    def start(self) -> None:
        self._memory[self._at + _STAGE] = Stage.STARTED

    def leave(self) -> None:
        self._memory[self._at + _STAGE] = Stage.LEAVING

    def done(self) -> None:
        self._memory[self._at + _STAGE] = Stage.DONE

    def beat(self) -> None:
        """Record a heartbeat: the process can do its work now."""
        _float.pack_into(self._memory, BEAT, time.monotonic())

    def leave_within(self, seconds: float) -> None:
        """Record that this process is exiting, and is to be killed after these seconds."""
        self._pack(_float, _LEAVE_BY, time.monotonic() + seconds)

    def write_traceback_on(self, number: int) -> None:
        """Make this process write its traceback behind the scoreboard when it gets this signal."""
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            faulthandler.register(number, file=self.descriptor, all_threads=True)

    # Read by the parent

    def _used_cells(self) -> list[Cell]:
        if self._number > 1:
            used = min(self._unpack(_length, _USED), self._number)
            for number in range(len(self._cells), used):
                self._cells.append(Cell(self._memory, number * _PART + EXTRA))
        return self._cells

    def running(self) -> list[Cell]:
        """Return the cells with a task."""
        return [cell for cell in self._used_cells() if cell.phase is not Phase.IDLE]

    def tasks(self) -> list[bytes]:
        """Return the current tasks."""
        return [task for cell in self._used_cells() if (task := cell.task)]

    @property
    def stage(self) -> Stage:
        return Stage(self._memory[self._at + _STAGE])

    @property
    def activity(self) -> Phase:
        """The phase of the process: that of its tasks, RUNNING if they differ."""
        phases = {cell.phase for cell in self.running()}
        return phases.pop() if len(phases) == 1 else Phase.RUNNING if phases else Phase.IDLE

    @property
    def tally(self) -> Tally:
        """The numbers of tasks that the process has ended."""
        total = super().tally
        for cell in self._used_cells()[1:]:
            total = total.plus(cell.tally)
        return total

    @property
    def beat_at(self) -> float:
        found: float = _float.unpack_from(self._memory, self._at + BEAT - EXTRA)[0]
        return found

    @property
    def leave_by(self) -> float:
        """The time to kill the process, because it is exiting; infinity while it is not."""
        return self._unpack(_float, _LEAVE_BY) or math.inf

    @property
    def deadlines(self) -> list[float]:
        """The times at which a task is overdue, or the exit of the process."""
        return [self.leave_by, *(cell.overdue_at for cell in self._used_cells())]

    @property
    def deadline(self) -> float:
        """The first of the deadlines."""
        return min(self.deadlines)

    @property
    def is_ending(self) -> bool:
        """True while the process is exiting."""
        return bool(self._unpack(_float, _LEAVE_BY))

    # Text behind the scoreboard, which the process writes through its descriptor

    @property
    def text_size(self) -> int:
        """The number of bytes of text."""
        return os.fstat(self.descriptor).st_size - self._size

    def take_text(self) -> str:
        """Return the text, and delete it."""
        text = os.pread(self.descriptor, max(0, self.text_size), self._size)
        _end_at(self.descriptor, self._size)
        return text.decode(errors="replace")


def memory_file(name: str) -> int:
    """Return the descriptor of a file without a name, in memory if the platform supports this."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(name)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _number_of_cells(descriptor: int) -> int:
    found: int = _length.unpack(os.pread(descriptor, _length.size, EXTRA + _NUMBER))[0]
    return found


def _new_board(cells: int) -> int:
    descriptor = memory_file("worker")
    try:
        _end_at(descriptor, cells * _PART)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _end_at(descriptor: int, size: int) -> None:
    """Set the size of a file, and write there next, from every process that has the descriptor."""
    os.ftruncate(descriptor, size)
    os.lseek(descriptor, size, os.SEEK_SET)
